"""What to train where nobody says: network, image size and options, from a few facts of the data.

The choice is a pure function of the samples' number, their size and whether a mirror image keeps
its class. It is printed, stored in the run, and every part of it can be overridden.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from convarium.data import Dataset
from convarium.data.given import TRAIN
from convarium.data.grids.signs import never_negative
from convarium.data.kinds import check_settings
from convarium.errors import OptionError
from convarium.train.config import TrainConfig
from convarium.train.field_choice import field_choice, fields_in_words, of_a_model
from convarium.train.from_config import FOR_IMAGES
from convarium.train.named import recipe_named
from convarium.train.series_choice import (
    SERIES_RATE,
    few_held,
    forecast_choice,
    series_choice,
    series_in_words,
)
from convarium.train.text_choice import text_choice, texts_in_words
from convarium.train.volume_choice import (
    largest_batch_of,
    volume_grid,
    volume_network,
    volumes_in_words,
)

if TYPE_CHECKING:
    from convarium.data.grids.samples import GridSamples

_SIDES = (32, 48, 64, 96)
# peak learning rate for batches of 128, and weight decay of a short and of a long training
_RATES = {"adamw": (4e-3, 0.02, 0.1), "sgd": (0.1, 1e-4, 1e-4), "muon": (4e-3, 0.02, 0.1)}
_TOLD = {
    "multilabel": "labels",
    "regression": "numbers",
    "forecast": "numbers",
    "downscale": "variables",
}
_SHARE = 0.15
_MOST_HELD = (2000, 5000)


@dataclass(frozen=True)
class Choice:
    """A network and a recipe for a data set.

    Args:
        model: a name for `convarium.create`.
        options: keywords for it, besides channels and classes.
        size: side in pixels that images are resized to; None leaves them as they are. Of volumes
            depth, height and width.
        validation: share of the samples that chooses between epochs.
        test: share of the samples that is kept for the end.
        config: how to train.
        reason: the facts that led here, in one sentence.
    """

    model: str
    options: Mapping[str, Any]
    size: int | tuple[int, ...] | None
    validation: float
    test: float
    config: TrainConfig
    reason: str


def recommend(
    dataset: Dataset,
    *,
    size: int | tuple[int, ...] | None = None,
    spacing: float | tuple[float, ...] | str | None = None,
    optimizer: str | None = None,
    batch_size: int | None = None,
    recipe: str | None = None,
    samples: int | None = None,
) -> Choice:
    """The network and recipe for a data set of images; for volumes see `volume_network`.

    For texts see `text_choice`, for series `series_choice`, for fields `field_choice`.

    | short side      | network                                                |
    |-----------------|--------------------------------------------------------|
    | up to 16 pixels | resnet8, 3x3 stem                                      |
    | up to 40 pixels | resnet10, 3x3 stem and a 2x2 pool                      |
    | up to 64 pixels | resnet18, 3x3 stem and a 2x2 pool                      |
    | above           | resnet18, 7x7 stem with stride 2 and a 3x3 pool        |

    Images of files are resized to the largest of 32, 48, 64 and 96 pixels that is not above their
    median short side; images of one common size up to 96 pixels stay as they are. Small data sets
    get smaller batches and more epochs. Ten epochs and more come with cropped images, smoothed
    labels and, for AdamW and Muon, a larger weight decay; a shorter training does not overfit.
    Validation and test take 15 % of the samples each, and no more than 2,000 and 5,000. What a
    named recipe says takes the place of what follows from the data, but few samples get smaller
    batches than it has.

    Args:
        dataset: labelled images or volumes.
        size: side in pixels, where it is given; of volumes one number or three.
        spacing: of volumes, as `data.fit_preprocessing` takes it.
        optimizer: the update rule, where it is given; else the recipe's, or AdamW.
        batch_size: samples a step, where it is given; rates stay as they are.
        samples: how many there are, where the data set is a part of them, as of a stream.
        recipe: a name of `RECIPES`, such as quick, baseline, strong, finetune or speedrun.

    Raises:
        OptionError: there is no such recipe, or a size or spacing that images do not have.
    """
    named = None if recipe is None else recipe_named(recipe)
    if named is not None and size is None:
        size = named.size
    if dataset.kind == "volumes":
        return _for_volumes(dataset, size, spacing, optimizer, batch_size, recipe)
    if dataset.kind in _OF_THEIR_OWN:
        check_settings(dataset.kind, {"size": size, "spacing": spacing})
        return _of_its_own(dataset, optimizer, batch_size, recipe)
    if spacing is not None:
        raise OptionError(f"spacing (={spacing}) belongs to volumes, and these are images.")
    if isinstance(size, tuple):
        raise OptionError(f"size (={size}) must be one side in pixels for images.")
    survey = dataset.survey()
    sides = np.minimum(survey.heights, survey.widths)
    median = int(np.median(sides[sides > 0]))
    if size is None and (dataset.image_size is None or median > _SIDES[-1]):
        size = max((side for side in _SIDES if side <= median), default=_SIDES[0])
    side = median if size is None else size
    model, options = _network(side)
    n = len(dataset) if samples is None else samples
    config = _config(n, side, dataset.mirrored, optimizer, batch_size, recipe)
    if dataset.task != "classification":  # it is for one class of several
        config = dataclasses.replace(config, label_smoothing=0.0)
    if named is not None and named.model is not None:
        model, options = named.model, {}
    word = _TOLD.get(dataset.task, "classes")
    reason = f"{n} samples of {len(dataset.classes)} {word}, short side {median} pixels"
    validation, test = (min(_SHARE, most / max(1, n)) for most in _MOST_HELD)
    return Choice(model, options, size, validation, test, config, reason)


def _for_volumes(
    dataset: Dataset,
    size: int | tuple[int, ...] | None,
    spacing: float | tuple[float, ...] | str | None,
    optimizer: str | None,
    batch_size: int | None,
    recipe: str | None,
) -> Choice:
    """The same for volumes; of a recipe's changes of images they take flips, crops and mixtures."""
    grid = volume_grid(dataset, size, spacing)
    model, options = volume_network(grid)
    named = None if recipe is None else recipe_named(recipe)
    if named is not None and named.model is not None:
        model, options = named.model, {}
    n = len(dataset)
    most = largest_batch_of(grid)
    config = _config(n, max(grid), dataset.mirrored, optimizer, batch_size, recipe, most)
    smoothing = config.label_smoothing if dataset.task == "classification" else 0.0
    off = {each.name: each.default for each in dataclasses.fields(config)}
    own: dict[str, Any] = {name: off[name] for name in FOR_IMAGES}
    config = dataclasses.replace(config, **own, label_smoothing=smoothing)
    word = _TOLD.get(dataset.task, "classes")
    reason = f"{n} volumes of {len(dataset.classes)} {word}, {volumes_in_words(dataset)}"
    validation, test = (min(_SHARE, held / max(1, n)) for held in _MOST_HELD)
    return Choice(model, {**options, "spatial_dims": 3}, grid, validation, test, config, reason)


