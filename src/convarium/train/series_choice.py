"""What to train on series where nobody says: network and recipe, from how many and how long."""

from __future__ import annotations

from typing import Any

import numpy as np

from convarium.data import Dataset
from convarium.data.given import TRAIN
from convarium.measure import layers_for_receptive_field
from convarium.train.config import TrainConfig

_FEW = 500  # series, of which each counts
SERIES_RATE = 2e-3  # of AdamW, where the epochs are as many as usual
_STEPS = 2500  # updates of a training, about
_LONG = 2_000_000  # time steps of an epoch from which on fewer epochs are trained


def series_choice(n: int, length: int) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Name and options of a network, and the options of a training, for n series.

    Few series get the FCN, which published figures have level with InceptionTime there, at a third
    of its cost; more of them InceptionTime, which sees short and long shapes at once. The averaged
    weights of the end are kept: of few series, too few are left for validation to choose an epoch
    well. Neither noise, which drowns the steps of smooth series, nor stretched windows, since the
    place in time may tell the class. Few series get small batches and many epochs, twice as many
    in smaller steps where that ends in time, which leaves fewer of the others wrong; long ones
    fewer epochs, so that a training ends in minutes.

    Args:
        n: training series, about.
        length: time steps of one.

    >>> model, options, config = series_choice(50, 150)
    >>> model, config["batch_size"], config["epochs"], config["keep"]
    ('fcn', 4, 384, 'last')
    """
    batch = min(64, max(4, 1 << max(0, (n // 8).bit_length() - 1)))
    steps = -(-n // batch)
    most = max(20, _LONG * 20 // max(1, n * length))
    few = n < _FEW
    epochs = min(250, max(20, _STEPS // steps))
    patient = few and 2 * epochs <= most
    config = {
        "epochs": 2 * epochs if patient else min(epochs, most),
        "batch_size": batch,
        "optimizer": "adamw",
        "learning_rate": 5e-4 if patient else SERIES_RATE,
        "weight_decay": 0.02,
        "warmup": 0.1,
        "flip": False,
        "scaling": 0.1,
        "ema": 0.99,
        "keep": "last",
    }
    return ("fcn" if few else "inception_time"), {}, config


def for_members(config: TrainConfig, members: int) -> dict[str, int]:
    """Batch and epochs in which each of several members gets what one network would get.

    The rows of a batch are dealt out to the members, so that each sees a share of it; in a share of
    one series the norms would see that series alone.

    Args:
        config: for one network.
        members: networks that are trained side by side; 1 changes nothing.

    >>> for_members(TrainConfig(batch_size=4, epochs=192), 5)
    {'batch_size': 20, 'epochs': 960}
    """
    own = {"batch_size": config.batch_size, "epochs": config.epochs}
    return {name: members * value for name, value in own.items()} if members > 1 else {}


def forecast_choice(n: int, window: int) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Name and options of a network, and the options of a training, for forecasts of n windows.

    A TCN of as many blocks as see the whole window, read at its last step. Windows overlap, so that
    few epochs are enough; validation, which comes later in time, chooses among them.

    >>> model, options, _ = forecast_choice(1000, 36)
    >>> model, options["channels"]
    ('tcn', [32, 32, 32, 32])
    """
    blocks = max(1, layers_for_receptive_field(window, 3))
    config = {
        "epochs": min(40, max(5, 60_000 // max(1, n))),
        "batch_size": min(128, max(16, 1 << max(0, (n // 20).bit_length() - 1))),
        "optimizer": "adamw",
        "learning_rate": 2e-3,
        "weight_decay": 0.01,
        "warmup": 0.1,
        "flip": False,
        "clip_norm": 1.0,
    }
    return "tcn", {"channels": [32] * blocks, "dropout": 0.1}, config


def few_held(dataset: Dataset) -> float:
    """The share of few series that is kept from training to look on: of fewer, a smaller one."""
    n = len(dataset) if dataset.given is None else int((dataset.given == TRAIN).sum())
    return max(0.05, 2 / max(1, n)) if n < _FEW else 0.15


def series_in_words(dataset: Dataset) -> str:
    """How long the series are, for the line that says what is trained on."""
    survey = dataset.survey()
    lengths = survey.widths[survey.digests != 0]
    if not len(lengths):
        return "none readable"
    low, high = int(lengths.min()), int(lengths.max())
    steps = f"{low}" if low == high else f"{low} to {high} (median {np.median(lengths):g})"
    channels = f"{survey.channels} channel{'s' if survey.channels > 1 else ''}"
    return f"{channels}, {steps} time steps"
