"""Deaths of a training, for tests: at a chosen step, and those that a forked process dies."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable


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


def in_a_fork(work: Callable[[], object]) -> int:
    """Exit code of a forked process that does some work; the negative signal of a killed one."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)
