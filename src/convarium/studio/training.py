"""The view *Data*: what training makes of some samples, epoch by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from convarium.errors import OptionError
from convarium.studio.desk import Desk
from convarium.studio.opened import Opened
from convarium.studio.samples import ready

if TYPE_CHECKING:
    from convarium.data import TextAugmentation, TextPreprocessing
    from convarium.train import TrainConfig


def trained_on(
    desk: Desk, run: str = "", epoch: int = 0, samples: int = 6, versions: int = 5, seed: int = 0
) -> dict[str, Any]:
    """What training makes of some samples: that of the run, or as `train` would choose it.

    Args:
        desk: knows the data.
        run: whose data and settings; nothing is the studio's own.
        epoch: the first one shown.
        samples: how many.
        versions: how many epochs.
        seed: draws which samples, and what happens to them.

    Raises:
        OptionError: a number is out of range, or the data holds fields, or texts without a run.
        DataError: the data is not read yet, or a sample cannot be read.
    """
    limits = {"epoch": (epoch, 0, 10**6), "samples": (samples, 1, 12)}
    limits |= {"versions": (versions, 1, 8), "seed": (seed, 0, 2**31)}
    for name, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise OptionError(f"{name} (={value}) must be from {low} to {high}.")
    return augmented(ready(desk, run), epoch, samples, versions, seed)


def augmented(
    opened: Opened, epoch: int = 0, samples: int = 6, versions: int = 5, seed: int = 0
) -> dict[str, Any]:
    """Augmented samples as a drawing, or texts with their words, and the settings in words."""
    from convarium import report, train
    from convarium.report.trained_on import seen_in_training

    dataset, config, steps = opened.dataset, opened.config, opened.preprocessing
    if not opened.shows_training:
        raise OptionError(
            f"Images, volumes, series and the texts of a run are shown here, not {dataset.kind}."
        )
    if dataset.kind == "texts":
        return _texts(opened, epoch, samples, versions, seed)
    size = None
    if config is None:
        choice = train.recommend(dataset)
        config, size = choice.config, choice.size
    found = seen_in_training(
        dataset,
        config,
        steps,
        size=size,
        ids=opened.training_ids,
        seed=seed,
        epoch=epoch,
        samples=samples,
        versions=versions,
    )
    title = f"{dataset.source}: what training sees"
    svg = report.draw_augmented(found.samples, found.settings, title=title, epoch=epoch)
    return {"drawing": svg, "settings": list(found.settings), "from_run": opened.config is not None}


def _texts(opened: Opened, epoch: int, samples: int, versions: int, seed: int) -> dict[str, Any]:
    """Texts with the words that become unknown, and the settings in words."""
    from convarium.report import some_of_each_class
    from convarium.report.dropped_words import dropped_words
    from convarium.report.texts import SHOWN
    from convarium.train.from_config import changes_of

    steps = cast("TextPreprocessing", opened.preprocessing)
    changes = changes_of(cast("TrainConfig", opened.config), steps)
    ids = opened.training_ids
    if ids is None:
        ids = np.array(opened.matching(), np.int64)
    texts = dropped_words(
        opened.dataset,
        some_of_each_class(opened.dataset, ids, samples, seed),
        steps,
        cast("TextAugmentation", changes),
        seed=seed,
        epoch=epoch,
        versions=versions,
    )
    return {
        "texts": [
            {
                "name": text.note,
                "label": text.label,
                "words": text.words[:SHOWN],
                "rare": text.rare[:SHOWN],
                "dropped": [gone[:SHOWN] for gone in text.dropped],
            }
            for text in texts
        ],
        "epoch": epoch,
        "settings": changes.lines(),
        "from_run": True,
    }
