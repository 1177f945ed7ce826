"""A data set: samples and facts about them. Nothing is fitted here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.kinds import KINDS
from convarium.data.labels import OF_NUMBERS
from convarium.data.looks import alike_pairs
from convarium.data.names import shown
from convarium.data.samples import ArraySamples, Samples
from convarium.data.skipping import SkipList, Skipped
from convarium.data.surveying import Survey as Survey
from convarium.data.surveying import check_broken
from convarium.errors import DataError
from convarium.progress import Progress

if TYPE_CHECKING:
    from convarium.data.pictures import Pictures
    from convarium.data.series.forecasts import Forecasts
    from convarium.data.staging import Staging


class Dataset:
    """Samples, their labels, and facts.

    A data set can be pickled and works in spawned processes. A million files cost under 200 MB.

    Args:
        samples: where the pictures, volumes, texts or series come from.
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
        task: what the targets are: "classification", "multilabel", "regression" or "forecast".
        units: of the numbers of a regression or forecast, one each; empty where there is none.
        columns: of a table, by the keywords of `open_dataset`; what was not used is left out.
        times: where each sample begins and ends on one axis of time, int64 `(N, 2)`; then parts
            follow each other in time. None divides samples in no order.
        forecasts: of which channels, how far and with which season; None for other tasks.
        notes: what a user should know of how the data was read, a sentence each.

    Raises:
        DataError: targets, groups, given or times are not as many as the samples, or the targets'
            columns not as many as the names.
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
        columns: Mapping[str, Any] | None = None,
        times: NDArray[np.int64] | None = None,
        notes: Sequence[str] = (),
        forecasts: Forecasts | None = None,
    ) -> None:
        facts = {"targets": targets, "groups": groups, "given": given, "times": times}
        for word, values in facts.items():
            if values is not None and len(values) != len(samples):
                raise DataError(
                    f"{len(values)} {word} do not fit {len(samples)} samples; give one for each."
                )
        shape = () if task == "classification" or targets is None else targets.shape[1:]
        if shape and shape != (len(classes),):
            raise DataError(
                f"Targets of {shape[0]} columns do not fit {len(classes)} names; give one each."
            )
        self.samples = samples
        self.source = shown(source)
        self.classes = tuple(map(shown, classes))
        self.targets, self.groups, self.given, self.times = targets, groups, given, times
        self.notes, self.forecasts = tuple(map(shown, notes)), forecasts
        self.skipped = skipped if isinstance(skipped, SkipList) else SkipList(skipped)
        self.mirrored = mirrored
        self.task = task
        self.units = tuple(map(shown, units)) or ("",) * (task in OF_NUMBERS) * len(classes)
        self.columns: dict[str, Any] = dict(columns or {})
        self.corrections: Mapping[str, str] = {}  # labels by names, once some were corrected
        self.pictures: Pictures | None = None
        self._survey: Survey | None = None
        self._alike: NDArray[np.int64] | None = None
        self.staged: Staging | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        word = "numbers" if self.of_numbers else "classes"
        return f"Dataset({self.source!r}, {len(self)} samples, {len(self.classes)} {word})"

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the pictures kept in memory, which another process makes for itself."""
        return self.__dict__ | {"pictures": None, "staged": None}

    def name(self, i: int) -> str:
        """Name of sample `i`."""
        return self.samples.name(i)

    @property
    def of_numbers(self) -> bool:
        """Whether the targets are numbers, as those of a regression and of a forecast are."""
        return self.task in OF_NUMBERS

    @property
    def in_memory(self) -> bool:
        """Whether the samples are arrays, which nothing has to be read for."""
        return getattr(self.samples, "in_memory", False)

    @property
    def kind(self) -> str:
        """What the samples are, a name of `KINDS`: "images", "volumes", "texts" or "series"."""
        return getattr(self.samples, "kind", "images")

    def read(self, i: int) -> Any:
        """Pixels of sample `i`, uint8 `(H, W, C)`; or a `Volume`; or a text; or a `Series`.

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
        """3 where any sample has colour, else 1; those of volumes. Files are surveyed."""
        if isinstance(self.samples, ArraySamples):
            return int(self.samples.images.shape[1])
        return self.survey().channels

    def survey(
        self,
        progress: Progress | None = None,
        *,
        max_broken: float = 0.1,
        staging: Staging | None = None,
    ) -> Survey:
        """Read every sample once: duplicates, sizes, colour, and what cannot be read.

        The result is kept. What cannot be read is added to `skipped`.

        Args:
            progress: is advanced by one for each sample.
            max_broken: the largest allowed share of samples that cannot be read.
            staging: keeps the pictures for a cache that is made later.

        Raises:
            DataError: more than that share cannot be read, or nothing can.
        """
        if self._survey is None:
            samples, self.staged = self.samples, staging
            if staging is not None and self.kind == "images":
                samples = staging.watch(samples)
            survey, skipped = KINDS[self.kind].load("survey")(samples, progress)
            check_broken(skipped, len(self), max_broken, self.kind)
            self.skipped.extend(skipped)
            self._survey = survey
        return self._survey

    def alike(self) -> NDArray[np.int64]:
        """Pairs of pictures that look alike, equal ones too, int64 `(P, 2)`: `data.looks` says how.

        Of large sets only some pairs, which link the whole set. Of texts those that read alike, by
        `data.texts.alike`. Empty for small pictures, volumes and arrays of numbers.
        """
        if self._alike is None:
            hashes = self.survey().looks
            none = np.empty((0, 2), np.int64)
            self._alike = none if hashes is None else alike_pairs(hashes)
        return self._alike

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
        survey = self.survey()
        if survey.volumes is not None:
            state.update(survey.volumes.spacings.data)
        for values in (survey.digests, self.targets, self.groups, self.given):
            state.update(b"-" if values is None else np.ascontiguousarray(values).data)
        return state.hexdigest()


class Part:
    """Some samples of a data set: the training, validation or test part.

    Args:
        dataset: the root data set.
        ids: sample ids in it, int64 `(n,)`.
    """

    listed = True  # whether `ids` are all its samples; not so of a stream's

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

    @property
    def probe(self) -> Part:
        """Samples that stand for the part, each of which can be read at will: all of them."""
        return self

    def name(self, k: int) -> str:
        """Name of the part's sample `k`."""
        return self.dataset.name(int(self.ids[k]))
