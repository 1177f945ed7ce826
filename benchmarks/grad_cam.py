"""Our Grad-CAM against the PyPI package `grad-cam`: time, and equality of the map.

Both explain the same ResNet-18 weights on the same batch at 224x224, each in its own interpreter;
the two take turns. Timed is what a person calls: the map and its display at the input's size. The
raw maps (before ReLU and scaling) must agree within 1e-5 of the largest value. What is shown is
another rule: the peer also subtracts a map's minimum where that is above 0. The weights are drawn,
not trained: neither time nor equality depends on what a network has learnt.

Run: python benchmarks/grad_cam.py [ROUNDS [PYTHON_OF_THE_PEER]]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

import convarium
from convarium import explain
from harness import alternate, ratio, summary, write

HERE = Path(__file__).parent
PEER_PYTHON = HERE.parent / ".venv-peers" / "bin" / "python"
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


@contextmanager
def peer(python: Path, task_path: Path, maps_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The peer's process, ready to answer; its maps are written when it ends."""
    command = [str(python), str(HERE / "peers" / "grad_cam.py"), str(task_path), str(maps_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.stdin.close()
        if process.wait():
            raise SystemExit(f"{command[1]} failed; is the environment of `make env-peers` whole?")


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The next line of the peer."""
    line = process.stdout.readline()
    if not line:
        raise SystemExit("The peer ended early; its error stands above.")
    return json.loads(line)


def ask(process: subprocess.Popen[str], n: int) -> None:
    """Let the peer explain `n` samples, and wait for it."""
    process.stdin.write(f"{n}\n")
    process.stdin.flush()
    answer(process)


def largest_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference of two maps, as a share of the largest value."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def main(rounds: int, python: Path) -> int:
    """Time both in turns, compare their maps, write the result."""
    if not python.exists():
        raise SystemExit(f"There is no {python}; run: make env-peers")
    network, x, target = task()
    weights = {f"w{k:03d}": v.numpy() for k, v in enumerate(network.state_dict().values())}
    with tempfile.TemporaryDirectory() as folder:
        task_path, maps_path = Path(folder) / "task.npz", Path(folder) / "maps.npz"
        np.savez(task_path, x=x.numpy(), target=target, **weights)
        with peer(python, task_path, maps_path) as process:
            package = answer(process)["package"]
            rows = [time_one(process, network, x[:n], target[:n], rounds) for n in BATCHES]
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
    process: subprocess.Popen[str],
    network: torch.nn.Module,
    x: torch.Tensor,
    target: list[int],
    rounds: int,
) -> dict[str, Any]:
    """Seconds of both on one batch."""
    calls = {
        "ours": lambda: explain.grad_cam(network, x, target=target).display(),
        "peer": lambda: ask(process, len(x)),
    }
    times = alternate(calls, rounds)
    seconds = {name: summary(values) for name, values in times.items()}
    return {"batch": len(x), "seconds": seconds, "ratio": ratio(times["ours"], times["peer"])}


if __name__ == "__main__":
    arguments = sys.argv[1:]
    chosen = Path(arguments[1]) if len(arguments) > 1 else PEER_PYTHON
    sys.exit(main(int(arguments[0]) if arguments else 10, chosen))
