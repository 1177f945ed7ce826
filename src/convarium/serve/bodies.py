"""From the bytes of a request to what it holds: files, texts, or the values of a JSON document.

Nothing here looks into a file. Every limit is kept while bytes come in, not afterwards.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from email.message import Message
from itertools import chain
from typing import Any, Final, NoReturn

from convarium.serve.admission import Room
from convarium.serve.refusals import RefusedError, too_many

JSON: Final = "application/json"
MULTIPART: Final = "multipart/form-data"
NETCDF: Final = "application/x-netcdf"
#: What is taken for a file where nothing better is said.
PLAIN: Final = "application/octet-stream"


@dataclass(frozen=True)
class Received:
    """A body in memory, or a part of one.

    Args:
        media: its type, in lower case and without parameters.
        content: its bytes.
        boundary: of a body of several parts.
    """

    media: str
    content: bytes
    boundary: bytes = b""


async def read_body(
    chunks: AsyncIterator[bytes], declared: str | None, *, most: int, seconds: float, room: Room
) -> bytes:
    """All bytes of a body; the caller gives their room back.

    Args:
        chunks: as they arrive.
        declared: the header Content-Length, where there is one.
        most: bytes.
        seconds: in which all must be there.
        room: that bodies have in memory.

    Raises:
        RefusedError: 413 it is too long, 408 it came too slowly, 503 there is no room for it.
    """
    if declared is not None and declared.isdecimal() and int(declared) > most:
        raise _too_long(most)
    found: list[bytes] = []
    length = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in chunks:
                if length + len(chunk) > most:
                    raise _too_long(most)
                room.take(len(chunk))
                length += len(chunk)
                found.append(chunk)
    except BaseException as error:
        room.give(length)
        if isinstance(error, TimeoutError):
            reason = f"The body did not arrive within {seconds:g} seconds."
            raise RefusedError(408, "too_slow", reason, {"Connection": "close"}) from error
        raise
    return b"".join(found)


def received(header: str | None, content: bytes) -> Received:
    """A body with the type that its header says; none says it is a file.

    >>> received("Image/PNG; q=1", b"").media
    'image/png'
    """
    message = Message()
    message["Content-Type"] = (header or PLAIN).encode("ascii", "replace").decode()
    boundary = message.get_param("boundary") or ""
    media = message.get_content_type() if header else PLAIN
    return Received(media, content, str(boundary).encode("ascii", "replace"))


def parts_of(body: Received, most: int) -> list[Received]:
    r"""The parts of a body of type multipart/form-data (RFC 7578), in their order.

    Args:
        body: of that type.
        most: parts; what is beyond is not looked at.

    Raises:
        RefusedError: 400, it is not made so; 413, there are more.

    >>> form = b"--x\r\nContent-Type: image/png\r\n\r\nAB\r\n--x--\r\n"
    >>> parts_of(Received("multipart/form-data", form, b"x"), 1)
    [Received(media='image/png', content=b'AB', boundary=b'')]
    """
    if not body.boundary:
        raise RefusedError(
            400, "malformed", "multipart/form-data needs a boundary in Content-Type."
        )
    pieces = (b"\r\n" + body.content).split(b"\r\n--" + body.boundary, most + 2)
    if len(pieces) > most + 2:
        raise too_many(most)
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise RefusedError(
            400, "malformed", "The parts of the body do not end as their boundary says."
        )
    return [_part(piece) for piece in pieces[1:-1]]


def values_of(content: bytes, most: int) -> list[Any]:
    """The values of a JSON document `{"inputs": [...]}`.

    Args:
        content: of the document.
        most: values.

    Raises:
        RefusedError: 400, it is no such document, as NaN and infinities are no JSON; 413, there are
            more.

    >>> values_of(b'{"inputs": ["a", [1, 2]]}', 2)
    ['a', [1, 2]]
    """
    try:
        found = json.loads(content, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else _place(error)
        raise RefusedError(400, "malformed", f"The body is no JSON: {why}.") from error
    values = found.get("inputs") if isinstance(found, dict) else None
    if not isinstance(values, list):
        raise RefusedError(400, "malformed", 'The body must be a JSON object {"inputs": [...]}.')
    if len(values) > most:
        raise too_many(most)
    return values


def holds_only(value: Any, kinds: Collection[type], deepest: int) -> bool:
    """Whether lists, so many in one another at most, hold values of these types and nothing else.

    NumPy would make room for the longest text at every place of an array.

    >>> holds_only([[1], [2]], {int}, 2), holds_only([1, True], {int}, 2)
    (True, False)
    """
    level = [value]
    for _ in range(deepest):
        found = set(map(type, level))
        if found != {list}:
            return found <= {*kinds}
        level = list(chain.from_iterable(level))
    return set(map(type, level)) <= {*kinds}


def _part(piece: bytes) -> Received:
    head, gap, content = piece.lstrip(b" \t").partition(b"\r\n\r\n")
    if not head.startswith(b"\r\n") or not gap:
        raise RefusedError(400, "malformed", "A part of the body has no headers of its own.")
    media = None
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-type":
            media = value.strip()
    return received(media, content)


def _too_long(most: int) -> RefusedError:
    return RefusedError(413, "too_long", f"The body is longer than {most:,} bytes.")


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON; null stands for a value that is missing")


def _place(error: Exception) -> str:
    """Why a document is no JSON, without its text."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.lower()} at character {error.pos}"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    text = str(error)
    return text if "is no JSON" in text else "a number in it is too long"
