"""Our Grad-CAM against the PyPI package `grad-cam`: time, and equality of the map.

Both explain the same ResNet-18 weights on the same batch at 224x224, each in its own interpreter;
the two take turns. Timed is what a person calls: the map and its display at the input's size. The
raw maps (before ReLU and scaling) must agree within 1e-5 of the largest value. What is shown is
another rule: the peer also subtracts a map's minimum where that is above 0. The weights are drawn,
not trained: neither time nor equality depends on what a network has learnt.

Run: python benchmarks/grad_cam.py [ROUNDS [PYTHON_OF_THE_PEER]]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import convarium
from convarium import explain
from harness import PEER_PYTHON, Peer, alternate, ratio, summary, write

BATCHES = (1, 8)
TOLERANCE = 1e-5


def task() -> tuple[torch.nn.Module, torch.Tensor, list[int]]:
    """A ResNet-18 in training mode with drawn weights and statistics, a batch, its classes."""
    torch.manual_seed(0)
    network = convarium.create("resnet18")
    x = torch.randn(max(BATCHES), 3, 224, 224)
    with torch.no_grad():
        network(x)  # gives the norms statistics that differ from their start
    target = torch.randint(0, 1000, (len(x),)).tolist()
    return network, x, target


def largest_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference of two maps, as a share of the largest value."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def main(rounds: int, python: Path) -> int:
    """Time both in turns, compare their maps, write the result."""
    network, x, target = task()
    weights = {f"w{k:03d}": v.numpy() for k, v in enumerate(network.state_dict().values())}
    with tempfile.TemporaryDirectory() as folder:
        task_path, maps_path = Path(folder) / "task.npz", Path(folder) / "maps.npz"
        np.savez(task_path, x=x.numpy(), target=target, **weights)
        with Peer("grad_cam.py", str(task_path), str(maps_path), python=python) as peer:
            package = peer.answer()["package"]
            rows = [time_one(peer, network, x[:n], target[:n], rounds) for n in BATCHES]
        maps = dict(np.load(maps_path))
    heat = explain.grad_cam(network, x, target=target)
    equality = {
        "raw": largest_difference(heat.values.numpy(), maps["raw"]),
        "shown": largest_difference(heat.display().numpy(), maps["shown"]),
    }
    holds = equality["raw"] <= TOLERANCE
    reference = f"{package}, torchvision's resnet18, the same weights"
    result = {"reference": reference, "rows": rows, "largest_difference": equality}
    path = write("grad_cam", {**result, "tolerance": TOLERANCE, "holds": holds})
    for row in rows:
        print(f"batch {row['batch']}: ours / {package} = {row['ratio']:.2f} (n = {rounds})")
    print(f"maps differ by {equality['raw']:.1e} of the largest value; holds: {holds}; {path}")
    return 0 if holds else 1


def time_one(
    peer: Peer,
    network: torch.nn.Module,
    x: torch.Tensor,
    target: list[int],
    rounds: int,
) -> dict[str, Any]:
    """Seconds of both on one batch."""
    calls = {
        "ours": lambda: explain.grad_cam(network, x, target=target).display(),
        "peer": lambda: peer.ask(str(len(x))),
    }
    times = alternate(calls, rounds)
    seconds = {name: summary(values) for name, values in times.items()}
    return {"batch": len(x), "seconds": seconds, "ratio": ratio(times["ours"], times["peer"])}


if __name__ == "__main__":
    arguments = sys.argv[1:]
    chosen = Path(arguments[1]) if len(arguments) > 1 else PEER_PYTHON
    sys.exit(main(int(arguments[0]) if arguments else 10, chosen))
