"""A process that opens the coarse files of strangers: `python -m convarium.serve.field_process`.

The C library of HDF5 reads them, so what is damaged or made to harm may end this process, and not
the server. Its memory is limited, and a file that points to other files is refused unread: HDF5
would read their bytes as numbers.

standard input: (length, pickled request)...    standard output: (length, pickled answer)...
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import signal
import struct
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from convarium.data.grids.fields import Fields
from convarium.data.grids.further import Selection
from convarium.data.grids.opening import open_fields
from convarium.data.grids.reading import EXTRA, axes_there
from convarium.errors import ConvariumError, DataError, import_extra

HDF5: Final = b"\x89HDF\r\n\x1a\n"
NETCDF3: Final = (b"CDF\x01", b"CDF\x02")
LENGTH: Final = struct.Struct("<Q")
#: What errors call the file.
NAME: Final = "body.nc"
_MEMORY: Final = 2**30  # bytes, beyond what the libraries take
_OBJECTS: Final = 10_000  # that a file may hold


class TooManyCellsError(DataError):
    """Fields of more cells than are allowed."""


@dataclass(frozen=True)
class Request:
    """A file that is to be opened.

    Args:
        content: its bytes.
        variables: names.
        most: cells of all its fields.
        select: what `open_fields` takes as usual.
        axes: names of axes, where the file has them.
    """

    content: bytes
    variables: tuple[str, ...]
    most: int
    select: Selection = field(default_factory=dict)
    axes: Mapping[str, str | None] = field(default_factory=dict)


def opened(request: Request) -> Fields:
    """The fields of a file, in memory.

    Raises:
        DataError: it cannot be read, points to other files, or has too many cells.
        OptionError: a variable is missing.
    """
    if not request.content.startswith((HDF5, *NETCDF3)):
        raise DataError("not a NetCDF file by its content")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        path = Path(NAME)
        path.write_bytes(request.content)
        if request.content.startswith(HDF5):
            check_inside(path)
        try:
            axes: dict[str, Any] = axes_there(path, request.axes)
            found = open_fields(path, request.variables, usual=request.select, **axes)
            _check_cells(found, request.most)
            source = {name: np.asarray(v, np.float32) for name, v in found.source.items()}
        except ConvariumError:
            raise
        except Exception as error:  # a damaged file can raise anything inside a reader
            raise DataError(f"damaged: {type(error).__name__}") from error
    attributes = _plain(found.attributes or {})
    return replace(found, source=source, attributes=attributes, axis=_plain(found.axis))


def check_inside(path: Path) -> None:
    """Refuse a file of HDF5 that has numbers, or whole objects, in other files.

    Raises:
        DataError: it has, or it cannot be followed.
    """
    h5py: Any = import_extra("h5py", EXTRA)
    try:
        with h5py.File(path, "r") as file:
            _check_groups(h5py, file)
    except ConvariumError:
        raise
    except Exception as error:  # as above
        raise DataError(f"damaged: {type(error).__name__}") from error


def _check_groups(h5py: Any, file: Any) -> None:
    """Go through all groups of a file, each once."""
    waiting, seen = [file], set()
    while waiting:
        group = waiting.pop()
        for each in _members(h5py, group):
            place = h5py.h5o.get_info(each.id).addr
            if isinstance(each, h5py.Group) and place not in seen:
                waiting.append(each)
            seen.add(place)
        if len(seen) > _OBJECTS:
            raise DataError(f"it holds over {_OBJECTS:,} objects")


def _members(h5py: Any, group: Any) -> Iterator[Any]:
    """What a group holds; soft links lead to other names of the same file."""
    elsewhere = "it points to other files, which are not read"
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.SoftLink):
            continue
        if not isinstance(link, h5py.HardLink):
            raise DataError(elsewhere)
        each = group[name]
        if isinstance(each, h5py.Dataset) and (each.external or each.is_virtual):
            raise DataError(elsewhere)
        yield each


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Texts and numbers, which any file can hold; HDF5 has references and records, too."""
    kinds = (str, int, float, np.number)
    return {name: value for name, value in attributes.items() if isinstance(value, kinds)}


def _check_cells(found: Fields, most: int) -> None:
    cells = len(found) * len(found.names) * math.prod(found.grid.shape)
    if cells > most:
        raise TooManyCellsError(
            f"{len(found)} times of {len(found.names)} fields of {found.grid.shape[0]} x "
            f"{found.grid.shape[1]} cells are more than the limit of {most:,} cells"
        )


def send(stream: BinaryIO, message: object) -> None:
    """Write one message."""
    data = pickle.dumps(message)
    stream.write(LENGTH.pack(len(data)) + data)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """The next message; what is unpickled comes from the same code in another process.

    Raises:
        EOFError: the other process has ended.
    """
    head = stream.read(LENGTH.size)
    length = LENGTH.unpack(head)[0] if len(head) == LENGTH.size else 0
    data = stream.read(length)
    if not data or len(data) < length:
        raise EOFError
    return pickle.loads(data)


def main() -> None:
    """Answer requests until there are no more; the first message says that it is ready.

    Signals to the server's whole group are the server's alone: it ends its work, and then this.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever a library prints is no answer
    for name in ("xarray", "h5py", "h5netcdf", "scipy.io", "cftime"):
        with contextlib.suppress(ConvariumError):
            import_extra(name, EXTRA)
    _limit_memory()
    send(answers, None)
    with contextlib.suppress(EOFError):
        while True:
            request = receive(sys.stdin.buffer)
            try:
                send(answers, opened(request))
            except ConvariumError as error:
                send(answers, error)
            except MemoryError:
                send(answers, DataError("it takes too much memory to open"))


def _limit_memory() -> None:
    """Let the process take so much more, where the system can see to it."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + _MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
