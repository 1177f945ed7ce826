"""Connections that nobody can hold for ever: headers end, bytes move, and there are not too many.

uvicorn's own class lets headers grow without end, and waits for a client that stops in their middle
or stops reading its answer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

_HEAD: Final = 2**16  # bytes of a request's headers, at most
_BUSY: Final = 503
_AHEAD: Final = 8  # requests that a client sends before the answer to an earlier one, at most


def guarded(
    seconds: float, most: int, told: Callable[[str], None] = lambda code: None
) -> type[asyncio.Protocol]:
    """The HTTP protocol of uvicorn with the guards of this file.

    Args:
        seconds: a connection on which nothing moves for so long is closed, twice that at most;
            bytes of headers that trickle in are no movement.
        most: connections at once.
        told: is told the word for each refusal that is made here.
    """
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    settings = {"seconds": seconds, "most": most, "told": staticmethod(told)}
    return type("Guarded", (_Guards, AutoHTTPProtocol), settings)


class _Guards(asyncio.Protocol):
    """What stands before uvicorn's protocol, whose attributes it reads."""

    seconds: float
    most: int
    told: Callable[[str], None]
    connections: set[Any]
    transport: Any
    loop: asyncio.AbstractEventLoop
    cycle: Any  # the request that was begun last

    head, in_head = 0, False  # bytes of headers that are not yet complete
    turned = False  # away: nothing more is read
    watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, or say that there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            self.turn_away(503, "full", "Too many connections; come again later.")
            return
        self.watch = self.loop.call_later(self.seconds, self.look, None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of it."""
        if self.watch is not None:
            self.watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; headers without end are refused."""
        if self.turned or self.transport.is_closing() or self.too_far_ahead():
            return
        super().data_received(data)
        self.head = self.head + len(data) if self.in_head else 0
        if self.head > _HEAD:
            self.turn_away(431, "long_headers", f"Headers are over {_HEAD:,} bytes.")

    def on_message_begin(self) -> None:
        """A request begins."""
        self.in_head = True
        super().on_message_begin()  # type: ignore[misc]

    def on_headers_complete(self) -> None:
        """Its headers are there."""
        self.in_head = False
        super().on_headers_complete()  # type: ignore[misc]
        self.too_far_ahead()

    def too_far_ahead(self) -> bool:
        """Close it where too many requests wait for the answer to an earlier one."""
        ahead = len(getattr(self, "pipeline", ())) > _AHEAD
        if ahead:
            self.transport.abort()
        return ahead

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets a reason in JSON too."""
        self.turn_away(400, "no_http", "This is no request of HTTP/1.1.")

    def unanswered(self) -> bool:
        """Whether a request that is whole, or one before it, still awaits its answer."""
        if self.cycle is None or self.cycle.response_complete:
            return False
        return bool(not self.cycle.more_body or getattr(self, "pipeline", ()))

    def look(self, before: tuple[object, bool, int] | None) -> None:
        """Close it where nothing has moved since the last look."""
        busy = self.cycle is not None and not self.cycle.response_complete
        unsent = self.transport.get_write_buffer_size()
        now = (self.cycle, busy, unsent)
        if now == before and (unsent or not busy):
            self.transport.abort()
            return
        self.watch = self.loop.call_later(self.seconds, self.look, now)

    def turn_away(self, status: int, code: str, reason: str) -> None:
        """Answer without a request, and close; an earlier request gets its own answer alone."""
        self.turned = True
        self.told(code)
        if self.unanswered():
            self.cycle.keep_alive = False
            return
        body = json.dumps({"error": code, "reason": reason}).encode()
        lines = [f"HTTP/1.1 {status} Refused", "content-type: application/json"]
        lines += ["retry-after: 1"] if status == _BUSY else []
        lines += [f"content-length: {len(body)}", "connection: close", "", ""]
        self.transport.write("\r\n".join(lines).encode() + body)
        self.transport.close()
