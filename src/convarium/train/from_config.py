"""From the options of a training run to what other rooms take: augmentation, objective, device."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convarium.data import (
    Augmentation,
    FieldAugmentation,
    Part,
    Preprocessing,
    SeriesAugmentation,
    TextAugmentation,
    VolumeAugmentation,
)
from convarium.data.batching import Changes
from convarium.errors import ConvariumError, DataError, OptionError
from convarium.tasks import Objective, Task, balanced_labels, balanced_weights
from convarium.train.config import TrainConfig

FOR_IMAGES = (
    *("alternate_flip", "resized_crop", "jitter", "grey", "rotation", "policy", "erasing"),
    *("start_size", "cache"),
)
FOR_VOLUMES = ("flip_axes",)
FOR_TEXTS = ("word_dropout", "vectors")
FOR_SERIES = ("scaling", "crop", "time_mask", "channel_mask")
FOR_GRIDS = ("shift",)
_FOR_BOTH = ("pad_crop", "mixup", "cutmix")  # images and volumes
_FOREIGN = {
    "images": FOR_VOLUMES + FOR_TEXTS + FOR_SERIES + FOR_GRIDS,
    "volumes": FOR_IMAGES + FOR_TEXTS + FOR_SERIES + FOR_GRIDS,
    "texts": FOR_IMAGES + FOR_VOLUMES + FOR_SERIES + FOR_GRIDS + _FOR_BOTH,
    "series": tuple({*FOR_IMAGES} - {"jitter"}) + FOR_VOLUMES + FOR_TEXTS + FOR_GRIDS + _FOR_BOTH,
    "grids": FOR_IMAGES + FOR_VOLUMES + FOR_TEXTS + FOR_SERIES + _FOR_BOTH,
}
_OWNERS = {
    **dict.fromkeys(FOR_VOLUMES, "volumes"),
    **dict.fromkeys(FOR_TEXTS, "texts"),
    **dict.fromkeys(FOR_SERIES, "series"),
    **dict.fromkeys(FOR_GRIDS, "grids"),
}
_FLIPPED = {
    "width": ("width",),
    "plane": ("height", "width"),
    "all": ("depth", "height", "width"),
}


def augmentation_of(
    config: TrainConfig,
    kind: str = "images",
    grid: Sequence[int] = (1, 1, 1),
    longest: int = 1,
    marks: int = 0,
) -> Changes:
    """What happens to training samples: images, volumes, texts, series or grids.

    `pad_crop` of volumes is that of the longest axis of the grid; along an axis of s voxels, where
    the longest has m, it is floor(pad_crop s / m), so that flat volumes stay where they are.

    Args:
        config: how to train.
        kind: of the samples.
        grid: depth, height and width of a network's input, of volumes.
        longest: tokens of a text, or time steps of a series, at most.
        marks: channels of series that mark missing values.

    Raises:
        OptionError: an option that another kind has.
    """
    refuse_foreign(config, kind)
    if kind == "images":
        return Augmentation(**_shared(Augmentation, config))
    if kind == "grids":  # a mirrored field is of another climate
        return FieldAugmentation(shift=config.shift)
    if kind == "texts":
        return TextAugmentation(word_dropout=config.word_dropout, longest=longest)
    if kind == "series":
        own = _shared(SeriesAugmentation, config)
        return SeriesAugmentation(**own, longest=longest, marks=marks)
    pads = [config.pad_crop * side // max(grid) for side in grid]
    return VolumeAugmentation(
        flip_axes=_FLIPPED[config.flip_axes] if config.flip else (),
        pad_crop=(pads[0], pads[1], pads[2]),
        mixup=config.mixup,
        cutmix=config.cutmix,
    )


def refuse_foreign(config: TrainConfig, kind: str) -> None:
    """Refuse options that another kind of samples has.

    Raises:
        OptionError: so.
    """
    table = {each.name: each.default for each in dataclasses.fields(config)}
    for name in _FOREIGN[kind]:
        value = getattr(config, name)
        if value != table[name]:
            other = _OWNERS.get(name, "images")
            raise OptionError(
                f"{name} (={value!r}) is for {other}, and the data holds {kind}; leave it out."
            )


def changes_of(config: TrainConfig, preprocessing: Preprocessing) -> Changes:
    """`augmentation_of` for the samples that a preprocessing prepares.

    Raises:
        OptionError: an option that another kind has.
    """
    shape = preprocessing.input_shape
    lengths = {"longest": shape[-1], "marks": getattr(preprocessing, "marks", 0)}
    return augmentation_of(config, preprocessing.kind, shape[1:], **lengths)


def objective_of(config: TrainConfig, task: Task, part: Part) -> Objective:
    """What is minimised; with `balance="weights"`, each class has the same part in it.

    Of several labels a sample, the yes and the no of each label have the same part.

    Raises:
        OptionError: an option that does not belong to the task.
        DataError: classes are to be balanced, and one has no training sample, or all have a label.
    """
    objective = Objective(**_shared(Objective, config))
    if config.balance == "weights" and task.name == "multilabel":
        weights, pos_weight = _label_weights(task, part)
        objective = dataclasses.replace(objective, class_weights=weights, pos_weight=pos_weight)
    elif config.balance != "none":
        counts = _class_counts(config, task, part)
        if config.balance == "weights":
            objective = dataclasses.replace(objective, class_weights=balanced_weights(counts))
    objective.check(task)
    return objective


def device_named(name: str) -> torch.device:
    """The device of an option: the processor, a GPU, or a GPU where there is one.

    A GPU has its number, since each of a process's threads has a GPU of its own to go to otherwise.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cuda":
        return torch.device(name)
    if not torch.cuda.is_available():
        raise ConvariumError("device (='cuda') is not available; use device='cpu'.")
    return torch.device("cuda", torch.cuda.current_device())


def _label_weights(task: Task, part: Part) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Class weights and `pos_weight` from the labels of all training samples."""
    targets: NDArray[Any] = np.asarray(part.targets)
    counts: list[int] = (targets > 0.5).sum(0).tolist()
    n, names = len(targets), getattr(task, "classes", ())
    odd = [
        f"{name!r} has {count} of {n}"
        for name, count in zip(names, counts, strict=True)
        if not 0 < count < n
    ]
    if odd:
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        raise DataError(
            "balance (='weights') needs a training sample with and one without each label, and "
            f"{', '.join(odd[:3])}{more}; add samples, or use balance='none'."
        )
    return balanced_labels(counts, n)


def _class_counts(config: TrainConfig, task: Task, part: Part) -> list[int]:
    """Training samples of each class, none of which may be missing."""
    if not task.has_classes or part.targets is None or part.targets.ndim != 1:
        remedy = "use 'weights'" if task.name == "multilabel" else "leave it out"
        raise OptionError(
            f"balance (={config.balance!r}) needs samples of exactly one class each, which "
            f"{task.name} does not have; {remedy}."
        )
    counts: list[int] = np.bincount(part.targets, minlength=task.head_size).tolist()
    if min(counts) < 1:
        raise DataError(
            f"balance (={config.balance!r}) needs a training sample of each class; add some, or "
            "leave it out."
        )
    return counts


def _shared(table: type, config: TrainConfig) -> dict[str, Any]:
    """The options that a frozen table of another room takes, by name."""
    taken = {each.name for each in dataclasses.fields(table) if each.init}
    return {
        each.name: getattr(config, each.name)
        for each in dataclasses.fields(config)
        if each.name in taken
    }
