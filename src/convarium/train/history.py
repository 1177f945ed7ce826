"""The history of a run: one row an epoch, as `history.jsonl` holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class History:
    """What happened, epoch by epoch.

    Args:
        rows: each with epoch (from 1), train_loss, train_<metric>, val_loss, val_<metric>, lr (the
            last rate used), seconds (of the epoch, validation included).
        best_epoch: the epoch whose weights were kept.
        metric: the name of the score, such as "acc".
    """

    rows: tuple[Mapping[str, Any], ...]
    best_epoch: int
    metric: str

    @property
    def best(self) -> Mapping[str, Any]:
        """The row of the best epoch."""
        return self.rows[self.best_epoch - 1]


def is_better(row: Mapping[str, Any], best: Mapping[str, Any] | None, metric: str) -> bool:
    """Whether a row's validation score beats the best one; equal scores go to the smaller loss."""
    if best is None:
        return True
    key = f"val_{metric}"
    return (row[key], -row["val_loss"]) > (best[key], -best["val_loss"])
