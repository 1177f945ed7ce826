"""The peer of `benchmarks/measuring.py`: torchinfo's summary of torchvision's networks.

Runs in .venv-peers and imports nothing of convarium:

    python benchmarks/peers/summaries.py

A line `{"name": ..., "shape": [...]}` on standard input builds a network with weights; each line
`summary` describes it once for that shape. Both are answered by the seconds that they took.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time

import torch
from torch import nn
from torchvision_operators import declare


def build(name: str) -> nn.Module:
    """The network of that name; torchvision has no DenseNet-264, but the class it is a row of."""
    from torchvision.models import DenseNet, get_model

    if name == "densenet264":
        return DenseNet(32, (6, 12, 64, 48), 64)
    return get_model(name)


def main() -> None:
    """Answer requests until standard input ends."""
    torch.set_num_threads(1)
    declare()
    from torchinfo import summary

    print(json.dumps({"torchinfo": importlib.metadata.version("torchinfo")}), flush=True)
    for line in sys.stdin:
        if line.strip() != "summary":
            request = json.loads(line)
            start = time.perf_counter()
            network, shape = build(request["name"]).eval(), request["shape"]
            taken = time.perf_counter() - start
            count = sum(p.numel() for p in network.parameters())
            print(json.dumps({"parameters": count, "building": taken}), flush=True)
            continue
        start = time.perf_counter()
        found = summary(network, input_size=shape, verbose=0)
        taken = time.perf_counter() - start
        print(json.dumps({"seconds": taken, "macs": found.total_mult_adds}), flush=True)


if __name__ == "__main__":
    main()
