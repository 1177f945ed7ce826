"""The view *Learn*: the gradient's way through plain and residual networks, from an experiment.

`depth.json` beside this file is what the view needs of
`experiments/results/plain_against_residual.json`; `make results` writes it anew, and a test
compares the two. Nothing is measured here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

PATH = Path(__file__).with_suffix(".json")


@cache
def gradients() -> dict[str, Any]:
    """Norms of the gradient at every convolution, before the first step and after each epoch.

    Returns:
        `networks`, each with its errors and `epochs`: a list of (lowest, mean, highest) over the
        seeds, a convolution each; and `claim`, `settings`, `differences`, `command`, `date`,
        `machine` and `versions` as the experiment states them.

    Example:
        >>> [len(each["epochs"][0]) for each in gradients()["networks"]]
        [19, 55, 19, 55]
    """
    found: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return found


def shortened(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the view needs of the experiment's result.

    Args:
        result: as the experiment wrote it.
    """
    summary = result["summary"]
    names = [name for name in summary if "_minus_" not in name]
    kept = ("claim", "settings", "command", "date", "machine", "versions")
    return {
        **{key: result[key] for key in kept},
        "networks": [_network(name, summary[name], result["runs"]) for name in names],
        "differences": {name: summary[name] for name in summary if "_minus_" in name},
    }


def _network(
    name: str, summary: Mapping[str, Any], runs: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """One network: its errors, and its gradients over the seeds."""
    mine = [run["gradients"] for run in runs if run["network"] == name and "test" in run]
    return {
        "name": name,
        "seeds": summary["seeds"],
        "train_error": summary["train_error"],
        "test_error": summary["test_error"],
        "epochs": [
            _over_seeds([each["weight_gradients"] for each in rows])
            for rows in zip(*mine, strict=True)
        ],
    }


def _over_seeds(rows: Sequence[Sequence[float]]) -> list[list[float]]:
    """(lowest, mean, highest) at each convolution, to four digits."""
    columns = zip(*rows, strict=True)
    return [
        [float(f"{value:.4g}") for value in (min(each), fmean(each), max(each))] for each in columns
    ]
