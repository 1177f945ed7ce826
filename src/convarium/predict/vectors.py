"""Vectors of a run's inputs as Parquet: an id and a list of fixed size each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from convarium import files
from convarium.data import Dataset
from convarium.errors import DataError, OptionError, RunError

TYPES: Final = ("float32", "float16")
ABOUT: Final = "_embedding.json"  # in a folder of several files: what they hold


def write_vectors(
    path: str | Path,
    dataset: Dataset,
    pairs: Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]],
    *,
    dtype: str = "float32",
    length: int | None = None,
) -> tuple[int, int]:
    """Write ids and vectors as they come, in bounded memory, atomically; gives (rows, length).

    Columns: `id`, the sample's name, and `vector`, an Arrow list of fixed size.

    Args:
        path: ends in `.parquet`.
        dataset: knows the names.
        pairs: sample numbers `(n,)` and vectors `(n, D)`, as `Predictor.embedded` gives them.
        dtype: "float32", or "float16" for half the size.
        length: of a vector, where there may be none; the table is then empty.

    Raises:
        OptionError: another ending or type, or a vector that float16 cannot hold.
        DataError: there is no vector.
        RunError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_vectors_name(path)
    check_type(dtype)
    count, writer = 0, None
    with files.atomic(Path(path)) as temporary, open(temporary, "wb") as file:
        for ids, vectors in pairs:
            length = vectors.shape[1]
            with np.errstate(over="ignore"):
                flat = np.ascontiguousarray(vectors, dtype=dtype).reshape(-1)
            if not np.isfinite(flat).all() and np.isfinite(vectors).all():
                raise OptionError("A vector is too large for float16; use dtype='float32'.")
            names = pa.array([dataset.name(int(i)) for i in ids], pa.string())
            table = _table(names, flat, length)
            writer = writer or pq.ParquetWriter(file, table.schema)
            writer.write_table(table)
            count += len(ids)
        if writer is None:
            if length is None:
                raise DataError(f"None of the inputs of {dataset.source} can be read.")
            empty = _table(pa.array([], pa.string()), np.empty(0, dtype), length)
            writer = pq.ParquetWriter(file, empty.schema)
        writer.close()
    return count, int(length or 0)


def read_vectors(path: str | Path) -> tuple[list[str], NDArray[np.float32]]:
    """Ids and vectors `(N, D)` of a file, or of a folder of shards in their order.

    Raises:
        DataError: it is not there, is not whole, or holds no such columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        opened = [pq.ParquetFile(file) for file in _files(Path(path))]
        kinds = [file.schema_arrow.field("vector").type for file in opened]
        if any(not pa.types.is_fixed_size_list(kind) for kind in kinds) or len({*kinds}) != 1:
            raise DataError(f"{path} has vectors of several lengths; give what 'embed' wrote.")
        total = sum(file.metadata.num_rows for file in opened)
        ids, vectors, at = list[str](), np.empty((total, kinds[0].list_size), np.float32), 0
        for file in opened:
            for batch in file.iter_batches(columns=["id", "vector"]):
                ids += map(str, batch["id"].to_pylist())
                flat = batch["vector"].flatten().to_numpy(zero_copy_only=False)
                vectors[at : at + len(batch)] = flat.reshape(len(batch), -1)
                at += len(batch)
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise DataError(
            f"{path} cannot be read as vectors ({str(error).partition(chr(10))[0]}); give a "
            ".parquet file or folder of 'convarium embed'."
        ) from error
    if not total:
        raise DataError(f"{path} holds no vector.")
    return ids, vectors


def check_vectors_name(path: str | Path) -> None:
    """Refuse a name that `write_vectors` cannot write, before there is anything to write.

    Raises:
        OptionError: it does not end in `.parquet`.
    """
    if Path(path).suffix.lower() != ".parquet":
        raise OptionError(
            f"A file of vectors (={str(path)!r}) must end in .parquet; a name without an ending "
            "makes a folder of such files."
        )


def check_type(dtype: str) -> None:
    """Refuse another type of numbers than vectors are written in.

    Raises:
        OptionError: it is no such type.
    """
    if dtype not in TYPES:
        raise OptionError(f"dtype (={dtype!r}) must be one of {', '.join(TYPES)}.")


def _table(names: Any, flat: NDArray[Any], length: int) -> Any:
    import pyarrow as pa

    vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat), length)
    return pa.table({"id": names, "vector": vectors})


def _files(path: Path) -> list[Path]:
    """The one file, or the shards of a folder."""
    if not path.is_dir():
        return [path]
    try:
        told = files.read_json(path / ABOUT)
    except RunError as error:
        raise DataError(f"{path} is no folder of vectors: {error}") from error
    found = sorted(path.glob("part-*.parquet"))
    if len(found) != told["shards"]:
        raise DataError(
            f"{path} holds {len(found)} of {told['shards']} shards; repeat its embed, which "
            "goes on with the others."
        )
    return found
