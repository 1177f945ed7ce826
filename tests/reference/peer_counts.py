"""Prints parameters and eps of the norms of networks of torchvision and timm, as one JSON object.

    python peer_counts.py torchvision/alexnet timm/resnetv2_50 ...

A name that the library does not have gets null. "torchvision/*" and "timm/*" print its names. Runs
in an environment that has the libraries; the networks are built without memory.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from typing import Any

import torch
from peer_truth import build, declare_operators


@cache
def names(library: str) -> list[str]:
    """Every classification network of a library."""
    if library == "timm":
        import timm

        return list(timm.list_models())
    import torchvision

    return list(torchvision.models.list_models(module=torchvision.models))


def facts(library: str, name: str) -> dict[str, Any] | None:
    """Parameters and eps of a network; None where the library has no such name."""
    if name not in names(library):
        return None
    with torch.device("meta"):
        model = build(library, name, {})
    eps = {module.eps for module in model.modules() if isinstance(getattr(module, "eps", 0), float)}
    return {"parameters": sum(p.numel() for p in model.parameters()), "eps": sorted(eps)}


if __name__ == "__main__":
    kept = declare_operators()
    found: dict[str, Any] = {}
    for word in sys.argv[1:]:
        library, _, name = word.partition("/")
        found[word] = names(library) if name == "*" else facts(library, name)
    sys.stdout.write(json.dumps(found))
