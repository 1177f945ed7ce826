"""The peer of `benchmarks/families.py`: networks of torchvision and timm, a training step a line.

Runs in .venv-peers and imports nothing of convarium:

    python benchmarks/peers/families.py

A line `{"library": ..., "name": ..., "shape": [...]}` on standard input builds a network and its
input; each line `plain` or `shipped` runs forward and backward once and is answered by the seconds
they took: with every activation on a tensor of its own, or as the library ships it, where some
overwrite their input.
"""

from __future__ import annotations

import copy
import importlib.metadata
import json
import sys
import time

import torch
from torch import nn
from torchvision_operators import declare


def build(library: str, name: str) -> nn.Module:
    """The library's network with fresh weights, in training mode."""
    if library == "timm":
        import timm

        return timm.create_model(name).train()
    from torchvision.models import get_model

    return get_model(name).train()


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
    versions = {name: importlib.metadata.version(name) for name in ("torchvision", "timm")}
    print(json.dumps(versions), flush=True)
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
        networks = {"shipped": shipped, "plain": plain(copy.deepcopy(shipped))}
        x = torch.randn(request["shape"], generator=torch.Generator().manual_seed(0))
        parameters = sum(p.numel() for p in shipped.parameters())
        print(json.dumps({"parameters": parameters}), flush=True)


if __name__ == "__main__":
    main()
