"""Programs in processes of their own, spared the seconds that their imports take, for tests."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Each process is a copy of one that has imported what takes seconds, and computed nothing yet.
SLOW = (
    "torch.distributed", "torch._dynamo", "torch._decomp", "convarium.train.loop",
    "convarium.cli.train", "convarium.report.run", "matplotlib.figure", "sklearn.datasets",
)  # fmt: skip
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(list(SLOW))


class Forked:
    """A process that runs `program(*arguments)` in a folder; what it prints is kept."""

    def __init__(
        self,
        program: Callable[..., None],
        *arguments: Any,
        folder: Path,
        words: Mapping[str, str] | None = None,
    ) -> None:
        self.printed = tempfile.TemporaryDirectory()
        streams = [Path(self.printed.name, name) for name in ("out", "errors")]
        for stream in streams:
            stream.touch()
        words = dict(os.environ if words is None else words)
        self.process = CONTEXT.Process(
            target=enter, args=(program, arguments, folder, words, streams)
        )
        self.process.start()

    def wait(self, timeout: float = 150) -> subprocess.CompletedProcess[str]:
        """Its exit code, the negative signal of a killed one, and what it printed."""
        self.process.join(timeout)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
            raise subprocess.TimeoutExpired("a process of its own", timeout)
        with self.printed as folder:
            out, errors = (Path(folder, name).read_text() for name in ("out", "errors"))
        return subprocess.CompletedProcess([], code, out, errors)


def enter(
    program: Callable[..., None],
    arguments: tuple[Any, ...],
    folder: Path,
    words: dict[str, str],
    streams: list[Path],
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(words)
    for number, stream in enumerate(streams, start=1):
        opened = os.open(stream, os.O_WRONLY)
        os.dup2(opened, number)
        os.close(opened)
    program(*arguments)


def command(*words: str | Path) -> None:
    """`convarium WORDS...`."""
    from convarium.cli import main

    sys.exit(main([str(word) for word in words]))


def execute(code: str, names: dict[str, Any] | None = None) -> None:
    """A program's text, with some names that it finds."""
    exec(compile(code, "<a program of a test>", "exec"), {"__name__": "__main__", **(names or {})})
