"""A causal network on live data: a step against its window anew, and against pytorch-tcn.

Six residual blocks of 64 channels with three taps see 253 steps; weight norm is materialised on
both sides. Timed is one step at batch 1 and 64: ours; ours after a history a hundred times as long;
the whole window of 253 steps anew, as one does without streaming; and pytorch-tcn's streaming of
the same weights, in its own interpreter. All take turns. Outputs of the two must agree.

Goals: a step takes the same time after any history, at least 10 times less than the window, and at
least 1.5 times less than the peer's.

Run: python benchmarks/streaming.py [ROUNDS [PYTHON_OF_THE_PEER]]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import convarium
from harness import PEER_PYTHON, Peer, ratio, seconds, summary, write

BATCHES = (1, 64)
FIELD, CHANNELS, STEPS = 253, 64, 50
TOLERANCE = 1e-5
GOALS = {"window": 10.0, "peer": 1.5, "history": 1.2}


def main(rounds: int, python: Path) -> int:
    """Time all in turns, compare the outputs, write the result."""
    torch.manual_seed(0)
    network = convarium.create("tcn", in_channels=CHANNELS, num_classes=0, dropout=0.0)
    network.eval().materialise()
    x = torch.randn(max(BATCHES), CHANNELS, FIELD + STEPS)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        task, answer = Path(folder) / "task.npz", Path(folder) / "outputs.npz"
        weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
        np.savez(task, x=x.numpy(), steps=STEPS, **weights)
        with Peer("streaming.py", str(task), str(answer), python=python) as peer:
            package = peer.answer()["package"]
            rows = [time_one(peer, network, x[:n], rounds) for n in BATCHES]
        theirs = torch.from_numpy(np.load(answer)["outputs"])
        ours, _ = network.stream(x, network.initial_state(len(x)))
    difference = float((ours - theirs).abs().max() / theirs.abs().max())
    holds = difference <= TOLERANCE and all(
        row["times_faster"][name] >= goal if name != "history" else row["history"] <= goal
        for row in rows
        for name, goal in GOALS.items()
    )
    reference = f"{package}, the same weights, streaming step by step"
    result = {"reference": reference, "field": FIELD, "channels": CHANNELS, "rows": rows}
    found = {"largest_difference": difference, "goals": GOALS, "holds": holds}
    path = write("streaming", {**result, **found})
    for row in rows:
        faster = row["times_faster"]
        print(
            f"batch {row['batch']}: {row['step_us']:.0f} us a step; its window takes "
            f"{faster['window']:.1f} times as long, {package} {faster['peer']:.1f} times; after a "
            f"hundredfold history it takes {row['history']:.2f} times as long"
        )
    print(f"outputs differ by {difference:.1e} of the largest; holds: {holds}; {path}")
    return 0 if holds else 1


def time_one(peer: Peer, network: Any, x: torch.Tensor, rounds: int) -> dict[str, Any]:
    """Seconds of a number of steps, of all that take turns, on one batch."""
    fresh = network.stream(x[:, :, :FIELD], network.initial_state(len(x)))[1]
    old = fresh
    for _ in range(100):
        old = network.stream(x[:, :, :FIELD], old)[1]
    window = x[:, :, STEPS:].contiguous()
    found: dict[str, list[float]] = {"ours": [], "old": [], "window": [], "peer": []}
    for _ in range(rounds + 1):
        found["ours"].append(seconds(lambda: steps(network, x, fresh)))
        found["old"].append(seconds(lambda: steps(network, x, old)))
        found["window"].append(STEPS * seconds(lambda: network(window)))
        found["peer"].append(peer.ask(str(len(x)))["seconds"])
    found = {name: values[1:] for name, values in found.items()}  # the first round warms up
    names = ("window", "peer")
    return {
        "batch": len(x),
        "steps": STEPS,
        "seconds": {name: summary(values) for name, values in found.items()},
        "step_us": 1e6 * summary(found["ours"])["median"] / STEPS,
        "history": ratio(found["old"], found["ours"]),
        "times_faster": {name: ratio(found[name], found["ours"]) for name in names},
    }


def steps(network: Any, x: torch.Tensor, state: torch.Tensor) -> None:
    """The last steps of `x`, one by one."""
    for t in range(FIELD, FIELD + STEPS):
        _, state = network.step(x[:, :, t], state)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    chosen = Path(arguments[1]) if len(arguments) > 1 else PEER_PYTHON
    sys.exit(main(int(arguments[0]) if arguments else 20, chosen))
