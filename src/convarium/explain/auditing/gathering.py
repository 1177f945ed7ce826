"""What an audit works on: every sample's answer, and some samples with inputs, heat and masks.

data -> a prediction for each; of each label equally many are drawn -> inputs -> heatmaps
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convarium import seeds
from convarium.data import Batch, Dataset, Part, Preprocessing, Skipped, batches
from convarium.errors import DataError, OptionError
from convarium.explain.attribution import Attribution
from convarium.explain.auditing.masks import Masks, check_marked, read_masks
from convarium.explain.looking import device_of
from convarium.predict import Predictor
from convarium.progress import Progress

_AT_ONCE = 16  # samples explained together


@dataclass(frozen=True, eq=False)
class Answers:
    """What the network says of every sample that can be read.

    Attributes:
        classes: names.
        places: of the samples among those that were given.
        ids: of the samples in their data set.
        targets, predicted: class numbers.
        skipped: what cannot be read.
    """

    classes: tuple[str, ...]
    places: NDArray[np.int64]
    ids: NDArray[np.int64]
    targets: NDArray[np.int64]
    predicted: NDArray[np.int64]
    skipped: tuple[Skipped, ...] = ()

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each prediction is."""
        right: NDArray[np.bool_] = self.predicted == self.targets
        return right


@dataclass(frozen=True, eq=False)
class Drawn:
    """The samples that are looked at closely.

    Attributes:
        predictor: of the network.
        classes: names.
        ids: of the samples in their data set.
        names: of the samples.
        inputs: (n, C, *S).
        targets, predicted: (n,) class numbers.
        batch_size: of forward passes.
        heat: (n, *S) maps of the predicted class as displayed; empty until they are made.
        masks: one a sample; empty without regions.
    """

    predictor: Predictor
    classes: tuple[str, ...]
    ids: NDArray[np.int64]
    names: tuple[str, ...]
    inputs: Tensor
    targets: Tensor
    predicted: Tensor
    batch_size: int
    heat: Tensor = field(default_factory=lambda: torch.empty(0))
    masks: tuple[Tensor | None, ...] = ()

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def network(self) -> nn.Module:
        """What is audited."""
        return cast("nn.Module", self.predictor.forward)

    def says(self, inputs: Tensor) -> Tensor:
        """The class predicted for each input, (n,)."""
        return predictions(self.predictor, inputs, self.batch_size)

    def shown(self, inputs: Tensor) -> Tensor:
        """Inputs as pictures: mean and deviation put back, in [0, 1]; volumes from low to high."""
        return shown(inputs, self.predictor.preprocessing)


def answers(
    predictor: Predictor,
    data: Part | Dataset,
    batch_size: int,
    workers: int,
    progress: Progress | None,
) -> Answers:
    """Predict every sample once.

    Raises:
        OptionError: the run is for another task, or for one class only.
        DataError: nothing can be read, or there are no labels, or one label only.
    """
    if predictor.task.name != "classification":
        raise OptionError(
            f"audit compares predicted classes, and this run is for {predictor.task.name}; "
            "give a run of classification."
        )
    matched = predictor.matched(data)
    dataset = dataset_of(data)
    source = dataset.source
    if matched.targets is None:
        raise DataError(f"{source} has no labels; an audit needs the true class of each sample.")
    classes = predictor.preprocessing.classes
    labels = np.unique(matched.targets)
    if len(labels) == 1:
        raise DataError(
            f"All samples of {source} have the label {classes[int(labels[0])]!r}; an audit "
            "compares two and more."
        )
    skipped: list[Skipped] = []
    found: list[tuple[Batch, Tensor]] = []
    for batch in batches(
        matched,
        predictor.preprocessing,
        batch_size=batch_size,
        workers=workers,
        skipped=skipped,
    ):
        found.append((batch.labels(), predictor.outputs(batch).argmax(1)))
        if progress is not None:
            progress.advance(len(batch))
    if not found:
        raise DataError(f"No sample of {source} can be read, so there is nothing to audit.")
    ids = torch.cat([batch.index for batch, _ in found]).numpy()
    targets = torch.cat([b.target for b, _ in found if b.target is not None]).numpy()
    predicted = torch.cat([said for _, said in found]).numpy()
    left_out = tuple(dict.fromkeys([*dataset.skipped, *skipped]))
    return Answers(classes, _places(data, ids), ids, targets, predicted, left_out)