def _of_its_own(
    dataset: Dataset, optimizer: str | None, batch_size: int | None, recipe: str | None
) -> Choice:
    """The same for texts and series, as their kind says; recipes are made for images."""
    if recipe is not None:
        raise OptionError(f"recipe (={recipe!r}) is for images and volumes; leave it out.")
    choice, words = _OF_THEIR_OWN[dataset.kind]
    model, options, own = choice(dataset)
    if optimizer not in (None, own["optimizer"]):
        rate, _, decay = _RATES[str(optimizer)]
        if dataset.kind == "series":  # as much smaller as that of the optimiser of the choice
            rate *= own["learning_rate"] / SERIES_RATE
        own |= {"optimizer": optimizer, "learning_rate": rate / 4, "weight_decay": decay}
    own |= {} if batch_size is None else {"batch_size": batch_size}
    word = _TOLD.get(dataset.task, "classes")
    n = len(dataset)
    reason = f"{n} {dataset.kind} of {len(dataset.classes)} {word}, {words(dataset)}"
    validation, test = (min(_SHARE, most / max(1, n)) for most in _MOST_HELD)
    if own.get("keep") == "last":  # so that validation chooses nothing
        validation = min(validation, few_held(dataset))
    return Choice(model, options, None, validation, test, TrainConfig(**own), reason)


