"""What to train on gridded fields where nobody says: network and recipe, from how many times."""

from __future__ import annotations

import dataclasses
from typing import Any, Final, cast

from convarium.data import Dataset, GridOptions
from convarium.data.grids.samples import GridSamples
from convarium.errors import OptionError

FITS_PLACES: Final = ("none", "additive")  # constraints under which what is left can be added
_STEPS = 450  # updates of a training, about


def field_choice(
    n: int, *, paired: bool = False, bounded: bool = False
) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Name and options of a network, and the options of a training, for n times.

    A small network with the additive constraint. It learns from blocks that begin anywhere, but
    those of a model's fields are where they are. What all cells share is learnt in few steps; what
    each place is like is fitted afterwards. What cannot be below 0, such as precipitation, has the
    multiplicative constraint.

    >>> model, options, config = field_choice(132)
    >>> model, options["constraint"], config["batch_size"], config["shift"]
    ('espcn', 'additive', 16, True)
    """
    batch = min(16, max(4, 1 << max(0, (n // 6).bit_length() - 1)))
    steps = max(1, n // batch)
    config = {
        "epochs": min(150, max(5, _STEPS // steps)),
        "batch_size": batch,
        "optimizer": "adamw",
        "learning_rate": 2e-3,
        "weight_decay": 0.01,
        "warmup": 0.05,
        "flip": False,
        "shift": not paired,
        "ema": 0.99,
    }
    options: dict[str, Any] = {"constraint": "additive"}
    if bounded:
        options = {"constraint": "multiplicative", "non_negative": True}
    return "espcn", options | {"channels": [64, 64], "kernel_sizes": [5, 3, 3]}, config


def of_a_model(dataset: Dataset) -> bool:
    """Whether the coarse fields are a model's, and not means of the fine ones."""
    return cast("GridSamples", dataset.samples).pairs.coarse is not None


def usual_grids(dataset: Dataset) -> dict[str, Any]:
    """What a network of fields reads where nobody says, as `data.GridOptions` has it."""
    return {} if of_a_model(dataset) else {"start": "coarse", "means": True}


def without_bias(dataset: Dataset, start: str | None) -> dict[str, Any]:
    """No constraint where a model's bias stays in its fields, as without the delta method.

    Args:
        dataset: of any kind.
        start: what a network of fields adds to; None is the delta method's field.
    """
    if dataset.kind != "grids" or start in (None, "delta") or not of_a_model(dataset):
        return {}
    return {"constraint": "none"}


def places_for(constraint: str | None, grids: GridOptions | None) -> GridOptions | None:
    """The options without maps of places, where nothing could fit these.

    Args:
        constraint: of the network; None is that of its family, "additive" or "none".
        grids: what is said and what is usual; None is the usual.

    Raises:
        OptionError: maps of places are asked for where nothing fits them.

    >>> places_for("softmax", GridOptions(means=True)).places
    0
    """
    said = GridOptions() if grids is None else grids
    if said.places and said.outputs != "value":
        raise OptionError(
            f"--places {said.places} has no effect with --outputs {said.outputs}: maps of places "
            "are fitted to values; leave one of them out."
        )
    if constraint in (None, *FITS_PLACES):
        return grids
    if said.places:
        raise OptionError(
            f"--places {said.places} has no effect with --constraint {constraint}: maps of places "
            "add to a field; use additive or none, or leave --places out."
        )
    return dataclasses.replace(said, places=0)


def fields_in_words(dataset: Dataset) -> str:
    """From which cells to which, for the line that says what is trained on."""
    pairs = cast("GridSamples", dataset.samples).pairs
    fine = pairs.fine.grid.shape
    coarse = tuple(n // r for n, r in zip(fine, pairs.factor, strict=True))
    source = pairs.fine if pairs.coarse is None else pairs.coarse
    made = (
        "a model's" if pairs.coarse is not None else "means by area" if pairs.weighted else "means"
    )
    around = ", all the way around" if pairs.wrap else ""
    return (
        f"{coarse[0]} x {coarse[1]} cells of {', '.join(source.names)} ({made}) to "
        f"{fine[0]} x {fine[1]}{around}"
    )
