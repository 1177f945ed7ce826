"""Training samples to calibrate on, labelled ones to measure on: for verbs that need both."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from convarium.errors import DataError, OptionError

if TYPE_CHECKING:
    from torch import Tensor

    from convarium.data import Batch, Part, Preprocessing
    from convarium.predict import Run

CALIBRATION = 300
_BATCH = 64


@dataclass(frozen=True)
class Labelled:
    """Batches of inputs and class numbers of a part, as often as they are gone through."""

    part: Part
    preprocessing: Preprocessing

    def smaller(self) -> tuple[Smaller, Smaller]:
        """The samples that come smaller at a reduced scale: read whole, and read so."""
        return Smaller(self, reduced=False), Smaller(self, reduced=True)

    @functools.cached_property
    def large(self) -> Part:
        """Those of the part that come smaller at a reduced scale, by their headers."""
        from convarium import data
        from convarium.data.reducing import comes_smaller
        from convarium.data.samples import EncodedSamples

        samples = self.part.dataset.samples

        def is_large(i: int) -> bool:
            with contextlib.suppress(DataError):  # it cannot be read in any way
                if isinstance(samples, EncodedSamples):
                    return comes_smaller(samples.encoded(i), self.preprocessing)
            return False

        large = [is_large(i) for i in self.part.ids.tolist()]
        return data.Part(self.part.dataset, self.part.ids[large])

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        from convarium import data
        from convarium.tasks.objective import batch_target

        for batch in data.batches(self.part, self.preprocessing, batch_size=_BATCH, skipped=[]):
            yield _alone(batch), batch_target(batch)


@dataclass(frozen=True)
class Smaller:
    """Batches of the samples that come smaller at a reduced scale.

    Args:
        samples: all of a part.
        reduced: whether they are read so.
    """

    samples: Labelled
    reduced: bool

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        from convarium import data

        part, steps = self.samples.large, self.samples.preprocessing
        dataset = data.reduced(part.dataset, steps) if self.reduced else part.dataset
        return iter(Labelled(data.Part(dataset, part.ids), steps))


def samples_of(run: Run, source: str | None) -> tuple[Tensor, Labelled]:
    """Up to 300 training samples, and the validation samples, of the data of a run.

    Args:
        run: a classification.
        source: its data; None takes the place that the card names.

    Raises:
        OptionError: the run's task has no accuracy, or the data is not where it was.
        RunError: it is other data.
    """
    import torch

    from convarium import data, seeds

    if run.card["task"] != "classification":
        raise OptionError(
            f"{run.folder} is a run of the task {run.card['task']!r}, and what 8-bit numbers cost "
            "is told by accuracy; leave them out."
        )
    dataset = run.dataset(source)
    train = run.part(dataset, "train")
    order = seeds.permutation(len(train), 0, "calibration")[:CALIBRATION]
    chosen = data.Part(dataset, train.ids[sorted(order.tolist())])
    matched = run.predictor.matched(run.part(dataset, "validation"))
    labelled = Labelled(matched, run.preprocessing)  # type: ignore[arg-type]
    batches = data.batches(chosen, run.preprocessing, batch_size=_BATCH)
    return torch.cat([_alone(batch) for batch in batches]), labelled


def files_of(run: Run, source: str | None) -> list[bytes]:
    """The bytes of up to 64 picture files of the validation part.

    Args:
        run: of images.
        source: its data; None takes the place that the card names.

    Raises:
        OptionError: its samples are no files of pictures, or the data is not where it was.
        RunError: it is other data.
    """
    from convarium.data.samples import EncodedSamples

    dataset = run.dataset(source)
    samples = dataset.samples
    if dataset.kind != "images" or not isinstance(samples, EncodedSamples):
        raise OptionError(
            f"The samples of {run.folder} are no files of pictures; tune it for throughput."
        )
    found = (samples.encoded(i) for i in run.part(dataset, "validation").ids[:_BATCH].tolist())
    return [each if isinstance(each, bytes) else Path(each).read_bytes() for each in found]


def _alone(batch: Batch) -> Tensor:
    """The only input of a batch, where all samples are equally long."""
    if batch.mask is not None:
        raise OptionError("Samples of unequal lengths have a mask, which files do not take.")
    return batch.inputs[0]
