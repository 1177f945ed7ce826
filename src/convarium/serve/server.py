"""The process that listens: its signals, and an end that loses no request.

SIGTERM or SIGINT: whoever asks is answered and told to leave, and `/readyz` says 503, while those
who send requests here take to see it; then no new connections, and the end once all is answered.
SIGHUP: the runs are opened anew.
"""

from __future__ import annotations

import asyncio
import logging
import math
import selectors
import signal
from collections.abc import Callable, Sequence
from typing import Any, Final

from convarium.errors import RunError, import_extra
from convarium.serve.connections import guarded
from convarium.serve.edge import Edge
from convarium.serve.journal import Forwarding
from convarium.serve.limits import Limits

_LAST: Final = 1.0  # seconds in which clients that are connected may still send
_STEP: Final = 0.01  # seconds
_LOGGERS: Final = ("uvicorn.error", "uvicorn.asgi", "asyncio")


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

    def refused(code: str) -> None:
        service.metrics.refusals.labels(code).inc()

    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=guarded(service.limits.timeout, service.limits.connections, refused),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=max(1, round(service.limits.timeout)),
        timeout_graceful_shutdown=longest(service.limits),
    )
    try:
        _server_class()(config, app, started).run()
    except SystemExit as error:
        raise RunError(f"Cannot listen at {host}, port {port}; choose another --port.") from error


def longest(limits: Limits) -> int:
    """Whole seconds that an accepted request may take: its body, then its answer or its heat.

    >>> longest(Limits(timeout=10.0, deadline_ms=2500))
    23
    """
    return math.ceil(2 * limits.timeout + limits.deadline)


def nobody_waits(servers: Sequence[Any]) -> bool:
    """Whether no connection is made and not yet taken, which a socket that closes would cut.

    Args:
        servers: of asyncio.
    """
    with selectors.DefaultSelector() as selector:
        for each in (own for server in servers for own in server.sockets):
            selector.register(each, selectors.EVENT_READ)
        return not selector.select(0)


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
            self.force_exit |= self.should_exit and sig == signal.SIGINT
            self.should_exit = True

        async def shutdown(self, sockets: Any = None) -> None:
            """Say that it ends while it listens, then take nobody more, then answer the rest."""
            self.service.draining = True
            self.service.journal.write("ending")
            await self.rest(self.service.limits.linger, lambda: False)
            await self.rest(_LAST, lambda: nobody_waits(self.servers))
            for server in self.servers:
                server.close()
            await self.rest(_LAST, lambda: not self.server_state.connections)
            await super().shutdown(sockets)
            self.service.journal.write("ended")

        async def rest(self, seconds: float, over: Callable[[], bool]) -> None:
            """Let requests go on for so long, until it is over or nobody waits for them."""
            loop = asyncio.get_running_loop()
            until = loop.time() + seconds
            while not self.force_exit and loop.time() < until and not over():
                await asyncio.sleep(_STEP)

    return Serving
