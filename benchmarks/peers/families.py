"""The peer of `benchmarks/families.py`: networks of torchvision and timm, a training step a line.

Runs in .venv-peers and imports nothing of convarium:

    python benchmarks/peers/families.py

A line `{"library": ..., "name": ..., "shape": [...]}` on standard input builds a network and its
input; each line `step` runs forward and backward once and is answered by the seconds they took.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time

import torch
from torch import nn


def build(library: str, name: str) -> nn.Module:
    """The library's network with fresh weights, in training mode."""
    if library == "timm":
        import timm

        return timm.create_model(name).train()
    from torchvision.models import get_model

    return get_model(name).train()


def main() -> None:
    """Answer requests until standard input ends."""
    torch.set_num_threads(1)
    operators = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    versions = {name: importlib.metadata.version(name) for name in ("torchvision", "timm")}
    print(json.dumps(versions), flush=True)
    network, x = nn.Identity(), torch.zeros(1)
    for line in sys.stdin:
        if line.strip() == "step":
            start = time.perf_counter()
            network.zero_grad()
            network(x).square().mean().backward()
            print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)
            continue
        request = json.loads(line)
        network = build(request["library"], request["name"])
        x = torch.randn(request["shape"], generator=torch.Generator().manual_seed(0))
        parameters = sum(p.numel() for p in network.parameters())
        print(json.dumps({"parameters": parameters}), flush=True)


if __name__ == "__main__":
    main()
