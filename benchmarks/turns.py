"""Programs that take turns within one run: one goes on for some steps while the others stand still.

Every pair of numbers is then seconds apart, on a machine whose pace changes by the minute.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any


class Contender:
    """A program that stands still, with all its processes, except when it is its turn.

    It writes lines to the file whose number the variable STEPS of its environment tells: first what
    it says of itself, as JSON, then one at the end of each step.

    Args:
        name: in errors.
        command: starts it.
        warm: steps that it takes before it is stopped for the first time.
        said: takes what its processes print.
    """

    def __init__(self, name: str, command: Sequence[object], warm: int, said: IO[str]) -> None:
        self.name, self.said = name, said
        reading, writing = os.pipe()
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdout=said,
            stderr=said,
            env={**os.environ, "STEPS": str(writing)},
            pass_fds=(writing,),
            start_new_session=True,
        )
        os.close(writing)
        self.lines = os.fdopen(reading)
        self.told: dict[str, Any] = json.loads(self._line())
        self._steps(warm)

    def turn(self, steps: int) -> float:
        """Steps a second."""
        start = time.perf_counter()
        self._all(signal.SIGCONT)
        self._steps(steps)
        return steps / (time.perf_counter() - start)

    def end(self) -> None:
        """Stop for good."""
        self._all(signal.SIGKILL)
        self.process.wait()
        self.lines.close()

    def _steps(self, count: int) -> None:
        for _ in range(count):
            self._line()
        self._all(signal.SIGSTOP)

    def _all(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def _line(self) -> str:
        line = self.lines.readline()
        if not line:
            self.said.seek(0)
            raise SystemExit(f"{self.name} ended early:\n{self.said.read()[-2000:]}")
        return line


def in_turns(
    commands: Mapping[str, Sequence[object]], *, warm: int, steps: int, rounds: int
) -> tuple[dict[str, list[float]], list[dict[str, Any]]]:
    """Steps a second of each program, round by round, and what the programs say of themselves.

    Args:
        commands: by name; each is a `Contender`.
        warm: steps before anything is timed.
        steps: of a turn.
        rounds: turns of each; every round begins with another one.
    """
    with contextlib.ExitStack() as closing:
        contenders = []
        for name, command in commands.items():
            said = closing.enter_context(tempfile.TemporaryFile("w+"))
            contenders.append(Contender(name, command, warm, said))
            closing.callback(contenders[-1].end)
        rates: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(rounds):
            first = number % len(contenders)
            for contender in contenders[first:] + contenders[:first]:
                rates[contender.name].append(contender.turn(steps))
        return rates, [contender.told for contender in contenders]
