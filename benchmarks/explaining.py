"""Grad-CAM of a batch of 8 at 224x224 through ResNet-50, against one forward pass and two peers.

These calls take turns, on the same drawn weights: the forward pass without gradients; our Grad-CAM;
captum's LayerGradCam in this process; the PyPI package `grad-cam` on torchvision's network in its
own interpreter; our Grad-CAM in bfloat16 with channels last; and, as pictures come from `data`, the
first three with channels last in float32. The package gives maps at the
input's size, so it is compared with ours and its display. Peak memory is the largest sum of live
bytes that a call allocates, by torch's profiler; that of the part behind the layer, which Grad-CAM
differentiates, is measured the same way.

Bounds: 1.1 of the forward pass; 1 / 2.8 of `grad-cam`; captum's time; in bfloat16 1 / 1.5 of
captum's; 1.2 of the forward pass's memory plus that of the part behind the layer; raw maps within
1e-5 of the largest value.

Run: python benchmarks/explaining.py [ROUNDS [PYTHON_OF_THE_PEER]]
"""

from __future__ import annotations

import copy
import sys
import tempfile
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import convarium
from convarium import explain
from harness import PEER_PYTHON, Peer, alternate, ratio, summary, write

BATCH, SIZE = 8, 224
TOLERANCE = 1e-5
BOUNDS = {
    "ours / forward": 1.1,
    "ours and display / grad-cam": 1 / 2.8,
    "ours / captum": 1.0,
    "ours in bfloat16 / captum": 1 / 1.5,
}
TOLD = (  # without a bound
    "ours, channels last / forward, channels last",
    "ours, channels last / captum, channels last",
    "ours, channels last / captum",
    "ours, channels last / grad-cam",
)


def task() -> tuple[nn.Module, Tensor, list[int]]:
    """A ResNet-50 with drawn weights and statistics that fit, a batch, its classes."""
    torch.manual_seed(0)
    network = convarium.create("resnet50")
    x = torch.randn(BATCH, 3, SIZE, SIZE)
    with torch.no_grad():
        network(x)  # gives the norms statistics that differ from their start
    return network.eval(), x, torch.randint(0, 1000, (BATCH,)).tolist()


def calls(
    network: nn.Module, x: Tensor, target: list[int], peer: Peer
) -> dict[str, Callable[[], object]]:
    """What is timed."""
    from captum.attr import LayerGradCam

    captum = LayerGradCam(network, network.get_submodule(network.heatmap_layer))
    narrow = copy.deepcopy(network).to(torch.bfloat16, memory_format=torch.channels_last)
    last = x.contiguous(memory_format=torch.channels_last)
    packed = last.to(torch.bfloat16)
    return {
        "forward": lambda: forward(network, x),
        "ours": lambda: explain.grad_cam(network, x, target=target),
        "ours and display": lambda: explain.grad_cam(network, x, target=target).display(),
        "captum": lambda: captum.attribute(x, target=target),
        "grad-cam": lambda: peer.ask("maps"),
        "ours in bfloat16": lambda: explain.grad_cam(narrow, packed, target=target),
        "forward, channels last": lambda: forward(network, last),
        "ours, channels last": lambda: explain.grad_cam(network, last, target=target),
        "captum, channels last": lambda: captum.attribute(last, target=target),
    }


def forward(network: nn.Module, x: Tensor) -> Tensor:
    """One pass without gradients."""
    with torch.no_grad():
        return network(x)


def allocated(call: Callable[[], object]) -> int:
    """The largest sum of bytes that a call allocated and did not yet free."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        call()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(accumulate(event.nbytes() for event in events))


def memory(network: nn.Module, x: Tensor, target: list[int]) -> dict[str, Any]:
    """Peaks of the forward pass, of Grad-CAM and of the part behind the layer, in MiB."""
    with torch.no_grad():
        maps = network.forward_features(x).requires_grad_()
    layers = [layer for name, layer in network.named_children() if name in ("neck", "head")]

    def behind() -> None:
        scores = nn.Sequential(*layers)(maps)[range(BATCH), target]
        torch.autograd.grad(scores.sum(), maps)

    peaks = {
        "forward": allocated(lambda: forward(network, x)),
        "ours": allocated(lambda: explain.grad_cam(network, x, target=target)),
        "behind the layer": allocated(behind),
    }
    bound = 1.2 * peaks["forward"] + peaks["behind the layer"]
    found = {name: round(value / 2**20, 1) for name, value in peaks.items()}
    ours_to_forward = peaks["ours"] / peaks["forward"]
    return {"mib": found, "ours / forward": ours_to_forward, "holds": peaks["ours"] <= bound}


def largest_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Of two sets of maps, as a share of the largest value."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def main(rounds: int, python: Path) -> int:
    """Time all in turns, compare the maps, measure memory, write the result."""
    network, x, target = task()
    weights = {f"w{k:03d}": v.numpy() for k, v in enumerate(network.state_dict().values())}
    with tempfile.TemporaryDirectory() as folder:
        task_path, maps_path = Path(folder) / "task.npz", Path(folder) / "maps.npz"
        np.savez(task_path, x=x.numpy(), target=target, **weights)
        with Peer("heatmaps.py", str(task_path), str(maps_path), python=python) as peer:
            package = peer.answer()["package"]
            timed = calls(network, x, target, peer)
            times = alternate(timed, rounds)
            captum = timed["captum"]().detach().squeeze(1).numpy()
        theirs = np.load(maps_path)["raw"]
    ours = explain.grad_cam(network, x, target=target).values.numpy()
    equality = {package: largest_difference(ours, theirs)}
    equality["captum"] = largest_difference(ours, captum)
    ratios = {
        name: ratio(*(times[part] for part in name.split(" / "))) for name in (*BOUNDS, *TOLD)
    }
    peaks = memory(network, x, target)
    holds = peaks["holds"] and max(equality.values()) <= TOLERANCE
    holds = holds and all(ratios[name] <= bound for name, bound in BOUNDS.items())
    result = {
        "task": f"resnet50, batch {BATCH} at {SIZE}x{SIZE}, layer {network.heatmap_layer}",
        "reference": f"{package}, torchvision's resnet50, the same weights",
        "seconds": {name: summary(values) for name, values in times.items()},
        "ratios": ratios,
        "bounds": BOUNDS,
        "memory": peaks,
        "largest_difference": equality,
        "tolerance": TOLERANCE,
        "holds": holds,
    }
    path = write("explaining", result, ("captum",), by_processor=True)
    for name, value in ratios.items():
        bound = f", at most {BOUNDS[name]:.3f}" if name in BOUNDS else ""
        print(f"{name} = {value:.3f}{bound} (n = {rounds})")
    print(f"memory {peaks}; maps differ by {equality}; holds: {holds}; {path}")
    return 0 if holds else 1


if __name__ == "__main__":
    arguments = sys.argv[1:]
    chosen = Path(arguments[1]) if len(arguments) > 1 else PEER_PYTHON
    sys.exit(main(int(arguments[0]) if arguments else 7, chosen))
