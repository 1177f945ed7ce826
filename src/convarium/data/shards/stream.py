"""Data that is read shard by shard, because it is larger than the disk or the memory.

tar archives      labels from the small files and the archives' headers
Parquet files     labels from their column alone
the library       rows are counted in a first pass, or taken as they come
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.classes import may_be_mirrored
from convarium.data.dataset import Dataset
from convarium.data.given import TRAIN, VALIDATION, part_number
from convarium.data.shards import hub, library, places, tar
from convarium.data.shards.columns import Columns, LabelReader, find_columns
from convarium.data.shards.forward import ForwardSamples
from convarium.data.shards.lanes import MOST_LANES
from convarium.data.shards.opening import has_images
from convarium.data.shards.parquet import ParquetSamples
from convarium.data.shards.rows import Rows
from convarium.data.shards.sources import IndexedShards, LibraryShards, Row, Shards
from convarium.data.skipping import SkipList
from convarium.errors import DataError, OptionError

_PIECE = 32  # samples that lie side by side and stay so until their block is shuffled
_BATCH = 4_096
_LOOKED_INTO = 16  # shards


@dataclass(frozen=True, eq=False)
class ShardStream:
    """Labelled images in shards; nothing is read yet but labels.

    Args:
        source: what the user named.
        counted: all samples whose place and label is known.
        bounds: where each piece of a shard begins and the last one ends, int64; pieces are what an
            order of shards is made of, so that shards may be sorted by class.
        uncounted: training shards whose rows nobody has counted; None where all are counted.
        commit: of the Hub, for the fingerprint.
    """

    source: str
    counted: Dataset
    bounds: NDArray[np.int64]
    uncounted: LibraryShards | None = None
    commit: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return self.counted.classes

    @property
    def given(self) -> NDArray[np.int8] | None:
        """The part of each counted sample; None where the data gives none."""
        return self.counted.given

    def shards(self, ids: NDArray[np.int64]) -> Shards:
        """Some counted samples in their shards."""
        return IndexedShards(self.counted, self.bounds, ids)

    @functools.cached_property
    def fingerprint(self) -> str:
        """BLAKE2b, 32 hexadecimal digits: labels, places, sizes, and the first images of shards.

        Not all images are read for it; up to 16 shards are looked into.
        """
        every = self.shards(np.arange(len(self.counted)))
        state = hashlib.blake2b("\x1f".join((*self.classes, self.commit)).encode(), digest_size=16)
        given = self.given
        state.update(b"-" if given is None else np.ascontiguousarray(given).data)
        for shards in filter(None, (every, self.uncounted)):
            state.update(shards.facts())
            looked = np.unique(np.linspace(0, shards.count - 1, _LOOKED_INTO).astype(int))
            for shard in looked.tolist():
                for row in shards.rows(shard, 0, 1):
                    state.update(_first_bytes(row, shards))
        return state.hexdigest()


def _first_bytes(row: Row, shards: Shards) -> bytes:
    """The bytes or the path of a row's image; nothing of one that cannot be read."""
    image, samples = row.image, shards.samples
    if image is None and samples is not None and not row.problem:
        try:
            image = samples.encoded(row.id)
        except DataError:
            return b"-"
    return image.encode("utf-8", "surrogateescape") if isinstance(image, str) else image or b"-"


