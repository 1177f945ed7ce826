"""Forward and backward of each family against the same architecture of torchvision or timm.

One training step on one thread (loss: mean square of the logits), the same batch for both; one
script runs it for either library, each in its own interpreter, and they take turns step by step.
The ratio is the median over pairs of steps, in four pairs of fresh processes: where its weights
happen to lie in memory moves the time of a large network by some per cent, for as long as the
process lives. Parameter counts must agree, so that it is the same network.

The bound is for the architecture in plain PyTorch calls: the library's network, its activations
leaving their input alone as ours do, so that any map can be read. The ratio to the network as it is
shipped, where many activations overwrite their input, stands beside it.

Run: python benchmarks/families.py [ROUNDS A PROCESS [NAME ...]]
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from harness import Peer, alternate, summary, write

BOUND = 1.03
SHAPE = (4, 3, 128, 128)
KINDS = ("plain", "shipped")
PROCESSES = 4

# Ours: the library and its name.
NETWORKS = {
    "alexnet": ("torchvision", "alexnet"),
    "vgg11": ("torchvision", "vgg11"),
    "vgg11_bn": ("torchvision", "vgg11_bn"),
    "resnet18": ("torchvision", "resnet18"),
    "resnet50": ("torchvision", "resnet50"),
    "resnetv2_50": ("timm", "resnetv2_50"),
    "densenet121": ("torchvision", "densenet121"),
    "squeezenet1_1": ("torchvision", "squeezenet1_1"),
    "mobilenet_v1": ("timm", "mobilenetv1_100"),
    "mobilenet_v2": ("torchvision", "mobilenet_v2"),
    "mobilenet_v3_large": ("torchvision", "mobilenet_v3_large"),
    "mnasnet1_0": ("torchvision", "mnasnet1_0"),
    "efficientnet_b0": ("torchvision", "efficientnet_b0"),
    "efficientnet_lite0": ("timm", "tf_efficientnet_lite0"),
    "efficientnet_v2_s": ("torchvision", "efficientnet_v2_s"),
    "convnext_tiny": ("torchvision", "convnext_tiny"),
}


def compare(name: str, rounds: int) -> dict[str, Any]:
    """Seconds of both networks, and their ratio, in several pairs of fresh processes."""
    library, theirs = NETWORKS[name]
    times: dict[str, list[float]] = {kind: [] for kind in ("ours", *KINDS)}
    for _ in range(PROCESSES):
        with Peer("families.py") as peer, Peer("families.py", python=Path(sys.executable)) as ours:
            versions = peer.answer()
            ours.answer()
            count = peer.ask(json.dumps({"library": library, "name": theirs, "shape": SHAPE}))
            own = ours.ask(json.dumps({"library": "convarium", "name": name, "shape": SHAPE}))
            if own != count:
                raise SystemExit(f"{name} and {library}'s {theirs} are not the same network.")
            calls = {kind: partial(peer.ask, kind) for kind in KINDS}
            for kind, values in alternate(
                {"ours": partial(ours.ask, "plain"), **calls}, rounds
            ).items():
                times[kind] += values
    seconds = {key: summary(values) for key, values in times.items()}
    row = {"network": name, "peer": f"{library} {versions[library]} {theirs}", "seconds": seconds}
    for kind in KINDS:
        pairs = zip(times["ours"], times[kind], strict=True)
        row[f"ratio to {kind}"] = summary([one / two for one, two in pairs])
    return row


def main(rounds: int, names: list[str]) -> int:
    """Compare each network and write the result."""
    rows = []
    for name in names:
        rows.append(compare(name, rounds))
        ratios = {kind: rows[-1][f"ratio to {kind}"]["median"] for kind in KINDS}
        print(name, *(f"{kind} {value:.3f}" for kind, value in ratios.items()), flush=True)
    holds = all(row["ratio to plain"]["median"] <= BOUND for row in rows)
    result = {"shape": SHAPE, "processes": PROCESSES, "bound": BOUND, "rows": rows, "holds": holds}
    print(f"holds: {holds}; {write('families', result)}")
    return 0 if holds else 1


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(main(int(arguments[0]) if arguments else 5, arguments[1:] or list(NETWORKS)))
