"""A data set: samples and facts about them. Nothing is fitted here."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.names import shown
from convarium.data.parallel import ordered, processors
from convarium.data.samples import ArraySamples, Samples
from convarium.data.skipping import SkipList, Skipped
from convarium.errors import DataError, did_you_mean
from convarium.progress import Progress

if TYPE_CHECKING:
    from convarium.data.pictures import Pictures

_BLOCK = 64


@dataclass(frozen=True, eq=False)
class Survey:
    """What one reading of every sample showed.

    Args:
        digests: uint64 `(N,)`, equal for equal pixels; 0 where a sample cannot be read.
        heights: int32 `(N,)`, in pixels; 0 where a sample cannot be read.
        widths: int32 `(N,)`, likewise.
        broken: ids of the samples that cannot be read, int64.
        channels: 3 where any sample has colour, else 1.
    """

    digests: NDArray[np.uint64]
    heights: NDArray[np.int32]
    widths: NDArray[np.int32]
    broken: NDArray[np.int64]
    channels: int

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) where all readable samples have the same one, else None."""
        sizes = (self.heights[self.digests != 0], self.widths[self.digests != 0])
        if not len(sizes[0]) or any((side != side[0]).any() for side in sizes):
            return None
        return int(sizes[0][0]), int(sizes[1][0])


class Dataset:
    """Samples, their labels, and facts.

    A data set can be pickled and works in spawned processes. A million files cost under 200 MB.

    Args:
        samples: where the pictures come from.
        source: what the user named, for the card.
        classes: class names, in the order of the class numbers.
        targets: class numbers, int64 `(N,)`, or None where no labels are known.
        groups: samples with equal numbers belong together and are never split apart, int64 `(N,)`.
        given: the part each sample was given to, int8 `(N,)`: 0 train, 1 validation, 2 test.
        skipped: what was left out when the samples were listed; a `SkipList` is taken as it is,
            and grows when a survey finds more.
        mirrored: whether a mirror image keeps its class, so that training may flip; not so for
            digits and letters.

    Raises:
        DataError: targets, groups or given are not as many as the samples.
    """

    task = "classification"

    def __init__(
        self,
        samples: Samples,
        *,
        source: str,
        classes: Sequence[str] = (),
        targets: NDArray[np.int64] | None = None,
        groups: NDArray[np.int64] | None = None,
        given: NDArray[np.int8] | None = None,
        skipped: Sequence[Skipped] = (),
        mirrored: bool = True,
    ) -> None:
        for word, values in (("targets", targets), ("groups", groups), ("given", given)):
            if values is not None and len(values) != len(samples):
                raise DataError(
                    f"{len(values)} {word} do not fit {len(samples)} samples; give one for each."
                )
        self.samples = samples
        self.source = shown(source)
        self.classes = tuple(map(shown, classes))
        self.targets, self.groups, self.given = targets, groups, given
        self.skipped = skipped if isinstance(skipped, SkipList) else SkipList(skipped)
        self.mirrored = mirrored
        self.pictures: Pictures | None = None
        self._survey: Survey | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return f"Dataset({self.source!r}, {len(self)} samples, {len(self.classes)} classes)"

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
            survey, skipped = _survey(self.samples, progress)
            _check_broken(skipped, len(self), max_broken)
            self.skipped.extend(skipped)
            self._survey = survey
        return self._survey

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
    def targets(self) -> NDArray[np.int64] | None:
        """Class numbers of the part's samples, in its order."""
        return None if self.dataset.targets is None else self.dataset.targets[self.ids]

    def name(self, k: int) -> str:
        """Name of the part's sample `k`."""
        return self.dataset.name(int(self.ids[k]))


def match_classes(dataset: Dataset, classes: Sequence[str]) -> Dataset:
    """The same samples with class numbers in the order of `classes`, matched by name.

    Args:
        dataset: labelled data, whatever its own order of classes.
        classes: the class names of a card. Those that the data lacks are fine.

    Raises:
        DataError: the data has classes that `classes` lacks; all are named.
    """
    known = set(classes)
    unknown = [name for name in dataset.classes if name not in known]
    if unknown:
        shown = ", ".join(map(repr, unknown[:10])) + (", ..." if len(unknown) > 10 else "")
        hint = did_you_mean(unknown[0], classes)
        raise DataError(
            f"The data in {dataset.source} has {len(unknown)} classes that the model was not "
            f"trained on: {shown}; rename or remove them.{hint}"
        )
    place = {name: number for number, name in enumerate(classes)}
    table = np.array([place[name] for name in dataset.classes], dtype=np.int64)
    matched = Dataset(
        dataset.samples,
        source=dataset.source,
        classes=classes,
        targets=None if dataset.targets is None else table[dataset.targets],
        groups=dataset.groups,
        given=dataset.given,
        skipped=dataset.skipped.copy(),
        mirrored=dataset.mirrored,
    )
    matched._survey = dataset._survey
    return matched


def _survey(samples: Samples, progress: Progress | None) -> tuple[Survey, list[Skipped]]:
    n = len(samples)
    digests, depths = np.zeros(n, np.uint64), np.ones(n, np.uint8)
    heights, widths = np.zeros(n, np.int32), np.zeros(n, np.int32)
    broken: list[int] = []
    skipped: list[Skipped] = []

    def block(start: int) -> list[tuple[int, str]]:
        failed = []
        for i in range(start, min(start + _BLOCK, n)):
            try:
                digests[i], heights[i], widths[i], depths[i] = samples.facts(i)
            except DataError as error:
                failed.append((i, str(error)))
        return failed

    workers = 0 if isinstance(samples, ArraySamples) else processors()
    starts = range(0, n, _BLOCK)
    for start, failed in zip(starts, ordered(block, starts, workers), strict=True):
        for i, reason in failed:
            broken.append(i)
            skipped.append(Skipped(samples.name(i), reason))
        if progress is not None:
            progress.advance(min(_BLOCK, n - start))
    channels = int(depths.max(initial=1))
    return Survey(digests, heights, widths, np.array(broken, np.int64), channels), skipped


def _check_broken(skipped: Sequence[Skipped], n: int, max_broken: float) -> None:
    if not skipped or (len(skipped) <= max_broken * n and len(skipped) < n):
        return
    reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped[:3])
    raise DataError(
        f"{len(skipped)} of {n} images cannot be read, more than the allowed share of "
        f"{max_broken:.0%} ({reasons}); repair or remove them."
    )
