"""The tasks by name, and the task of a card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from convarium.errors import OptionError, did_you_mean
from convarium.tasks.calibration import temperature_of
from convarium.tasks.classification import Classification
from convarium.tasks.contract import Task
from convarium.tasks.downscaling import Downscaling
from convarium.tasks.forecast import Forecast
from convarium.tasks.multilabel import Multilabel
from convarium.tasks.regression import Regression


def from_card(card: Mapping[str, Any]) -> Task:
    """The task that a card describes by its entry `task`, and by those that belong to it.

    | task           | entries                                                               |
    |----------------|-----------------------------------------------------------------------|
    | classification | `classes`, `calibration` where there is one                           |
    | multilabel     | `classes`, `threshold` (0.5), `calibration` where there is one        |
    | regression     | `classes` (names of the outputs), `targets`: `units`, `mean`, `std`   |
    | forecast       | those of a regression, and `forecast`: `scale`                        |
    | downscale      | those of a regression, and `parts`                                    |

    Raises:
        OptionError: the card names a task that this version does not have, or its entries do not
            fit.

    >>> from_card({"task": "classification", "classes": ["cat", "dog"]}).head_size
    2
    """
    name = str(card.get("task"))
    if name not in _TASKS:
        allowed = ", ".join(sorted(_TASKS))
        raise OptionError(
            f"task (={name!r}) must be one of: {allowed}.{did_you_mean(name, _TASKS)}"
        )
    return _TASKS[name](card)


def _classification(card: Mapping[str, Any]) -> Task:
    return Classification(classes=tuple(card["classes"]), temperature=temperature_of(card))


def _multilabel(card: Mapping[str, Any]) -> Task:
    threshold = card.get("threshold", 0.5)
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)):
        raise OptionError(f"The card's threshold (={threshold!r}) must be a number.")
    return Multilabel(tuple(card["classes"]), float(threshold), temperature_of(card))


_TASKS: dict[str, Callable[[Mapping[str, Any]], Task]] = {
    Classification.name: _classification,
    Multilabel.name: _multilabel,
    Regression.name: Regression.from_card,
    Forecast.name: Forecast.from_card,
    Downscaling.name: Downscaling.from_card,
}
