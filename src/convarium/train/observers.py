"""Who may watch a training run: one small interface, and the lines that people read."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Protocol, TextIO

from convarium.progress import Progress, duration


class Observer(Protocol):
    """Is told of every step and every epoch; what it does cannot change the run's numbers."""

    def on_start(self, *, epochs: int, steps: int, first_step: int, batch_size: int) -> None:
        """Training starts or goes on: `steps` in all, of which `first_step` are done."""

    def on_step(self, step: int, loss: float) -> None:
        """Step number `step` (from 1) is done."""

    def on_epoch(self, row: Mapping[str, Any]) -> None:
        """An epoch is done; `row` is its row of the history."""


class ProgressLines:
    """Writes progress with rate and time left while steps run, and one line an epoch.

    Args:
        stream: where to write; None means standard error.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._epochs = self._batch_size = 0
        self._progress: Progress | None = None

    def on_start(self, *, epochs: int, steps: int, first_step: int, batch_size: int) -> None:
        """Start counting images."""
        self._epochs, self._batch_size = epochs, batch_size
        self._progress = Progress(
            steps * batch_size, "train", stream=self._stream, done=first_step * batch_size
        )

    def on_step(self, step: int, loss: float) -> None:
        """Advance the progress line."""
        if self._progress is not None:
            self._progress.advance(self._batch_size, f"loss {loss:.3f}")

    def on_epoch(self, row: Mapping[str, Any]) -> None:
        """Write the epoch's figures."""
        figures = [
            f"{name.replace('_', ' ')} {value:.4f}"
            for name, value in row.items()
            if name.startswith(("train_", "val_"))
        ]
        start = "\r" if self._stream.isatty() else ""
        self._stream.write(
            f"{start}epoch {row['epoch']}/{self._epochs}: {', '.join(figures)}, "
            f"lr {row['lr']:.2e}, {duration(row['seconds'])}\n"
        )
        self._stream.flush()
