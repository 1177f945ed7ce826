"""What every experiment shares: its data, means over seeds with intervals, and provenance."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

from convarium import data, seeds
from convarium.intervals import wilson
from convarium.predict import Predictor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import harness

RESULTS = Path(__file__).parent / "results"

over_seeds = harness.over_seeds


def opened(source: str) -> data.Dataset:
    """A data set of the cache folder that `make data` fills, or of a path."""
    inside = harness.cache() / source
    return data.open_dataset(inside if inside.exists() else source)


def drawn(part: data.Part, n: int | None, name: str) -> data.Part:
    """`n` samples of a part, the same each time; all where n is None or more than there are."""
    if n is None or n >= len(part):
        return part
    chosen = seeds.permutation(len(part), 0, "experiment", name)[:n]
    return data.Part(part.dataset, part.ids[sorted(chosen)])


def digits(value: float | None) -> float | None:
    """Four digits; None for what is no number."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def error_of(predictor: Predictor, part: data.Part) -> dict[str, Any]:
    """The error on a part, without augmentation, and its interval (Wilson, 95 %)."""
    found = predictor.evaluate(part)
    wrong = round((1 - found.score) * found.n)
    return {"n": found.n, "error": wrong / found.n, "interval": list(wilson(wrong, found.n))}


def provenance() -> dict[str, Any]:
    """Command, date, machine and versions."""
    return harness.provenance("numpy")


def say(line: str) -> None:
    """One line for whoever waits."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
