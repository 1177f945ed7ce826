"""Texts that are made for tests: two subjects with words of their own among common ones."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

SUBJECTS = {
    "garden": ["rose", "tulip", "spade", "seed", "lawn", "hedge", "soil", "bloom"],
    "kitchen": ["spoon", "kettle", "oven", "flour", "whisk", "pan", "recipe", "bake"],
    "harbour": ["anchor", "sail", "crane", "dock", "tide", "vessel", "rope", "cargo"],
}
COMMON = ["the", "a", "of", "and", "with", "for", "near", "old", "new", "small", "large", "some"]


def rows(count: int, seed: int = 0, words: int = 12) -> list[dict[str, str]]:
    """Rows with id, text, label and group; a third of the words tell the subject."""
    draw = np.random.default_rng(seed)
    names = list(SUBJECTS)
    made = []
    for number in range(count):
        label = names[number % len(names)]
        length = int(draw.integers(words // 2, words + 1))
        chosen = [
            str(draw.choice(SUBJECTS[label] if draw.random() < 0.4 else COMMON))
            for _ in range(length)
        ]
        chosen[0] = str(draw.choice(SUBJECTS[label]))
        text = " ".join(chosen)
        made.append({"id": f"t{number}", "text": text, "label": label, "group": f"g{number // 2}"})
    return made


def write_csv(path: Path, made: Sequence[dict[str, str]], encoding: str = "utf-8") -> Path:
    with open(path, "w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, list(made[0]))
        writer.writeheader()
        writer.writerows(made)
    return path
