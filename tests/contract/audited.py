"""Networks and pictures of which an audit's numbers are known in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from convarium import data, models
from convarium.data.samples import ArraySamples
from convarium.explain.auditing.gathering import Answers
from convarium.explain.auditing.grouping import group_columns, group_tables
from convarium.explain.auditing.results import GroupColumn

SIDE, CLASSES = 16, ("plain", "square")
STEPS = data.Preprocessing((1, SIDE, SIDE), mean=(0.0,), std=(1.0,), classes=CLASSES)
CARD: dict[str, Any] = {"task": "classification", **STEPS.to_card()}


def pictures(n: int = 96, *, marked: bool = True) -> np.ndarray:
    """Dim noise with an object in the middle; every second one has a white square in a corner."""
    generator = np.random.Generator(np.random.PCG64(0))
    images = generator.integers(0, 60, (n, 1, SIDE, SIDE)).astype(np.uint8)
    images[:, :, 6:12, 6:12] += 60
    if marked:
        images[1::2, :, 1:4, 1:4] = 255
    return images


def dataset(images: np.ndarray) -> data.Dataset:
    """The pictures, called plain and square in turn."""
    targets = np.arange(len(images)) % 2
    samples = ArraySamples(images, [("made", len(images))])
    return data.Dataset(samples, source="made", classes=CLASSES, targets=targets, mirrored=False)


def objects(n: int = 96) -> np.ndarray:
    """Where the objects are."""
    masks = np.zeros((n, SIDE, SIDE), np.uint8)
    masks[:, 6:12, 6:12] = 1
    return masks


def sees_white(kernel: int = 5) -> models.Network:
    """Says "square" where anything is white, and nothing else counts.

    relu(10 x - 8) is above 0 for white alone; its mean over the map is the logit of "square", 0.01
    that of "plain". Larger kernels hold zeros around the middle: their permutation moves it.
    """
    network = models.create(
        "convnet", in_channels=1, num_classes=2, channels=[8], kernel_sizes=kernel, norm="none"
    )
    (conv,) = (m for m in network.modules() if isinstance(m, nn.Conv2d))
    (linear,) = (m for m in network.modules() if isinstance(m, nn.Linear))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        conv.weight[:4, 0, kernel // 2, kernel // 2] = 10
        conv.bias[:4] = -8
        linear.weight[1, :4] = 1
        linear.bias[0] = 0.01
    return network


def compared(
    words: list[str], targets: np.ndarray, right: np.ndarray, least: int
) -> tuple[GroupColumn, ...]:
    """Group columns of answers that are right where they are said to be; the labels are x and y."""
    rows = np.arange(len(words))
    told = Answers(("x", "y"), rows, rows, targets, np.where(right, targets, 1 - targets))
    return group_columns(group_tables({"site": words}, len(words)), told, least)