def open_stream(
    source: object,
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    counted: bool = True,
) -> ShardStream:
    """Labelled images to be streamed: one class each.

    Args:
        source: what `open_dataset` takes in shards: `hf:OWNER/NAME`, tar archives or Parquet files,
            a folder of `save_to_disk`, an object of `datasets`, also an `IterableDataset`.
        path_column: the images' column or ending, where it has no usual name.
        label_column: the labels', likewise.
        counted: read all rows of a stream of the library once, without their images, to count
            them. False takes them as they come; then `split_stream` needs to be told how many make
            an epoch, the labels must be ClassLabel, and the data must give a validation part.

    Raises:
        DataError: it cannot be read or used, or is not in shards.
        OptionError: an address of another form.
    """
    labels = () if label_column is None else (label_column,)
    named: dict[str, Any] = {"image": path_column, "labels": labels}
    if library.is_library_object(source):
        return _of_library(source, "a data set in memory", counted=counted, commit="", **named)
    path = Path(str(source))
    address = None if path.exists() else hub.parse_address(str(source))
    if address is not None:
        given, commit = hub.load_hub(address, streaming=True)
        return _of_library(given, str(source), counted=counted, commit=commit or "", **named)
    if path.is_dir() and library.is_saved(path):
        saved = library.load_saved(path)
        return _of_library(saved, str(path), counted=counted, commit="", **named)
    files = places.shard_files(path if path.exists() else str(source))
    if files and files[0].suffix.lower() in places.TAR:
        dataset = tar.open_tar(files, str(source), **named)
        return ShardStream(str(source), _one_class(dataset), _bounds(dataset, len(files)))
    if files and has_images(files[0]):
        return _of_parquet(files, str(source), **named)
    raise DataError(
        f"{source} is not in shards (tar archives, Parquet files with images, hf:OWNER/NAME, a "
        "folder of save_to_disk); leave --stream out, or open it with data.open_dataset."
    )


def _of_parquet(
    files: Sequence[Path], source: str, *, image: str | None, labels: Sequence[str]
) -> ShardStream:
    """Parquet files: the column of labels is read at once, images stay where they are."""
    import pyarrow.parquet as pq

    with library.explained(f"Cannot read {source}", "write the file anew"):
        schemas = [pq.read_schema(file) for file in files]
        features = library.library().Features.from_arrow_schema(schemas[0])
        columns = find_columns(source, features, image=image, labels=labels)
        for file, schema in zip(files, schemas, strict=True):
            missing = [
                name for name in (columns.image, *columns.labels) if name not in schema.names
            ]
            if missing:
                raise DataError(f"{file} has no column {missing[0]!r}, and {files[0]} has.")
        numbers = places.parts_of(files)
        rows = Rows(source, LabelReader(source, features, columns, None), columns, SkipList())
        for k, file in enumerate(files):
            part = None if numbers is None or numbers[k] < 0 else numbers[k]
            rows.add(file.name, part, _parquet_cells(file, columns))
    shard, row = rows.places()
    samples = ParquetSamples([str(file.resolve()) for file in files], columns.image, shard, row)
    dataset = _one_class(rows.dataset(samples))
    return ShardStream(source, dataset, samples.groups())


