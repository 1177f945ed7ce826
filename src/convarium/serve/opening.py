"""Coarse files of requests, opened by a process of its own that may fail without harm."""

from __future__ import annotations

import selectors
import subprocess
import sys
import threading
from typing import Any, Final

from convarium.data.grids.fields import Fields
from convarium.errors import DataError, RunError
from convarium.serve.field_process import Request, TooManyCellsError, receive, send
from convarium.serve.refusals import RefusedError, busy

_CODE: Final = "from convarium.serve.field_process import main; main()"
_BEGIN: Final = 60.0  # seconds that the process may take to import what it needs


class Opener:
    """Opens files one after the other, in a process that is begun anew where one ends it.

    Args:
        seconds: that a file may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = self._closed = False

    def start(self) -> None:
        """Begin the process, unless it is there.

        Raises:
            RunError: it does not begin.
        """
        with self._lock:
            self._started()

    def open(self, request: Request) -> Fields:
        """The fields of a file.

        Raises:
            DataError: it cannot be read, or takes too long.
            OptionError: a variable is missing.
            RefusedError: 413, it has too many cells; 503, no process can open it now.
        """
        with self._lock:
            found = self._asked(request)
        if isinstance(found, TooManyCellsError):
            raise RefusedError(413, "too_many_cells", f"{found}.")
        if isinstance(found, Exception):
            raise found
        fields: Fields = found
        return fields

    def _asked(self, request: Request) -> Any:
        """What the process says; where it ended or takes too long, one in its place has begun.

        Raises:
            DataError: it takes too long, or ends the process.
            RefusedError: 503, no process begins.
        """
        try:
            process = self._sent(request)
            return self._answer(process, self.seconds)
        except RunError as error:
            raise _not_now() from error
        except TimeoutError as error:
            self._begin_anew()
            raise DataError("it takes too long to open") from error
        except (EOFError, OSError) as error:
            self._begin_anew()
            if self._closed:
                raise _not_now() from error
            raise DataError("damaged: it cannot be opened") from error

    def _sent(self, request: Request) -> subprocess.Popen[bytes]:
        """The process that has taken a request.

        One that ended before it took all of it was ended by something else: another is asked, once.

        Raises:
            RunError: no process begins.
            OSError: the second one ended, too.
        """
        process = self._started()
        try:
            send(process.stdin, request)  # type: ignore[arg-type]
        except OSError:
            self._begin_anew()
            process = self._started()
            send(process.stdin, request)  # type: ignore[arg-type]
        return process

    def close(self) -> None:
        """End the process, whatever it does."""
        process, self._closed = self._process, True
        if process is not None:
            process.kill()  # whoever waits for its answer hears of it, and lets go
        with self._lock:
            self._end()

    def _started(self) -> subprocess.Popen[bytes]:
        """The process, once it says that it is ready."""
        if self._process is None or self._process.poll() is not None:
            self._begin_anew()
        process = self._process
        if process is None:
            raise RunError("The server is about to end, and opens no more files.")
        if not self._ready:
            try:
                self._answer(process, _BEGIN)
            except (EOFError, OSError, TimeoutError) as error:
                self._end()
                raise RunError("The process that opens coarse files does not begin.") from error
            self._ready = True
        return process

    def _begin_anew(self) -> None:
        """Begin a process in the place of the old one, and do not wait for it."""
        self._end()
        if not self._closed:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _CODE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )

    def _answer(self, process: subprocess.Popen[bytes], seconds: float) -> Any:
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]
            if not selector.select(seconds):
                raise TimeoutError
        return receive(process.stdout)  # type: ignore[arg-type]

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process, self._ready = None, False


def _not_now() -> RefusedError:
    return busy("not_ready", "Files cannot be opened now; come again later.", 5.0)
