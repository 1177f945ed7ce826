"""A death of a training at a chosen step, for tests."""

from __future__ import annotations


class Killed(BaseException):
    """Stands for a death at a chosen step."""


class KillAt:
    """An observer that ends the training after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_start(self, **_: int) -> None:
        pass

    def on_step(self, step: int, loss: float) -> None:
        if step == self.step:
            raise Killed

    def on_epoch(self, row: object) -> None:
        pass
