"""A data set: samples and facts about them. Nothing is fitted here."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.names import shown
from convarium.data.samples import ArraySamples, Samples
from convarium.data.skipping import SkipList, Skipped
from convarium.data.surveying import Survey as Survey
from convarium.data.surveying import check_broken, survey_samples
from convarium.errors import DataError, did_you_mean
from convarium.progress import Progress

if TYPE_CHECKING:
    from convarium.data.pictures import Pictures


class Dataset:
    """Samples, their labels, and facts.

    A data set can be pickled and works in spawned processes. A million files cost under 200 MB.

    Args:
        samples: where the pictures come from.
        source: what the user named, for the card.
        classes: class names, in the order of the class numbers; for other tasks the names of the
            labels or of the numbers, in the order of the targets' columns.
        targets: class numbers, int64 `(N,)`; for several labels a sample 0 or 1, and for numbers
            the numbers, float32 `(N, K)`; None where no labels are known.
        groups: samples with equal numbers belong together and are never split apart, int64 `(N,)`.
        given: the part each sample was given to, int8 `(N,)`: 0 train, 1 validation, 2 test.
        skipped: what was left out when the samples were listed; a `SkipList` is taken as it is,
            and grows when a survey finds more.
        mirrored: whether a mirror image keeps its class, so that training may flip; not so for
            digits and letters.
        task: what the targets are: "classification", "multilabel" or "regression".
        units: of the numbers of a regression, one each; empty texts where there is none.

    Raises:
        DataError: targets, groups or given are not as many as the samples, or the targets' columns
            not as many as the names.
    """

    def __init__(
        self,
        samples: Samples,
        *,
        source: str,
        classes: Sequence[str] = (),
        targets: NDArray[Any] | None = None,
        groups: NDArray[np.int64] | None = None,
        given: NDArray[np.int8] | None = None,
        skipped: Sequence[Skipped] = (),
        mirrored: bool = True,
        task: str = "classification",
        units: Sequence[str] = (),
    ) -> None:
        for word, values in (("targets", targets), ("groups", groups), ("given", given)):
            if values is not None and len(values) != len(samples):
                raise DataError(
                    f"{len(values)} {word} do not fit {len(samples)} samples; give one for each."
                )
        columns = () if task == "classification" or targets is None else targets.shape[1:]
        if columns and columns != (len(classes),):
            raise DataError(
                f"Targets of {columns[0]} columns do not fit {len(classes)} names; give one each."
            )
        self.samples = samples
        self.source = shown(source)
        self.classes = tuple(map(shown, classes))
        self.targets, self.groups, self.given = targets, groups, given
        self.skipped = skipped if isinstance(skipped, SkipList) else SkipList(skipped)
        self.mirrored = mirrored
        self.task = task
        self.units = tuple(map(shown, units)) or ("",) * (task == "regression") * len(classes)
        self.pictures: Pictures | None = None
        self._survey: Survey | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        word = "numbers" if self.task == "regression" else "classes"
        return f"Dataset({self.source!r}, {len(self)} samples, {len(self.classes)} {word})"

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the pictures kept in memory, which another process makes for itself."""
        return self.__dict__ | {"pictures": None}

    def name(self, i: int) -> str:
        """Name of sample `i`."""
        return self.samples.name(i)

    def read(self, i: int) -> NDArray[np.uint8]:
        """Pixels of sample `i`, uint8 `(H, W, C)`.

        Raises:
            DataError: it cannot be read; the text names it and gives the reason.
        """
        try:
            return self.samples.read(i)
        except DataError as error:
            raise DataError(f"Cannot read {self.name(i)}: {error}.") from error

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) where all samples have the same one, else None; files are surveyed."""
        if isinstance(self.samples, ArraySamples):
            _, _, height, width = self.samples.images.shape
            return height, width
        return self.survey().image_size

    @property
    def channels(self) -> int:
        """3 where any sample has colour, else 1; files are surveyed."""
        if isinstance(self.samples, ArraySamples):
            return int(self.samples.images.shape[1])
        return self.survey().channels

    def survey(self, progress: Progress | None = None, *, max_broken: float = 0.1) -> Survey:
        """Read every sample once: duplicates, sizes, colour, and what cannot be read.

        The result is kept. What cannot be read is added to `skipped`.

        Args:
            progress: is advanced by one for each sample.
            max_broken: the largest allowed share of samples that cannot be read.

        Raises:
            DataError: more than that share cannot be read, or nothing can.
        """
        if self._survey is None:
            survey, skipped = survey_samples(self.samples, progress)
            check_broken(skipped, len(self), max_broken)
            self.skipped.extend(skipped)
            self._survey = survey
        return self._survey

    def take_survey(self, survey: Survey, skipped: Sequence[Skipped]) -> None:
        """Take what another process found when it read every sample of the same data."""
        if self._survey is None:
            self.skipped.extend(skipped[len(self.skipped) :])
            self._survey = survey

    def fingerprint(self) -> str:
        """BLAKE2b, 32 hexadecimal digits, over pixels, labels, groups, given parts and classes.

        It is the same wherever the data lies; the order of the samples counts, their names do not.
        """
        state = hashlib.blake2b(digest_size=16)
        state.update("\x1f".join(self.classes).encode("utf-8", "surrogatepass"))
        for values in (self.survey().digests, self.targets, self.groups, self.given):
            state.update(b"-" if values is None else np.ascontiguousarray(values).data)
        return state.hexdigest()


class Part:
    """Some samples of a data set: the training, validation or test part.

    Args:
        dataset: the root data set.
        ids: sample ids in it, int64 `(n,)`.
    """

    def __init__(self, dataset: Dataset, ids: NDArray[np.int64]) -> None:
        self.dataset = dataset
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Part({len(self)} of {self.dataset!r})"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the root data set."""
        return self.dataset.classes

    @property
    def targets(self) -> NDArray[Any] | None:
        """Targets of the part's samples, in its order."""
        return None if self.dataset.targets is None else self.dataset.targets[self.ids]

    def name(self, k: int) -> str:
        """Name of the part's sample `k`."""
        return self.dataset.name(int(self.ids[k]))


