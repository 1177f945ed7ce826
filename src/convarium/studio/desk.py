"""What lies on the studio's desk: run folders by their names, and runs that are open.

Nothing here imports torch before a run is opened, so that the first page does not wait for it.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from convarium.data.names import shown
from convarium.data.places import is_there
from convarium.errors import DataError, RunError, did_you_mean
from convarium.serve.journal import Journal
from convarium.serve.limits import Limits
from convarium.serve.metrics import Metrics
from convarium.studio.jobs import Jobs

if TYPE_CHECKING:
    from convarium.predict import Run

Value = TypeVar("Value")
#: What a run folder holds from the start of its training, and from its end.
_AUDIT: Final = "audit.json"
_MARKS: Final = ("config.toml", "card.json")
#: Runs that are held open, and results that are kept, at most, and bytes of these.
_OPEN, _KEPT, _BYTES = 4, 64, 512 * 2**20
_TOLD: Final = "failed"  # not "http": what a browser sent that is no request
_LIMITS: Final = Limits(max_bytes=64 * 2**20, connections=64, timeout=30.0, linger=0.0)


class Failures(Journal):
    """A journal of what went wrong alone: who looks at a page wants no line for each request."""

    def write(self, event: str, **facts: Any) -> None:
        """A line, where the event is a failure."""
        if event == _TOLD:
            super().write(event, **facts)


class Desk:
    """Runs, data, and what was computed of them.

    Args:
        words: folders of runs or of audits, or folders that hold such.
        data: a path or name for the view of data; None where none was given.
        journal: takes what happens; None writes failures to standard error.
        limits: of requests.

    Raises:
        RunError: a folder is missing, or there is no run in it.
        DataError: there is no such data.
        MissingExtraError: the extra `serve` is not installed.
    """

    def __init__(
        self,
        words: Sequence[str | Path] = (),
        data: str | None = None,
        *,
        journal: Journal | None = None,
        limits: Limits = _LIMITS,
    ) -> None:
        if data is not None and not is_there(data):
            raise DataError(f"There is no data at {data}; name a folder, a file, or digits.")
        self.data, self.limits = data, limits
        self.journal, self.metrics = journal or Failures(), Metrics()
        self.draining = False
        self.jobs = Jobs()
        self._words = [Path(word) for word in words]
        self._open: OrderedDict[str, tuple[Any, Future[Run]]] = OrderedDict()
        self._results: OrderedDict[tuple[Any, ...], tuple[Any, int]] = OrderedDict()
        self._names, self._audit_names = Names(), Names()
        self._lock = threading.RLock()
        for word in self._words:
            if not runs_in(word) and not _audits_in(word):
                raise RunError(
                    f"There is no run in {word}; name a folder that 'convarium train' made, or one "
                    "that holds such folders."
                )

    def folders(self) -> dict[str, Path]:
        """Run folders by their names; looked for anew each time, since trainings begin and end.

        A folder keeps the name that it had when it was first seen, as `Names` gives it.
        """
        found = [each for word in self._words for each in runs_in(word)]
        with self._lock:
            return {self._names.of(each): each for each in found}

    def folder(self, run: str) -> Path:
        """The folder of a run.

        Raises:
            RunError: there is no run of this name here, or its folder is gone.
        """
        folders = self.folders()
        if run not in folders:
            near = did_you_mean(run, folders)
            raise RunError(f"There is no run {run!r} here, or its folder is gone.{near}")
        folder = folders[run]
        if not folder.is_dir():
            raise RunError(f"The folder of {run!r} is gone.")
        return folder

    def audits(self) -> dict[str, Path]:
        """Folders of audits by their names: those given, and those in the runs' folders."""
        found = {
            folder: ""
            for word in self._words
            for folder in ([] if _is_run(word) else _audits_in(word))
        }
        for run, folder in self.folders().items():
            for each in _audits_in(folder):
                found.setdefault(each, run if each == folder else f"{run}/{each.name}")
        with self._lock:
            return {self._audit_names.of(each, name): each for each, name in found.items()}

    def opened(self, run: str) -> Run:
        """A run with its network, opened once, however many ask, and kept until its files change.

        Raises:
            RunError: it is gone, not finished, or damaged.
        """
        from convarium.predict import open_run

        folder, signature = self.folder(run), self.version(run)
        with self._lock:
            held = self._open.get(run)
            first = held is None or held[0] != signature
            known = (signature, Future()) if held is None or first else held
            self._open[run] = known
            self._open.move_to_end(run)
            while len(self._open) > _OPEN:
                self._open.popitem(last=False)
        if not first:
            return known[1].result()
        try:
            known[1].set_result(open_run(folder))
        except BaseException as error:
            with self._lock:  # the next who asks tries it again
                if self._open.get(run) is known:
                    del self._open[run]
            known[1].set_exception(error)
            raise
        return known[1].result()

    def version(self, run: str) -> tuple[Any, ...]:
        """What changes when the files of a run do."""
        from convarium.serve.served import signature_of

        return signature_of(self.folder(run))

    def keep(self, key: tuple[Any, ...], value: Any, size: int = 0) -> None:
        """Keep a result while there is room; the newest always has it.

        Args:
            key: all that it follows from.
            value: the result.
            size: bytes, where they count.
        """
        with self._lock:
            self._results[key] = value, size
            self._results.move_to_end(key)
            whole = sum(size for _, size in self._results.values())
            while len(self._results) > 1 and (len(self._results) > _KEPT or whole > _BYTES):
                _, (_, size) = self._results.popitem(last=False)
                whole -= size

    def known(self, key: tuple[Any, ...]) -> Any:
        """A result that is kept; None where it is not."""
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
            return self._results.get(key, (None, 0))[0]

    def kept(self, key: tuple[Any, ...], make: Callable[[], Value]) -> Value:
        """A result that was made before, or made now and kept while there is room.

        Args:
            key: all that it follows from.
            make: makes it.
        """
        found: Value | None = self.known(key)
        if found is None:
            found = make()
            self.keep(key, found)
        return found

    async def reload(self) -> None:
        """Let go of the runs that are open, and of what was computed."""
        with self._lock:
            self._open.clear()
            self._results.clear()