def _for_texts(dataset: Dataset) -> tuple[str, dict[str, Any], dict[str, Any]]:
    return text_choice(len(dataset))


def _for_series(dataset: Dataset) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """By the series that may be learnt from, and their median length."""
    survey = dataset.survey()
    usable = survey.digests != 0
    if dataset.given is not None and (dataset.given == TRAIN).any():
        usable &= dataset.given <= TRAIN
    lengths = survey.widths[usable]
    if dataset.task == "forecast":
        return forecast_choice(len(lengths), int(lengths.max(initial=1)))
    return series_choice(len(lengths), int(np.median(lengths)) if len(lengths) else 1)


def _for_grids(dataset: Dataset) -> tuple[str, dict[str, Any], dict[str, Any]]:
    bounded = never_negative(cast("GridSamples", dataset.samples).pairs)
    return field_choice(len(dataset), paired=of_a_model(dataset), bounded=bounded)


# of kinds with a choice of their own: what is chosen, and how it is said
_OF_THEIR_OWN = {
    "texts": (_for_texts, texts_in_words),
    "series": (_for_series, series_in_words),
    "grids": (_for_grids, fields_in_words),
}


def _config(
    n: int,
    side: int,
    mirrored: bool,
    optimizer: str | None,
    given: int | None,
    recipe: str | None,
    most: int = sys.maxsize,
) -> TrainConfig:
    """How to train on n samples with a side in pixels, in given batches or at most so many.

    Where a recipe's batch is made smaller, its rate falls with the square root.
    """
    own = {} if recipe is None else recipe_named(recipe).config_options(side)
    if optimizer is not None and optimizer != own.get("optimizer", optimizer):
        # rate and decay belong to the rule that the recipe has
        own = {k: v for k, v in own.items() if k not in ("learning_rate", "weight_decay")}
    rule = optimizer or own.get("optimizer", "adamw")
    named = own.pop("batch_size", None)
    part = n // (20 if named is None else 10)  # so that an epoch has some steps
    batch_size = _power_of_two(part, min(16, most), min(named or 128, most))
    if given is None and named is not None and "learning_rate" in own:
        own["learning_rate"] *= (batch_size / named) ** 0.5
    epochs = min(30, max(5, 100_000 // max(1, n)))
    long = epochs >= 10
    rate, decay, long_decay = _RATES[rule]
    chosen = {
        "epochs": epochs,
        "batch_size": batch_size if given is None else given,
        "momentum": 0.95 if rule == "muon" else 0.9,
        "learning_rate": rate * (batch_size / 128) ** 0.5,
        "weight_decay": long_decay if long else decay,
        "label_smoothing": 0.1 if long else 0.0,
        "flip": mirrored,
        "pad_crop": max(1, side // 16) if long else 0,
    }
    both = {**chosen, **own, "optimizer": rule, "recipe": recipe}
    return TrainConfig(**{**both, "pad_crop": min(both["pad_crop"], side - 1)})


def _network(side: int) -> tuple[str, dict[str, Any]]:
    """Name and options."""
    if side <= 16:
        return "resnet8", {"stem": "cifar", "zero_gamma": True}
    if side <= 40:
        return "resnet10", {"stem": "pool", "zero_gamma": True}
    if side <= 64:
        return "resnet18", {"stem": "pool", "zero_gamma": True}
    return "resnet18", {"zero_gamma": True}


def _power_of_two(value: int, low: int, high: int) -> int:
    """The largest power of two up to `value`, within the limits."""
    return min(high, max(low, 1 << max(0, value.bit_length() - 1)))
