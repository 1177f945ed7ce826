"""Our training loop against a bare hand-written PyTorch loop: same network, data and arithmetic.

    python benchmarks/training_overhead.py

Two cases: ResNet-18 for 32x32 colour images at batch 128, and LeNet-5 on scikit-learn's digits
resized to 32x32 at batch 128, the harsh case because its step is short. Each round times an
epoch of ours and of the bare loop, one after the other, in an order that alternates; the figure is
the median over rounds of ours / bare. The bare loop knows nothing of parts, cards or checkpoints:
it shuffles, takes rows of a float tensor that was normalised beforehand, and updates with the same
fused optimiser at a fixed rate. Ours runs with its default worker.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

import harness
from convarium import data, models, train


class Clock:
    """Times the training part of the epochs, as the bare loop is timed: first to last step."""

    def __init__(self) -> None:
        self.start = self.last = 0.0

    def on_start(self, **_: int) -> None:
        """Start the clock."""
        self.start = time.perf_counter()

    def on_step(self, step: int, loss: float) -> None:
        """Stop the clock for now."""
        self.last = time.perf_counter()

    def on_epoch(self, row: object) -> None:
        """Nothing to do."""


def ours(build, parts, preprocessing, config) -> float:
    """Seconds from the first to the last step of one epoch of `train.fit`, into a run folder."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        train.fit(
            build(),
            parts,
            config,
            preprocessing=preprocessing,
            out=Path(folder) / "run",
            observers=[clock],
        )
    return clock.last - clock.start


def bare(build, images, targets, config) -> float:
    """Seconds of one epoch of a loop as a person writes it."""
    model = build().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, betas=(0.9, 0.99), eps=1e-5, fused=True
    )
    generator = torch.Generator().manual_seed(0)
    loss_sum = correct = 0.0
    start = time.perf_counter()
    order = torch.randperm(len(images), generator=generator)
    for chosen in order.split(config.batch_size):
        x = images[chosen].contiguous(memory_format=torch.channels_last)
        y = targets[chosen]
        outputs = model(x)
        loss = nn.functional.cross_entropy(outputs, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(y)
        correct += (outputs.argmax(1) == y).sum().item()
    return time.perf_counter() - start


def case(name: str, rounds: int, steps: int) -> dict:
    """One network on one data set."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = _dataset(name, Path(folder), steps)
        parts = data.split(dataset, validation=0.02, test=0.02)
        preprocessing = data.fit_preprocessing(parts.train)
        batches = data.batches(parts.train, preprocessing, batch_size=10_000)
        whole = list(batches)
        images = torch.cat([batch.inputs[0] for batch in whole])
        targets = torch.cat([batch.target for batch in whole])
    channels = preprocessing.input_shape[0]
    options = {"stem": "cifar"} if name == "resnet18" else {}
    config = train.TrainConfig(epochs=1, batch_size=128, learning_rate=1e-4, flip=False, warmup=0.0)

    def build() -> nn.Module:
        torch.manual_seed(0)
        return models.create(name, in_channels=channels, num_classes=10, **options)

    ratios, seconds = [], {"ours": [], "bare": []}
    for turn in range(rounds + 1):
        runs = [
            ("ours", lambda: ours(build, parts, preprocessing, config)),
            ("bare", lambda: bare(build, images, targets, config)),
        ]
        for word, run in runs if turn % 2 else reversed(runs):
            seconds[word].append(run())
        ratios.append(seconds["ours"][-1] / seconds["bare"][-1])
    updates = data.steps_per_epoch(parts.train, 128)
    return {
        "network": name,
        "n": len(parts.train),
        "rounds": rounds,
        "ratio": statistics.median(ratios[1:]),
        "ratios": ratios[1:],
        "ms_per_step": {
            word: 1e3 * statistics.median(values[1:]) / updates for word, values in seconds.items()
        },
    }


def _dataset(name: str, folder: Path, steps: int) -> data.Dataset:
    if name == "lenet5":
        digits = data.open_dataset("digits")
        images = np.stack([digits.read(i) for i in range(len(digits))])
        targets = digits.targets
        repeat = max(1, round(steps * 128 / len(images)))
        images = images.repeat(repeat, axis=0).repeat(4, axis=1).repeat(4, axis=2)
        # one bit of noise keeps repeated digits from counting as duplicates
        noise = np.random.Generator(np.random.PCG64(0)).integers(0, 2, images.shape)
        images, targets = images ^ noise.astype(np.uint8), targets.repeat(repeat)
    else:
        generator = np.random.Generator(np.random.PCG64(0))
        images = generator.integers(0, 256, (steps * 128, 32, 32, 3), dtype=np.uint8)
        targets = np.arange(len(images)) % 10
    np.savez(folder / "images.npz", x=images, y=targets)
    return data.open_dataset(folder / "images.npz")


def main() -> int:
    """Run both cases and store the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    cases = [
        case("resnet18", arguments.rounds, steps=3),
        case("lenet5", arguments.rounds, steps=280),
    ]
    limits = {"resnet18": 1.05, "lenet5": 1.15}
    for result in cases:
        result["limit"] = limits[result["network"]]
        print(
            f"{result['network']}: ours / bare = {result['ratio']:.3f} "
            f"(at most {result['limit']}), {result['ms_per_step']}"
        )
    holds = all(result["ratio"] <= result["limit"] for result in cases)
    result = {"cases": cases, "holds": holds}
    harness.write("training_overhead", result, ["numpy", "scikit-learn"])
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