def match_classes(
    dataset: Dataset, classes: Sequence[str], *, task: str | None = None, units: Sequence[str] = ()
) -> Dataset:
    """The same samples with targets in the order of `classes`, matched by name.

    Args:
        dataset: labelled data, whatever its own order of classes.
        classes: the names of a card. Classes and labels that the data lacks are fine.
        task: the card's task; None means that of the data.
        units: the card's units of numbers.

    Raises:
        DataError: the data is for another task, has classes that `classes` lacks (all are named),
            lacks a number, or has one in another unit.
    """
    if task is not None and dataset.task != task:
        raise DataError(
            f"The labels of {dataset.source} are read for {dataset.task} and the model is for "
            f"{task}; give a table and open it for that task."
        )
    known = set(classes)
    unknown = [name for name in dataset.classes if name not in known]
    if unknown:
        shown = ", ".join(map(repr, unknown[:10])) + (", ..." if len(unknown) > 10 else "")
        hint = did_you_mean(unknown[0], classes)
        word = {"multilabel": "labels", "regression": "numbers"}.get(dataset.task, "classes")
        raise DataError(
            f"The data in {dataset.source} has {len(unknown)} {word} that the model was not "
            f"trained on: {shown}; rename or remove them.{hint}"
        )
    if dataset.task == "regression":
        _check_numbers(dataset, classes, units)
    matched = Dataset(
        dataset.samples,
        source=dataset.source,
        classes=classes,
        targets=None if dataset.targets is None else _placed(dataset, classes, dataset.targets),
        groups=dataset.groups,
        given=dataset.given,
        skipped=dataset.skipped.copy(),
        mirrored=dataset.mirrored,
        task=dataset.task,
        units=units or dataset.units,
    )
    matched._survey = dataset._survey
    return matched


def _placed(dataset: Dataset, classes: Sequence[str], targets: NDArray[Any]) -> NDArray[Any]:
    """Class numbers translated, or columns moved to their places; what is lacking is 0."""
    place = {name: number for number, name in enumerate(classes)}
    table = np.array([place[name] for name in dataset.classes], dtype=np.int64)
    if dataset.task == "classification":
        numbers: NDArray[Any] = table[targets]
        return numbers
    columns = np.zeros((len(targets), len(classes)), targets.dtype)
    columns[:, table] = targets
    return columns


def _check_numbers(dataset: Dataset, classes: Sequence[str], units: Sequence[str]) -> None:
    missing = [name for name in classes if name not in dataset.classes]
    if missing:
        raise DataError(
            f"{dataset.source} lacks numbers that the model gives: {', '.join(map(repr, missing))};"
            " name their columns, or add them."
        )
    own = dict(zip(dataset.classes, dataset.units, strict=True))
    for name, unit in zip(classes, units, strict=False):
        if own[name] != unit:
            raise DataError(
                f"{name!r} is in {own[name] or 'no unit'} in {dataset.source} and in "
                f"{unit or 'no unit'} in the card; convert it, or correct the column's name."
            )
