"""Work that takes longer than a request: it is begun once, and told about until it is done.

ask(key, work) -> how far it is -> ask(key, work) -> ... -> its result
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from convarium.errors import ConvariumError
from convarium.progress import Progress

_KEPT: Final = 32  # results, the newest
_SOON: Final = 0.2  # seconds that an answer waits for quick work
#: Seconds without a question after which work is ended: a page that is seen asks twice a second,
#: one behind others once a minute. Where somebody waits for the thread, work gives way sooner, but
#: once: what is asked about again after its end was waited for, and has many times the patience.
_PATIENCE: Final = 90.0
_CROWDED: Final = 15.0
_AGAIN: Final = 10


class AbandonedError(ConvariumError):
    """Work that nobody asked about any more, and that was ended."""


class Watched(Progress):
    """Progress that is read instead of printed, and that ends work nobody waits for.

    Args:
        patience: gives the seconds without a question after which `advance` ends the work.
        version: of what the work is about.
    """

    def __init__(self, patience: Callable[[], float], version: Hashable = None) -> None:
        super().__init__(0, "", enabled=False)
        self.patience, self.asked, self.unwanted = patience, time.monotonic(), False
        self.version = version

    def advance(self, n: int = 1, note: str = "") -> None:
        """Count `n` more units.

        Raises:
            AbandonedError: nobody has asked for so long, or the studio ends.
        """
        super().advance(n, note)
        if self.unwanted or time.monotonic() - self.asked > self.patience():
            raise AbandonedError("Nobody waits for this any more.")


class Jobs:
    """One thread that works through what is asked for, each thing once, however many ask.

    An error of the library is told to all who ask, and forgotten, so that the next may try again.

    Example:
        >>> jobs = Jobs()
        >>> jobs.ask("sum", lambda progress: 1 + 1)
        {'state': 'done', 'result': 2}
        >>> jobs.close()
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "studio")
        self._work: dict[Hashable, tuple[Future[Any], Watched]] = {}
        self._lock, self._closed = threading.Lock(), False

    def ask(
        self,
        key: Hashable,
        work: Callable[[Watched], Any],
        *,
        patience: float = _PATIENCE,
        wait: float = _SOON,
        anew: bool = False,
        version: Hashable = None,
    ) -> dict[str, Any]:
        """How far the work of this key is, which is begun where it has not been.

        Args:
            key: says what is done; equal keys are the same work.
            work: is given what it tells its progress to.
            patience: seconds after which work that nobody asks about is ended.
            wait: seconds that are waited for the result.
            anew: forget a result that is known; what is under way goes on.
            version: of what the work is about; work of this key and another version is ended, and
                its result forgotten.

        Returns:
            `{"state": "done", "result": ...}`, or `{"state": "waiting" | "running", "done": n,
            "total": n}`.

        Raises:
            ConvariumError: what the work raised, or the studio ends.
        """
        with self._lock:
            known = self._work.pop(key, None)
            if known is not None and known[1].version != version:
                known[1].unwanted, known = True, None
            ended = known is not None and _was_abandoned(known[0])
            if known is None or ended or (anew and known[0].done()):
                self._forget()
                known = self._begun(work, patience, ended, version)
            self._work[key] = known  # the last one asked about is the last one forgotten
            future, progress = known
            progress.asked = time.monotonic()
        try:
            return {"state": "done", "result": future.result(wait)}
        except BaseException as error:
            if isinstance(error, TimeoutError) and not future.done():
                state = "running" if future.running() else "waiting"
                return {"state": state, "done": progress.done, "total": progress.total}
            if isinstance(error, AbandonedError) and not self._closed:  # the next begins it anew
                return {"state": "waiting", "done": 0, "total": 0}
            self._drop(key, future)
            raise

    def close(self) -> None:
        """End the thread; what has not been begun is left, and what is under way ends soon."""
        with self._lock:
            self._closed = True
            for _, progress in self._work.values():
                progress.unwanted = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _begun(
        self, work: Callable[[Watched], Any], patience: float, ended: bool, version: Hashable
    ) -> tuple[Future[Any], Watched]:
        """Work that waits for the thread; the lock is held.

        Raises:
            AbandonedError: the studio ends.
        """
        if self._closed:
            raise AbandonedError("The studio ends.")

        def left() -> float:
            if ended:
                return _AGAIN * patience
            return min(patience, _CROWDED) if self._crowded() else patience

        progress = Watched(left, version)
        return self._thread.submit(work, progress), progress

    def _crowded(self) -> bool:
        """Whether somebody waits for the thread."""
        with self._lock:
            return any(not (each.running() or each.done()) for each, _ in self._work.values())

    def _drop(self, key: Hashable, future: Future[Any]) -> None:
        with self._lock:
            if key in self._work and self._work[key][0] is future:
                del self._work[key]

    def _forget(self) -> None:
        """Keep only the newest results."""
        done = [key for key, (future, _) in self._work.items() if future.done()]
        for key in done[: max(len(done) - _KEPT + 1, 0)]:
            del self._work[key]


def _was_abandoned(future: Future[Any]) -> bool:
    """Whether it was ended because nobody asked; whoever asks again begins it anew."""
    return future.done() and isinstance(future.exception(), AbandonedError)