def _parquet_cells(file: Path, columns: Columns) -> Iterator[Sequence[Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as opened:
        for some in opened.iter_batches(_BATCH, columns=list(columns.labels)):
            yield from zip(*(some.column(name).to_pylist() for name in columns.labels), strict=True)


def _of_library(
    given: Any,
    source: str,
    *,
    counted: bool,
    commit: str,
    image: str | None,
    labels: Sequence[str],
) -> ShardStream:
    """The library's tables, whose rows are known, or its streams."""
    first = next(iter(given.values())) if isinstance(given, Mapping) else given
    if not type(first).__name__.startswith("Iterable"):
        dataset = library.open_library(given, source, image=image, labels=labels)
        return ShardStream(source, _one_class(dataset), _pieces(np.array([0, len(dataset)])))
    skipped = SkipList()
    splits = _streams(given, source, skipped)
    features = next(iter(splits.values())).features
    if features is None:
        raise DataError(
            f"{source} does not say what its columns hold; give it features, as in "
            "IterableDataset.from_generator(..., features=...)."
        )
    columns = find_columns(source, features, image=image, labels=labels)
    reader = LabelReader(source, features, columns, None, every=not counted)
    names = reader.names[0]
    later = None if counted else splits.pop("train" if "train" in splits else next(iter(splits)))
    rows, images, words = Rows(source, reader, columns, skipped), [], []
    for word, stream in splits.items():
        part = part_number(word)
        for k, (labelled, encoded) in enumerate(_shards(stream, columns)):
            words.append(f"{word}/{k}")
            images.append(encoded)
            told = library.passing(labelled, f"{source} ({words[-1]})")
            rows.add(words[-1], part, ([row[name] for name in columns.labels] for row in told))
    if later is not None and (names is None or VALIDATION not in rows.parts):
        raise DataError(
            f"{source} must be counted first, since it has "
            f"{'labels without names' if names is None else 'no validation split'}; leave "
            "--samples-per-epoch out."
        )
    shard, row = rows.places()
    dataset = rows.dataset(ForwardSamples(images, words, columns.image, shard, row))
    uncounted = None
    if later is not None:
        dataset.given = np.frombuffer(rows.parts, np.int8)
    if later is not None and names is not None:
        encoded_shards = [_with_labels(part, columns) for part in _each_shard(later)]
        uncounted = LibraryShards(encoded_shards, "train", columns, names, skipped)
    return ShardStream(source, _one_class(dataset), np.array(rows.bounds), uncounted, commit)


def _streams(given: Any, source: str, skipped: SkipList) -> dict[str, Any]:
    """The library's streams by the words of their parts."""
    splits = {str(k): v for k, v in given.items()} if isinstance(given, Mapping) else {"row": given}
    if any(part_number(word) is not None for word in splits):
        library.leave_out(splits, skipped, "a split that is no part")
    elif len(splits) > 1:
        raise DataError(
            f"{source} has the splits {', '.join(splits)}, and none is called train; give one of "
            "them to data.open_stream in Python."
        )
    for stream in splits.values():
        if getattr(stream, "_distributed", None) is not None:
            raise DataError(
                f"{source} is split by node already; give the whole stream, which is divided here."
            )
    return {"train" if part_number(word) == TRAIN else word: s for word, s in splits.items()}


def _each_shard(stream: Any) -> list[Any]:
    return [stream.shard(stream.num_shards, k) for k in range(stream.num_shards)]


def _shards(stream: Any, columns: Columns) -> Iterator[tuple[Any, Any]]:
    """Of each shard its labels alone, and its images alone."""
    for shard in _each_shard(stream):
        yield (
            shard.select_columns(list(columns.labels)),
            library.encoded_images(shard, columns.image),
        )


def _with_labels(shard: Any, columns: Columns) -> Any:
    """A shard's images as they are encoded, with their labels."""
    only = shard.select_columns([columns.image, *columns.labels])
    if type(only.features[columns.image]).__name__ != "Image":
        return only
    return only.cast_column(columns.image, library.library().Image(decode=False))


def _bounds(dataset: Dataset, shards: int) -> NDArray[np.int64]:
    samples = dataset.samples
    if not isinstance(samples, tar.TarSamples):
        raise DataError(f"{dataset.source} is not in tar archives.")
    return _pieces(np.searchsorted(samples.shard, np.arange(shards + 1)))


def _pieces(bounds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where pieces of shards begin, of 32 samples or fewer, and the last one ends."""
    step = max(1, min(_PIECE, int(bounds[-1]) // MOST_LANES))
    cuts = [np.arange(begin, end, step) for begin, end in itertools.pairwise(bounds.tolist())]
    return np.unique(np.concatenate([*cuts, bounds])).astype(np.int64)


def _one_class(dataset: Dataset) -> Dataset:
    """The same, where its labels are one class a sample.

    Raises:
        OptionError: they are something else.
    """
    if dataset.task != "classification":
        raise OptionError(
            f"{dataset.source} has labels for {dataset.task}, and a stream takes one class a "
            "sample; leave --stream out, or name another column with --label-column."
        )
    dataset.mirrored = may_be_mirrored(dataset.classes)
    return dataset
