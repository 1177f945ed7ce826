"""The tasks by name, and the task of a card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convarium.errors import OptionError, did_you_mean
from convarium.tasks.classification import Classification
from convarium.tasks.contract import Task

_TASKS: dict[str, type[Classification]] = {Classification.name: Classification}


def from_card(card: Mapping[str, Any]) -> Task:
    """The task that a card describes by its entries `task` and `classes`.

    Raises:
        OptionError: the card names a task that this version does not have.

    >>> from_card({"task": "classification", "classes": ["cat", "dog"]}).head_size
    2
    """
    name = str(card.get("task"))
    if name not in _TASKS:
        allowed = ", ".join(sorted(_TASKS))
        raise OptionError(
            f"task (={name!r}) must be one of: {allowed}.{did_you_mean(name, _TASKS)}"
        )
    return _TASKS[name](classes=tuple(card["classes"]))
