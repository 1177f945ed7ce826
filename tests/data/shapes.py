"""Volumes with a known answer: balls, cubes and rings in noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHAPES = ("ball", "cube", "ring")


def shape(kind: str, side: int, random: np.random.Generator) -> NDArray[np.int16]:
    """One of them, of any place and size, 120 above a noise of 40 around 100: `(side,) * 3`."""
    middle = random.uniform(0.4 * side, 0.6 * side, 3)
    radius = random.uniform(0.22 * side, 0.32 * side)
    z, y, x = np.indices((side,) * 3) - middle[:, None, None, None]
    inside = {
        "ball": z**2 + y**2 + x**2 < radius**2,
        "cube": np.maximum.reduce([abs(z), abs(y), abs(x)]) < 0.8 * radius,
        "ring": (np.hypot(x, y) - radius) ** 2 + z**2 < (0.45 * radius) ** 2,
    }[kind]
    values: NDArray[np.int16] = np.rint(100 + random.normal(0, 40, inside.shape) + 120 * inside)
    return values.astype(np.int16)


def several(count: int, side: int, seed: int) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """So many of them, taking turns, `(count, side, side, side)`, and their numbers."""
    random = np.random.default_rng(seed)
    made = [shape(SHAPES[i % 3], side, random) for i in range(count)]
    return np.stack(made), np.arange(count) % 3