def drawn(
    predictor: Predictor,
    data: Part | Dataset,
    told: Answers,
    regions: Masks | None,
    most: int,
    seed: int,
    batch_size: int,
) -> Drawn:
    """Some samples with inputs and masks: the labels take turns, each in an order by the seed."""
    order = seeds.permutation(len(told.ids), seed, "audit")
    turn = np.zeros(len(order), np.int64)
    for label in np.unique(told.targets):
        mine = told.targets[order] == label
        turn[mine] = np.arange(mine.sum())
    rows = np.sort(order[np.argsort(turn, kind="stable")][:most])
    dataset, steps, ids = dataset_of(data), predictor.preprocessing, told.ids[rows]
    some = Part(dataset, ids)
    masks: list[Tensor | None] = []
    if regions is not None:
        masks = read_masks(regions, dataset, told.places[rows], ids, steps)
        check_marked(masks)
    inputs = [batch.inputs[0] for batch in batches(some, steps, batch_size=batch_size)]
    return Drawn(
        predictor=predictor,
        classes=told.classes,
        ids=ids,
        names=tuple(dataset.name(int(i)) for i in ids),
        inputs=torch.cat(inputs),
        targets=torch.from_numpy(told.targets[rows]),
        predicted=torch.from_numpy(told.predicted[rows]),
        batch_size=min(batch_size, steps.most_at_once),
        masks=tuple(masks),
    )


def heated(
    some: Drawn, method: Callable[..., Attribution], progress: Progress | None
) -> tuple[Drawn, dict[str, int], Attribution]:
    """The samples with their heatmaps, how many have each status, and the last result."""
    maps: list[Tensor] = []
    statuses: list[str] = []
    device = device_of(some.network)
    at_once = min(_AT_ONCE, some.batch_size)
    pairs = (torch.split(each, at_once) for each in (some.inputs, some.predicted))
    for inputs, target in zip(*pairs, strict=True):
        heat = method(some.network, inputs.to(device), target=target.tolist())
        maps.append(heat.display().cpu())
        statuses += heat.status
        if progress is not None:
            progress.advance(len(inputs))
    counts = {status: statuses.count(status) for status in dict.fromkeys(statuses)}
    return replace(some, heat=torch.cat(maps).float()), counts, heat


def predictions(predictor: Predictor, inputs: Tensor, batch_size: int) -> Tensor:
    """The class predicted for each input, (n,)."""
    said = []
    for part in torch.split(inputs, batch_size):
        index = torch.arange(len(part))
        batch = Batch(inputs=(part,), target=None, mask=None, index=index, weight=None)
        said.append(predictor.outputs(batch).argmax(1))
    return torch.cat(said) if said else torch.empty(0, dtype=torch.long)


def shown(inputs: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Inputs as pictures in [0, 1], whatever their rank; volumes from the lowest to the highest."""
    numbers = inputs.float()
    axes = [1] * (inputs.ndim - 2)
    mean, std = (torch.tensor(m).view(-1, *axes) for m in (preprocessing.mean, preprocessing.std))
    numbers = numbers * std + mean
    if preprocessing.kind != "images":
        low, high = numbers.aminmax()
        numbers = (numbers - low) / (high - low).clamp(min=1e-12)
    return numbers.clamp(0, 1)


def drawn_from(pool: Tensor, count: int, *keys: int | str) -> Tensor:
    """`count` numbers of the pool by chance, each as often as the others; of an empty pool none."""
    if not len(pool):
        return pool
    order = torch.from_numpy(seeds.permutation(len(pool), *keys))
    return pool[order[torch.arange(count) % len(pool)]]


def dataset_of(data: Part | Dataset) -> Dataset:
    """That the samples belong to."""
    return data.dataset if isinstance(data, Part) else data


def _places(data: Part | Dataset, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the samples that could be read stand among those that were given."""
    if not isinstance(data, Part):
        return ids
    order = np.argsort(data.ids, kind="stable")
    found: NDArray[np.int64] = order[np.searchsorted(data.ids[order], ids)]
    return found
