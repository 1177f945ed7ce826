"""The error tree: every error a user can act on, and the words that help them act.

`ConvariumError` is the one base class. Where Python has a built-in kind for the same thing, the
error is of that kind too, so that `except ValueError` keeps working.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class ConvariumError(Exception):
    """Base of every error that convarium raises on purpose; its text is one remedy away."""


class ShapeError(ConvariumError, ValueError):
    """A tensor's shape or rank does not fit."""


class OptionError(ConvariumError, ValueError):
    """An option is unknown, or its value is not allowed."""


class UnknownModelError(ConvariumError, LookupError):
    """No network has this name."""


class MissingExtraError(ConvariumError, ImportError):
    """A package of an optional extra is not installed."""


class DataError(ConvariumError):
    """Data cannot be found, read or used."""


class RunError(ConvariumError):
    """A run folder is missing, incomplete, in the way, or cannot be written."""


class VerificationError(ConvariumError):
    """An exported file does not compute what the model computes."""


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Close matches as a sentence that starts with a space, or nothing.

    >>> did_you_mean("resnet5O", ["resnet50", "convnet"])
    " Did you mean 'resnet50'?"
    >>> did_you_mean("zzz", ["resnet50"])
    ''
    """
    close = difflib.get_close_matches(word, list(allowed), n=3, cutoff=0.6)
    if not close:
        return ""
    return " Did you mean " + " or ".join(repr(name) for name in close) + "?"


def import_extra(module: str, extra: str) -> ModuleType:
    """Import an optional package, or say which extra brings it.

    Raises:
        MissingExtraError: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        message = (
            f"This needs the package {module!r}, which is not installed; "
            f"run: pip install 'convarium[{extra}]'"
        )
        raise MissingExtraError(message, name=module) from error
