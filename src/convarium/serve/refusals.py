"""What a request is answered where it cannot be done: a status, a word, and a reason in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convarium.errors import ConvariumError, DataError, MissingExtraError, OptionError, ShapeError

_UNUSABLE = 422


class RefusedError(ConvariumError):
    """A request that is not done.

    Args:
        status: of HTTP, 4xx, or 503 where it may be done later.
        code: one word for programs and logs; it holds nothing of the request.
        reason: a sentence for the one who asked.
        headers: of the answer.
    """

    def __init__(
        self, status: int, code: str, reason: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(reason)
        self.status, self.code, self.reason = status, code, reason
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """What stands in the answer."""
        return {"error": self.code, "reason": self.reason}


def busy(code: str, reason: str, seconds: float) -> RefusedError:
    """A 503 that says when to come again, in whole seconds from 1 to 60.

    >>> busy("full", "Come again.", 2.4).headers
    {'Retry-After': '3'}
    """
    again = min(60, max(1, int(-(-seconds // 1))))
    return RefusedError(503, code, reason, {"Retry-After": str(again)})


def too_many(most: int) -> RefusedError:
    """A 413 of more samples than can be inside at once.

    >>> too_many(8).reason
    'At most 8 samples at once; send them in several requests.'
    """
    reason = f"At most {most} sample{'s' * (most > 1)} at once; send them in several requests."
    return RefusedError(413, "too_many", reason)


def unusable(words: str) -> RefusedError:
    """A 422 of a sample that is not what it must be, which the words say.

    >>> unusable("a text must be a string").reason
    'A text must be a string.'
    """
    return RefusedError(_UNUSABLE, "unusable", f"{words[0].upper()}{words[1:]}.")


def refusal_of(error: Exception) -> RefusedError | None:
    """The refusal that an error of the library stands for; None where it is none of its errors.

    >>> refusal_of(DataError("damaged")).body()
    {'error': 'unreadable', 'reason': 'damaged'}
    """
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, DataError):
        return RefusedError(_UNUSABLE, "unreadable", str(error))
    if isinstance(error, OptionError | ShapeError):
        return RefusedError(_UNUSABLE, "unusable", str(error))
    if isinstance(error, MissingExtraError):
        return RefusedError(
            501, "not_installed", "This server lacks a package that the request needs."
        )
    return None
