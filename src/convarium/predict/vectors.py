"""Vectors of a run's inputs as a Parquet file: an id and a list of fixed size each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from convarium import files
from convarium.data import Dataset
from convarium.errors import DataError, OptionError

TYPES: Final = ("float32", "float16")


def write_vectors(
    path: str | Path,
    dataset: Dataset,
    pairs: Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]],
    *,
    dtype: str = "float32",
) -> tuple[int, int]:
    """Write ids and vectors as they come, in bounded memory, atomically; gives (rows, length).

    Columns: `id`, the sample's name, and `vector`, an Arrow list of fixed size.

    Args:
        path: ends in `.parquet`.
        dataset: knows the names.
        pairs: sample numbers `(n,)` and vectors `(n, D)`, as `Predictor.embedded` gives them.
        dtype: "float32", or "float16" for half the size.

    Raises:
        OptionError: another ending or type, or a vector that float16 cannot hold.
        DataError: there is no vector.
        RunError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_vectors_name(path)
    if dtype not in TYPES:
        raise OptionError(f"dtype (={dtype!r}) must be one of {', '.join(TYPES)}.")
    count, writer = 0, None
    length = 0
    with files.atomic(Path(path)) as temporary, open(temporary, "wb") as file:
        for ids, vectors in pairs:
            length = vectors.shape[1]
            with np.errstate(over="ignore"):
                flat = np.ascontiguousarray(vectors, dtype=dtype).reshape(-1)
            if not np.isfinite(flat).all() and np.isfinite(vectors).all():
                raise OptionError("A vector is too large for float16; use dtype='float32'.")
            names = pa.array([dataset.name(int(i)) for i in ids], pa.string())
            table = pa.table(
                {"id": names, "vector": pa.FixedSizeListArray.from_arrays(pa.array(flat), length)}
            )
            writer = writer or pq.ParquetWriter(file, table.schema)
            writer.write_table(table)
            count += len(ids)
        if writer is None:
            raise DataError(f"None of the inputs of {dataset.source} can be read.")
        writer.close()
    return count, length


def check_vectors_name(path: str | Path) -> None:
    """Refuse a name that `write_vectors` cannot write, before there is anything to write.

    Raises:
        OptionError: it does not end in `.parquet`.
    """
    if Path(path).suffix.lower() != ".parquet":
        raise OptionError(f"A file of vectors (={str(path)!r}) must end in .parquet.")
