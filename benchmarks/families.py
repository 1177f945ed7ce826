"""Forward and backward of each family against the same architecture of torchvision or timm.

One training step on one thread (loss: mean square of the logits), the same batch for both; one
script runs it for either library, each in its own interpreter, and they take turns step by step.
The ratio is the median over pairs of steps, of three builds of both networks: where its weights
happen to lie in memory moves the time of a large network by some per cent. Parameter counts must
agree, so that it is the same network.

The bound is for the architecture in plain PyTorch calls: the library's network, its activations
leaving their input alone as ours do, so that any map can be read. The ratio to the network as it is
shipped, where many activations overwrite their input, stands beside it.

Run: python benchmarks/families.py [ROUNDS A BUILD [NAME ...]]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from harness import Peer, alternate, summary, write

BOUND = 1.03
SHAPE = (4, 3, 128, 128)
KINDS = ("plain", "shipped")
BUILDS = 3

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


def compare(ours: Peer, peer: Peer, name: str, rounds: int) -> dict[str, Any]:
    """Seconds of both networks, and their ratio, over several builds of both."""
    library, theirs = NETWORKS[name]
    calls = {
        "ours": lambda: ours.ask("plain"),
        "plain": lambda: peer.ask("plain"),
        "shipped": lambda: peer.ask("shipped"),
    }
    times: dict[str, list[float]] = {kind: [] for kind in calls}
    for _ in range(BUILDS):
        count = peer.ask(json.dumps({"library": library, "name": theirs, "shape": SHAPE}))
        if ours.ask(json.dumps({"library": "convarium", "name": name, "shape": SHAPE})) != count:
            raise SystemExit(f"{name} and {library}'s {theirs} are not the same network.")
        for kind, values in alternate(calls, rounds).items():
            times[kind] += values
    seconds = {key: summary(values) for key, values in times.items()}
    row = {"network": name, "peer": f"{library} {theirs}", "seconds": seconds}
    for kind in KINDS:
        pairs = zip(times["ours"], times[kind], strict=True)
        row[f"ratio to {kind}"] = summary([one / two for one, two in pairs])
    return row


def main(rounds: int, names: list[str]) -> int:
    """Compare each network and write the result."""
    rows = []
    with Peer("families.py") as peer, Peer("families.py", python=Path(sys.executable)) as ours:
        ours.answer()
        reference = peer.answer()
        for name in names:
            rows.append(compare(ours, peer, name, rounds))
            ratios = {kind: rows[-1][f"ratio to {kind}"]["median"] for kind in KINDS}
            print(name, *(f"{kind} {value:.3f}" for kind, value in ratios.items()), flush=True)
    holds = all(row["ratio to plain"]["median"] <= BOUND for row in rows)
    result = {"reference": reference, "shape": SHAPE, "bound": BOUND, "rows": rows, "holds": holds}
    print(f"holds: {holds}; {write('families', result)}")
    return 0 if holds else 1


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(main(int(arguments[0]) if arguments else 7, arguments[1:] or list(NETWORKS)))
