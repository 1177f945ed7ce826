"""Tasks that ask a network what it remembers: adding, copying, and digits pixel by pixel.

    adding     two channels of T steps, numbers and two marks; the sum of the marked numbers
    copying    ten symbols of 8, T blanks, eleven marks; then the ten symbols again
    digits     an image as a sequence: each pixel a step, or each row; its class

References:
    Bai, Kolter, Koltun 2018, arXiv:1803.01271, section 4 and appendix A (tasks and sizes);
    Hochreiter, Schmidhuber 1997 (adding, copying); Le, Jaitly, Hinton 2015, arXiv:1504.00941
    (sequential and permuted digits).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss, one_hot

import evidence
import learning
from convarium import seeds

Batches = Iterator[tuple[Tensor, Tensor]]
_SYMBOLS, _COPIED = 8, 10
_KINDS = _SYMBOLS + 2  # blank, symbols, mark
_TESTED = 1000


@dataclass(frozen=True)
class Task:
    """A task of one length.

    Args:
        name: of the task.
        length: steps of a sequence.
        channels: of a step.
        classes: outputs; 1 is a number.
        every: whether each step has an answer, else the last one.
        measure: what `score` gives: "mse", "loss" or "error".
        chance: the score of an answer that does not look.
        batches: training batches from a batch size and a seed, without end.
        test: inputs (N, C, T) and targets.
    """

    name: str
    length: int
    channels: int
    classes: int
    every: bool
    measure: str
    chance: float
    batches: Callable[[int, int], Batches]
    test: tuple[Tensor, Tensor]

    def loss(self, found: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of outputs (B, K), or (B, K, T)."""
        if self.measure == "mse":
            return mse_loss(found[:, 0], targets)
        return cross_entropy(found, targets)

    def score(self, found: Tensor) -> float:
        """Of the test's outputs; smaller is better."""
        if self.measure == "error":
            return float((found.argmax(1) != self.test[1]).double().mean())
        return float(self.loss(found, self.test[1]))


def adding(length: int, test: int = _TESTED) -> Task:
    """The adding problem; the mean answers with an error of 1/6."""

    def drawn(count: int, draw: np.random.Generator) -> tuple[Tensor, Tensor]:
        numbers = draw.random((count, length), np.float32)
        marks = np.zeros_like(numbers)
        rows, half = np.arange(count), length // 2
        marks[rows, draw.integers(0, half, count)] = 1
        marks[rows, draw.integers(half, length, count)] = 1
        sums = torch.from_numpy((numbers * marks).sum(1))
        return torch.from_numpy(np.stack([numbers, marks], 1)), sums

    return Task(
        name="adding",
        length=length,
        channels=2,
        classes=1,
        every=False,
        measure="mse",
        chance=1 / 6,
        batches=_endless(drawn),
        test=drawn(test, np.random.default_rng(seeds.derive("adding", length))),
    )


def copying(length: int, test: int = _TESTED) -> Task:
    """Copy memory with `length` blanks; who knows the form alone has a loss of 10 ln 8/(T + 20)."""

    def drawn(count: int, draw: np.random.Generator) -> tuple[Tensor, Tensor]:
        symbols = draw.integers(1, _SYMBOLS + 1, (count, _COPIED))
        steps = np.zeros((count, length + 2 * _COPIED), np.int64)
        steps[:, :_COPIED] = symbols
        steps[:, -_COPIED - 1 :] = _SYMBOLS + 1
        targets = np.zeros_like(steps)
        targets[:, -_COPIED:] = symbols
        inputs = one_hot(torch.from_numpy(steps), _KINDS).float().transpose(1, 2)
        return inputs.contiguous(), torch.from_numpy(targets)

    return Task(
        name="copying",
        length=length + 2 * _COPIED,
        channels=_KINDS,
        classes=_KINDS,
        every=True,
        measure="loss",
        chance=_COPIED * math.log(_SYMBOLS) / (length + 2 * _COPIED),
        batches=_endless(drawn),
        test=drawn(min(test, 200), np.random.default_rng(seeds.derive("copying", length))),
    )


def images(
    source: str, *, permuted: bool = False, rows: bool = False, most: int | None = None
) -> Task:
    """Images step by step, a fifth of them (or those that are given) for the test.

    Args:
        source: "digits", or a data set of the cache folder.
        permuted: whether the steps come in one order that is drawn.
        rows: whether a step is a row instead of a pixel.
        most: training images at most.
    """
    dataset = evidence.opened(source)
    pixels = np.stack([np.asarray(dataset.read(i))[..., 0] for i in range(len(dataset))])
    values = torch.from_numpy(pixels).float() / 255
    values = (values - values.mean()) / values.std()
    steps = values.transpose(1, 2) if rows else values.flatten(1).unsqueeze(1)
    if permuted:
        steps = steps[:, :, torch.from_numpy(seeds.permutation(steps.shape[2], 0, "steps"))]
    steps, targets = steps.contiguous(), torch.from_numpy(np.asarray(dataset.targets, np.int64))
    given = dataset.given
    order = seeds.permutation(len(steps), 0, "images")
    held = order[: len(order) // 5] if given is None else np.flatnonzero(given == 2)
    train = order[len(order) // 5 :] if given is None else np.flatnonzero(given == 0)
    some, test = torch.from_numpy(train[:most].copy()), torch.from_numpy(held.copy())
    classes = len(dataset.classes)
    largest = float(torch.bincount(targets[test]).max() / len(test))

    def batches(batch: int, seed: int) -> Batches:
        return learning.shuffled(steps[some], targets[some], batch, seed)

    return Task(
        name=source,
        length=steps.shape[2],
        channels=steps.shape[1],
        classes=classes,
        every=False,
        measure="error",
        chance=1 - largest,
        batches=batches,
        test=(steps[test], targets[test]),
    )


def _endless(drawn: Callable[[int, np.random.Generator], tuple[Tensor, Tensor]]) -> Any:
    """Batches of f(seed, step)."""

    def batches(batch: int, seed: int) -> Batches:
        step = 0
        while True:
            yield drawn(batch, np.random.default_rng(seeds.derive(seed, "batch", step)))
            step += 1

    return batches


TASKS: Mapping[str, Callable[..., Task]] = {
    "adding_200": lambda length=200: adding(length),
    "adding_600": lambda length=600: adding(length),
    "copying_1000": lambda length=1000: copying(length),
    "digits": lambda length=None: images("digits"),
    "permuted_digits": lambda length=None: images("digits", permuted=True),
    "fashion_rows": lambda length=None: images("fashion-mnist", rows=True),
    "fashion_pixels": lambda length=None: images("fashion-mnist", most=10_000),
}