def runs_in(folder: Path) -> list[Path]:
    """The run that a folder is, or those that it holds, the newest first."""
    if _is_run(folder):
        return [folder]
    try:
        found = [each for each in _held(folder) if _is_run(each)]
    except OSError:
        return []
    return sorted(found, key=_started, reverse=True)


def _audits_in(folder: Path) -> list[Path]:
    """The audit that a folder is, and those that it holds."""
    try:
        held = sorted(each for each in _held(folder) if (each / _AUDIT).is_file())
    except OSError:
        return []
    return [folder, *held] if (folder / _AUDIT).is_file() else held


def _held(folder: Path) -> list[Path]:
    """The folders in a folder, but for links that lead out of it."""
    root = folder.resolve()
    return [each for each in folder.iterdir() if each.is_dir() and root in each.resolve().parents]


def _is_run(folder: Path) -> bool:
    return any((folder / mark).is_file() for mark in _MARKS)


def _started(folder: Path) -> float:
    """When the training began, in seconds of Unix time; 0 where the folder is gone meanwhile."""
    for mark in _MARKS:
        try:
            return (folder / mark).stat().st_mtime
        except OSError:
            continue
    return 0.0


class Names:
    """Names of folders, each given once: no folder changes its name, and none takes another's.

    Example:
        >>> names = Names()
        >>> names.of(Path("/a/run")), names.of(Path("/b/run")), names.of(Path("/a/run"))
        ('run', 'b/run', 'run')
    """

    def __init__(self) -> None:
        self._given: dict[str, str] = {}

    def of(self, folder: Path, first: str = "") -> str:
        """The name of a folder: its own, with as many parents before it as tell it apart.

        Args:
            folder: which lies anywhere.
            first: another name, which it has if that is free.
        """
        place = os.path.abspath(folder)
        if place not in self._given:
            parts = [shown(part) for part in Path(place).parts if part != os.sep] or [place]
            wanted = ["/".join(parts[-k:]) for k in range(1, len(parts) + 1)]
            wanted = [*filter(None, [first]), *wanted]
            taken = set(self._given.values())
            self._given[place] = next((each for each in wanted if each not in taken), place)
        return self._given[place]
