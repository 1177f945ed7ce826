"""The process that listens: connections that cannot be held for ever, signals, and a graceful end.

SIGTERM or SIGINT: no new connections; whoever is connected gets answers, and is told to leave.
SIGHUP: the runs are opened anew.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import Callable
from typing import Any, Final

from convarium.errors import RunError, import_extra
from convarium.serve.edge import Edge
from convarium.serve.journal import Forwarding

_HEAD: Final = 2**16  # bytes of a request's headers, at most
_LINGER: Final = 1.0  # seconds in which clients that are connected may still send
_LOGGERS: Final = ("uvicorn.error", "uvicorn.asgi")


def run_server(
    app: Edge,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    started: Callable[[str, int], None] = lambda host, port: None,
) -> None:
    """Serve until a signal ends it; what was accepted is answered first.

    Args:
        app: of `build_app`.
        host: address to listen at.
        port: 0 takes any that is free.
        started: is told address and port once somebody can connect.

    Raises:
        RunError: the address cannot be listened at.
        MissingExtraError: the extra `serve` is not installed.
    """
    uvicorn: Any = import_extra("uvicorn", "serve")
    service = app.service
    forwarding = Forwarding(service.journal)
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [forwarding], False
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=_guarded(service.limits.timeout, service.limits.connections),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=max(1, round(service.limits.timeout)),
        timeout_graceful_shutdown=max(1, round(service.limits.timeout + service.limits.deadline)),
    )
    try:
        _server_class()(config, app, started).run()
    except SystemExit as error:
        raise RunError(f"Cannot listen at {host}, port {port}; choose another --port.") from error


def _server_class() -> type[Any]:
    """Uvicorn's server with our end and our signals."""
    import uvicorn

    class Serving(uvicorn.Server):
        """A server that loses no request when it ends."""

        def __init__(
            self, config: uvicorn.Config, edge: Edge, told: Callable[[str, int], None]
        ) -> None:
            super().__init__(config)
            self.service, self.told = edge.service, told

        async def startup(self, sockets: Any = None) -> None:
            """Listen, and say where."""
            await super().startup(sockets)
            loop = asyncio.get_running_loop()
            if hasattr(signal, "SIGHUP"):
                loop.add_signal_handler(signal.SIGHUP, self.reload)
            host, port, *_ = self.servers[0].sockets[0].getsockname()
            self.told(host, port)

        def reload(self) -> None:
            """Open the runs anew, beside the requests."""
            self.reloading = asyncio.ensure_future(self.service.reload())

        def handle_exit(self, sig: int, frame: Any) -> None:
            """End gracefully; a second SIGINT does not wait."""
            self.force_exit = self.should_exit and sig == signal.SIGINT
            self.should_exit = True

        async def shutdown(self, sockets: Any = None) -> None:
            """No new connections; those that are there get answers and are told to leave."""
            self.service.draining = True
            self.service.journal.write("ending")
            for server in self.servers:
                server.close()
            loop = asyncio.get_running_loop()
            until = loop.time() + _LINGER
            while self.server_state.connections and loop.time() < until and not self.force_exit:
                await asyncio.sleep(0.02)
            await super().shutdown(sockets)
            self.service.journal.write("ended")

    return Serving


def _guarded(seconds: float, most: int) -> type[asyncio.Protocol]:
    """Uvicorn's HTTP protocol, whose connections must move and are not too many.

    Args:
        seconds: a connection on which nothing moves for so long is closed, twice that at most;
            bytes of headers that trickle in are no movement.
        most: connections at once.
    """
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    base: Any = AutoHTTPProtocol

    class Guarded(base):  # type: ignore[misc]
        """A connection."""

        head, in_head = 0, False  # bytes of headers that are not yet complete
        watch: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            """Take a connection, or say that there are too many."""
            super().connection_made(transport)
            if len(self.connections) > most:
                self.turn_away(503, "full", "Too many connections; come again later.")
                return
            self.watch = self.loop.call_later(seconds, self.look, None)

        def connection_lost(self, exc: Exception | None) -> None:
            """Let go of it."""
            if self.watch is not None:
                self.watch.cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            """Take bytes; headers without end are refused."""
            if self.transport.is_closing():
                return
            super().data_received(data)
            self.head = self.head + len(data) if self.in_head else 0
            if self.head > _HEAD:
                self.turn_away(431, "long_headers", f"Headers are over {_HEAD:,} bytes.")

        def on_message_begin(self) -> None:
            """A request begins."""
            self.in_head = True
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            """Its headers are there."""
            self.in_head = False
            super().on_headers_complete()

        def send_400_response(self, msg: str) -> None:
            """What is no HTTP gets a reason in JSON too."""
            self.turn_away(400, "no_http", "This is no request of HTTP/1.1.")

        def is_busy(self) -> bool:
            """Whether a request is complete to its headers and not yet answered."""
            return self.cycle is not None and not self.cycle.response_complete

        def look(self, before: tuple[object, bool, int] | None) -> None:
            """Close it where nothing has moved since the last look."""
            busy, unsent = self.is_busy(), self.transport.get_write_buffer_size()
            now = (self.cycle, busy, unsent)
            if now == before and (unsent or not busy):
                self.transport.abort()
                return
            self.watch = self.loop.call_later(seconds, self.look, now)

        def turn_away(self, status: int, code: str, reason: str) -> None:
            """Answer without a request, and close."""
            body = json.dumps({"error": code, "reason": reason}).encode()
            lines = [f"HTTP/1.1 {status} Refused", "content-type: application/json"]
            lines += [f"content-length: {len(body)}", "connection: close", "", ""]
            self.transport.write("\r\n".join(lines).encode() + body)
            self.transport.close()

    return Guarded
