"""Data that the studio holds open: a data set, read once, and what a run knows of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.given import PARTS, part_number
from convarium.data.places import is_there, place_now
from convarium.errors import ConvariumError, DataError, OptionError, RunError, did_you_mean
from convarium.progress import Progress
from convarium.studio.runs import card_of, settings_of

if TYPE_CHECKING:
    from convarium.data import Dataset, Preprocessing
    from convarium.train import TrainConfig


@dataclass(frozen=True, eq=False)
class Opened:
    """A data set that was read, and what belongs to it.

    Args:
        dataset: surveyed.
        part: of each sample, the number of its part in `PARTS`, and -1 for those in none, `(N,)`;
            None where nothing says so.
        config: how the run was trained; None of data without a run.
        preprocessing: of the run.
        remark: what to know about it, in a sentence.
        place: where it was found, where a run was trained on it.
    """

    dataset: Dataset
    part: NDArray[np.int8] | None = None
    config: TrainConfig | None = None
    preprocessing: Preprocessing | None = None
    remark: str = ""
    place: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """Samples of each part; none where nothing says who is in which."""
        if self.part is None:
            return {}
        return {word: int((self.part == number).sum()) for number, word in enumerate(PARTS)}

    @property
    def shows_training(self) -> bool:
        """Whether what training makes of a sample can be shown: of texts it is known by a run."""
        kind = self.dataset.kind
        return kind in ("images", "volumes", "series") or (
            kind == "texts" and self.config is not None
        )

    @property
    def training_ids(self) -> NDArray[np.int64] | None:
        """Samples of the training part; None where nothing says which they are."""
        return None if self.part is None else np.flatnonzero(self.part == 0)

    def part_of(self, i: int) -> str:
        """The part of a sample in a word; nothing where it is in none."""
        number = -1 if self.part is None else int(self.part[i])
        return PARTS[number] if number >= 0 else ""

    def matching(self, part: str = "", label: str = "") -> list[int]:
        """Ids of the samples that can be read, in a part and with a label; nothing asks for all.

        Raises:
            OptionError: there is no such part, or no such class.
        """
        chosen: NDArray[np.bool_] = self.dataset.survey().digests != 0
        if part:
            if part not in PARTS or self.part is None:
                raise OptionError(
                    f"part (={part!r}) must be one of {', '.join(PARTS)}, of a split."
                )
            chosen = chosen & (self.part == PARTS.index(part))
        if label:
            chosen = chosen & self._labelled(label)
        return [int(i) for i in np.flatnonzero(chosen)]

    def _labelled(self, label: str) -> NDArray[np.bool_]:
        dataset = self.dataset
        if dataset.targets is None or dataset.of_numbers or label not in dataset.classes:
            near = did_you_mean(label, dataset.classes)
            raise OptionError(f"The data has no class {label!r}.{near}")
        number = dataset.classes.index(label)
        found: NDArray[np.bool_] = (
            dataset.targets == number
            if dataset.targets.ndim == 1
            else dataset.targets[:, number] > 0
        )
        return found


def open_data(source: str, progress: Progress | None = None) -> Opened:
    """Data by its path or name, every sample read once.

    Raises:
        DataError: it cannot be found or read.
        OptionError: it cannot be read without more being said.
    """
    from convarium import data

    dataset = data.open_dataset(source)
    _read(dataset, progress)
    if dataset.given is None:
        return Opened(dataset)
    readable = dataset.survey().digests != 0
    return Opened(dataset, part=np.where(readable, dataset.given, -1).astype(np.int8))


def begun_at(folder: Path) -> int:
    """When the training in a run's folder began, in nanoseconds.

    Raises:
        RunError: nothing says what it was trained on.
    """
    try:
        return (folder / "config.toml").stat().st_mtime_ns
    except OSError as error:
        raise RunError(
            f"{folder.name} does not say what it was trained on: it has no config.toml."
        ) from error


def changed_at(place: str) -> tuple[int, ...]:
    """When a file, or what lies in a folder and its folders, was changed; nothing elsewhere.

    Of folders that are parts, those of their classes count too. A file that is written over in its
    folder is not seen here: the page asks to read it again.
    """
    try:
        times = [os.stat(place).st_mtime_ns]
        if os.path.isdir(place):
            inside = _folders(place)
            parts = [each for each in inside if part_number(each.name) is not None]
            inside += [each for part in parts for each in _folders(part)]
            times += sorted(each.stat().st_mtime_ns for each in inside)
    except (OSError, ValueError):
        return ()
    return tuple(times)


def _folders(place: str | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    """The folders in a folder."""
    with os.scandir(place) as found:
        return [each for each in found if each.is_dir()]


def open_run_data(folder: Path, other: str | None, progress: Progress | None = None) -> Opened:
    """The data that a run was trained on, with its split, its steps and its settings.

    Args:
        folder: of the run, which may still be in training.
        other: where the data lies now, if what the run was trained on is not where it found it.
        progress: is advanced by one for each sample.

    Raises:
        RunError: the folder is no run, or is damaged.
        DataError: the data is gone, or cannot be read.
    """
    from convarium import train

    begun_at(folder)
    settings, steps = train.read_settings(folder), train.read_preprocessing(folder)
    stored = settings["data"]
    reading = {"task": stored.get("task"), "kind": steps.kind, **stored.get("columns", {})}
    dataset, place = _data_of(folder.name, stored, other, reading, progress)
    config = train.TrainConfig.from_mapping(settings["train"])
    part, remark = None, ""
    if dataset.fingerprint() == stored.get("fingerprint"):
        part = _parts(folder, len(dataset))
    else:
        remark = f"This is not the data that {folder.name} was trained on: its parts are unknown."
    return Opened(dataset, part, config, steps, remark, place)


def place_of_run(folder: Path, other: str | None) -> str:
    """Where the data of a run lies, or else the studio's own; "" where nothing says it.

    Args:
        folder: of the run.
        other: the studio's own data.
    """
    place = place_now(settings_of(folder).get("data") or card_of(folder).get("data", {}))
    return place if other is None or is_there(place) else other


def _data_of(
    name: str,
    stored: Mapping[str, Any],
    other: str | None,
    reading: Mapping[str, Any],
    progress: Progress | None,
) -> tuple[Dataset, str]:
    """What a run was trained on, and where it lies: at its place, or else the studio's own.

    Where neither is it, the first that can be read.
    """
    from convarium import data

    source = place_now(stored)
    hub = source.startswith("hf:") and source != other  # nobody asked for anything from elsewhere
    read: list[tuple[Dataset, str]] = []
    errors: list[ConvariumError] = []
    for place in dict.fromkeys((None if hub else source, other)):
        if place is None:
            continue
        try:
            dataset = data.open_dataset(place, **reading)
            _read(dataset, progress)
        except (DataError, OptionError) as error:
            errors.append(error)
            continue
        if dataset.fingerprint() == stored.get("fingerprint"):
            return dataset, place
        read.append((dataset, place))
    if read:
        return read[0]
    if other is not None:
        raise DataError(
            f"The data of {name} is not at {source}, and the studio's own is not it: {errors[-1]}"
        ) from errors[-1]
    if hub:
        raise DataError(
            f"The data of {name} is on the Hugging Face Hub; to look at it, start the studio with "
            f"--data {source}."
        )
    raise DataError(
        f"{str(errors[0]).rstrip('.')}. Where the data of {name} lies elsewhere now, start the "
        "studio with --data."
    ) from errors[0]


def _read(dataset: Dataset, progress: Progress | None) -> None:
    """Read every sample once, whatever cannot be read."""
    if progress is not None:
        progress.total += len(dataset)
    dataset.survey(progress, max_broken=1.0)


def _parts(folder: Path, n: int) -> NDArray[np.int8]:
    """The part of each sample as the run has split the data."""
    import pyarrow.parquet as pq

    part: NDArray[np.int8] = np.full(n, -1, np.int8)
    try:
        rows: Any = pq.read_table(folder / "splits.parquet", columns=["id", "part"])
    except (OSError, ValueError) as error:
        raise RunError(f"The split of {folder.name} cannot be read: {error}") from error
    ids = rows["id"].to_numpy()
    for number, word in enumerate(PARTS):
        part[ids[rows["part"].to_numpy(zero_copy_only=False) == word]] = number
    return part
