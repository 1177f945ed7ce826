"""Files that are whole or absent: write to a temporary name, sync, rename.

A reader never sees half a file, and a full disk leaves what was there before. JSON lines are
append-only; a last line that a crash cut short is ignored by the reader.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convarium.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and takes the name `path`.

    The temporary path may be written as a file or made a folder. On any error it is removed and
    `path` stays as it was. A file is replaced; a folder at `path` is an error, since no system call
    replaces a folder that holds something.

    Raises:
        RunError: the disk is full, or the place cannot be written.
    """
    path = Path(path)
    temporary = _temporary_beside(path)
    try:
        yield temporary
        _sync(temporary)
        _take_name(temporary, path)
    except OSError as error:
        raise not_written(path, error) from error
    except RunError as error:  # of a file in the folder that is being made
        raise RunError(str(error).replace(str(temporary), str(path))) from error
    finally:
        _remove(temporary)


def not_written(path: str | Path, error: OSError) -> RunError:
    """The error to raise where `path` cannot be written.

    >>> str(not_written("run/card.json", OSError(28, "No space left on device")))
    'Cannot write run/card.json: No space left on device; free some space and try again.'
    """
    remedy = "free some space and try again" if error.errno in _FULL else "choose another place"
    return RunError(f"Cannot write {path}: {error.strerror or error}; {remedy}.")


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` atomically.

    Raises:
        RunError: the disk is full, or the place cannot be written.
    """
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN and infinities are refused."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: str | Path) -> Any:
    """Read one JSON file.

    Raises:
        RunError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"Cannot read {path} as JSON: {error}.") from error


def append_jsonl(path: str | Path, row: Mapping[str, Any]) -> None:
    """Append one row to a JSON-lines file and sync it; a cut-off last line is repaired first.

    Raises:
        RunError: the disk is full, or the place cannot be written.
    """
    line = json.dumps(row, ensure_ascii=False, allow_nan=False).encode("utf-8") + b"\n"
    try:
        with open(path, "ab+") as file:
            _cut_partial_line(file.fileno())
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise not_written(path, error) from error


def write_jsonl(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replace a JSON-lines file by `rows`, atomically."""
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    write_text(path, "".join(lines))


def read_jsonl(path: str | Path) -> list[dict[str, Any]]:
    """Rows of a JSON-lines file; a missing file has none, a cut-off last line is left out.

    Raises:
        RunError: a whole line is not JSON.
    """
    path = Path(path)
    if not path.exists():
        return []
    try:
        whole, _, _ = path.read_bytes().rpartition(b"\n")
        return [json.loads(line) for line in whole.split(b"\n") if line.strip()]
    except (OSError, ValueError) as error:
        raise RunError(f"Cannot read {path} as JSON lines: {error}.") from error


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors as a safetensors file, atomically; each is whole, also of shared memory.

    Raises:
        RunError: the disk is full, or the place cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    packed, memories = {}, set()
    for name, value in tensors.items():
        own = value.detach().cpu().contiguous()
        memory = own.untyped_storage().data_ptr()
        packed[name] = own.clone() if memory in memories else own
        memories.add(memory)
    with atomic(path) as temporary:
        try:
            save_file(packed, temporary, metadata={"format": "pt"})
        except SafetensorError as error:  # of Rust, whose words have the number
            found = re.search(r"os error (\d+)", str(error))
            number = int(found[1]) if found else errno.EIO
            raise OSError(number, os.strerror(number)) from error


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read a safetensors file; pickles are never read.

    Raises:
        RunError: the file is missing, or is not a whole safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not Path(path).is_file():
        raise RunError(f"There is no {path}; copy the whole folder, or save the network again.")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise RunError(
            f"{path} is not a whole safetensors file ({error}); copy it again or save the network "
            "again. Pickled weights are never read."
        ) from error


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _temporary_beside(path: Path) -> Path:
    """A name that no other writer uses; the folder is made when it is not there."""
    try:
        str(path).encode("utf-8")  # which the writers of tables and weights need
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise not_written(path, error) from error
    except UnicodeEncodeError as error:
        raise RunError(f"Cannot write {path}: its name is not UTF-8; choose another.") from error
    return Path(folder) / path.name


def _sync(path: Path) -> None:
    """Force a file, or every file of a folder, to the disk."""
    members = [*path.rglob("*"), path] if path.is_dir() else [path]
    for member in members:
        descriptor = os.open(member, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _take_name(temporary: Path, path: Path) -> None:
    _default_permissions(temporary)
    os.replace(temporary, path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _default_permissions(path: Path) -> None:
    """The mode that a plain `open` would have given."""
    if path.is_file():
        mask = os.umask(0)
        os.umask(mask)
        path.chmod(0o666 & ~mask)


def _remove(temporary: Path) -> None:
    shutil.rmtree(temporary.parent, ignore_errors=True)


def _cut_partial_line(descriptor: int) -> None:
    """Cut what follows the last line end, so that the next row starts a line of its own."""
    size = os.fstat(descriptor).st_size
    end = size
    while end > 0:
        start = max(0, end - 4096)
        position = os.pread(descriptor, end - start, start).rfind(b"\n")
        if position >= 0:
            end = start + position + 1
            break
        end = start
    if end < size:
        os.ftruncate(descriptor, end)
