"""What to train on gridded fields where nobody says: network and recipe, from how many times."""

from __future__ import annotations

from typing import Any, cast

from convarium.data import Dataset
from convarium.data.grids.samples import GridSamples

_STEPS = 2400  # updates of a training, about


def field_choice(n: int) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Name and options of a network, and the options of a training, for n times.

    A small residual network with the additive constraint, which starts from the delta method's
    field. Few times get many epochs; validation, which comes later in time, chooses among them.

    >>> model, options, config = field_choice(132)
    >>> model, options["constraint"], config["batch_size"]
    ('edsr_small', 'additive', 8)
    """
    batch = min(32, max(4, 1 << max(0, (n // 12).bit_length() - 1)))
    steps = max(1, n // batch)
    config = {
        "epochs": min(150, max(5, _STEPS // steps)),
        "batch_size": batch,
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "weight_decay": 0.01,
        "warmup": 0.05,
        "flip": False,
        "ema": 0.99,
    }
    return "edsr_small", {"constraint": "additive"}, config


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
