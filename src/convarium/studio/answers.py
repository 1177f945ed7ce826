"""What the studio answers: values as JSON, or bytes of another type."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from convarium.errors import ConvariumError
from convarium.serve.bodies import JSON
from convarium.serve.refusals import RefusedError, refusal_of

_UNUSABLE = 422


class Answer(NamedTuple):
    """An answer of HTTP.

    Args:
        media: its type.
        content: its bytes.
        status: of HTTP.
        headers: further ones.
    """

    media: str
    content: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


def answer_of(value: Any) -> Answer:
    """An answer as it is, and any other value as JSON.

    >>> answer_of({"loss": float("nan"), "size": (1, 2)}).content
    b'{"loss": null, "size": [1, 2]}'
    """
    if isinstance(value, Answer):
        return value
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False)
    return Answer(JSON, text.encode("utf-8", "replace"))


def plain(value: Any) -> Any:
    """A value as JSON can hold it: no NaN and no infinities, which become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(each) for each in value]
    return value


def svg_address(drawing: str) -> str:
    """A drawing of the report as the address of a picture, in which it keeps its own styles.

    >>> svg_address("<svg>a b</svg>")
    'data:image/svg+xml,%3Csvg%3Ea%20b%3C/svg%3E'
    """
    return "data:image/svg+xml," + quote(drawing)


def refused(error: ConvariumError) -> tuple[str, Answer]:
    """The word that an error of the library is refused with, and the answer with its sentence.

    >>> from convarium.errors import RunError
    >>> refused(RunError("The folder of 'photos' is gone."))[1].status
    422
    """
    known = None if isinstance(error, ImportError) else refusal_of(error)
    refusal = known or RefusedError(_UNUSABLE, "not_done", str(error))
    content = json.dumps(refusal.body()).encode()
    return refusal.code, Answer(JSON, content, refusal.status, tuple(refusal.headers.items()))
