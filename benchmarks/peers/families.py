"""The peer of `benchmarks/families.py`: networks of one library, a training step a line.

Runs in .venv-peers for torchvision and timm, and in our own environment for convarium:

    python benchmarks/peers/families.py

A line `{"library": ..., "name": ..., "shape": [...]}` on standard input builds a network and its
input; each line `plain` or `shipped` runs forward and backward once and is answered by the seconds
they took: with every activation on a tensor of its own, or as the library ships it, where some
overwrite their input.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.metadata
import json
import sys
import time
from collections.abc import Iterator

import torch
from torch import nn
from torchvision_operators import declare


def build(library: str, name: str) -> nn.Module:
    """The library's network with fresh weights, in training mode."""
    if library == "timm":
        import timm

        return timm.create_model(name).train()
    if library == "convarium":
        import convarium

        return convarium.create(name).train()
    from torchvision.models import get_model

    return get_model(name).train()


def versions() -> Iterator[tuple[str, str]]:
    """Of the libraries that are installed here."""
    for name in ("torchvision", "timm"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield name, importlib.metadata.version(name)


def plain(network: nn.Module) -> nn.Module:
    """The network with no activation that overwrites its input."""
    for module in network.modules():
        if getattr(module, "inplace", False):
            module.inplace = False
    return network


def main() -> None:
    """Answer requests until standard input ends."""
    torch.set_num_threads(1)
    declare()
    print(json.dumps(dict(versions())), flush=True)
    networks: dict[str, nn.Module] = {}
    x = torch.zeros(1)
    for line in sys.stdin:
        kind = line.strip()
        if kind in networks:
            start = time.perf_counter()
            networks[kind].zero_grad()
            networks[kind](x).square().mean().backward()
            print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)
            continue
        request = json.loads(line)
        shipped = build(request["library"], request["name"])
        networks = {"plain": plain(copy.deepcopy(shipped))}
        if request["library"] != "convarium":  # whose activations leave their input alone
            networks["shipped"] = shipped
        x = torch.randn(request["shape"], generator=torch.Generator().manual_seed(0))
        parameters = sum(p.numel() for p in shipped.parameters())
        print(json.dumps({"parameters": parameters}), flush=True)


if __name__ == "__main__":
    main()
