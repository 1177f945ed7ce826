"""From what a user names to data in shards, or to nothing where it is something else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convarium.data.dataset import Dataset
from convarium.data.given import PARTS
from convarium.data.shards import hub, library, places, tar
from convarium.data.table import PATH_NAMES
from convarium.errors import OptionError


def open_shards(
    source: object,
    *,
    image: str | None = None,
    labels: Sequence[str] = (),
    group: str | None = None,
    task: str | None = None,
) -> Dataset | None:
    """A data set with random access from an address, a folder, shards or the library's object.

    Args:
        source: `hf:OWNER/NAME[:CONFIG]`; a folder of `save_to_disk`; tar archives or Parquet files
            with images, one, a folder of them or a pattern; or the library's object.
        image, labels, group: names of columns, where they are given.
        task: as `open_dataset` has it.

    Returns:
        The data set; None where the source is of another kind.

    Raises:
        DataError: it cannot be read or used.
        OptionError: options that do not fit it.
        MissingExtraError: the library is needed and not installed.
    """
    named: dict[str, Any] = {"image": image, "labels": labels, "task": task}
    if library.is_library_object(source):
        return library.open_library(source, "a data set in memory", group=group, **named)
    path = Path(str(source))
    address = None if path.exists() else hub.parse_address(str(source))
    if address is not None:
        given, _ = hub.load_hub(address)
        return library.open_library(given, str(source), group=group, **named)
    if path.is_dir() and library.is_saved(path):
        return library.open_library(library.load_saved(path), str(path), group=group, **named)
    files = places.shard_files(path if path.exists() else str(source))
    if not files:
        return None
    if files[0].suffix.lower() in places.TAR:
        if group is not None:
            raise OptionError(
                f"group_column (={group!r}) names a column, and tar archives have none; leave it "
                "out, or give the data as Parquet."
            )
        return tar.open_tar(files, str(source), **named)
    if not has_images(files[0]):
        return None
    given = library.load_parquet(by_parts(files))
    return library.open_library(given, str(source), group=group, **named)


def by_parts(files: Sequence[Path]) -> dict[str, list[Path]]:
    """The files by the words of the parts that their names give; else all of them as `row`.

    Beside a training part, files without a part count as training too.
    """
    numbers = places.parts_of(files)
    found: dict[str, list[Path]] = {}
    for k, file in enumerate(files):
        word = "row" if numbers is None else PARTS[max(0, numbers[k])]
        found.setdefault(word, []).append(file)
    return found


def has_images(file: Path) -> bool:
    """Whether a Parquet file has a column of bytes, or of bytes beside a path, as images are.

    One with a column of paths and no more than bytes beside it is a table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import types

    try:
        fields = list(pq.read_schema(file))
    except (OSError, ValueError, pa.lib.ArrowException):
        return False  # the reader of tables says what is wrong
    paths = set(PATH_NAMES) - {"image"}
    for field in fields:
        holds = types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
        if holds and field.name.lower() not in paths:
            return True
    plain = [f.name for f in fields if types.is_binary(f.type) or types.is_large_binary(f.type)]
    others = {f.name.lower() for f in fields if f.name not in plain or f.name.lower() != "image"}
    return bool(plain) and not others & set(PATH_NAMES)
