"""Around every request: its host, the token, an id, a journal line, figures, no lost error."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any, Final, Protocol

from convarium.serve.access import allowed, names_host, same_origin
from convarium.serve.journal import Journal
from convarium.serve.limits import Limits
from convarium.serve.metrics import Metrics
from convarium.serve.refusals import RefusedError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
#: Paths that tell nothing but whether the server is there, for those who watch over it.
OPEN: Final = ("/healthz", "/readyz")
#: What is answered where the server itself is at fault.
BROKEN: Final = RefusedError(500, "failed", "The server failed at this; its journal has the id.")
_NO_TOKEN: Final = RefusedError(
    401, "no_token", "Show the token: Authorization: Bearer ...", {"WWW-Authenticate": "Bearer"}
)
_WRONG_HOST: Final = RefusedError(
    421, "wrong_host", "The server has another name; --allow-host gives it this one too."
)
_OTHER_HOST: Final = RefusedError(421, "wrong_host", "Open the address of this server itself.")
_WRONG_ORIGIN: Final = RefusedError(
    403, "wrong_origin", "A page from elsewhere asked; open the address of this server itself."
)
_UNKNOWN: Final = "unknown"
_CUT = 499  # in the journal: the client left before its answer


class Behind(Protocol):
    """What stands behind an application: what it may take, and where it tells what happens."""

    limits: Limits
    journal: Journal
    metrics: Metrics
    draining: bool

    async def reload(self) -> Any:
        """Open anew what it answers from."""


class Edge:
    """An ASGI application around another.

    Args:
        app: what answers.
        service: behind it.
        token: that must be shown; None asks for none.
        hosts: names that the header Host may have; None takes any.
        own_pages: refuse what pages of other servers ask.
    """

    def __init__(
        self,
        app: Any,
        service: Behind,
        token: str | None,
        hosts: Collection[str] | None = None,
        *,
        own_pages: bool = False,
    ) -> None:
        self.app, self.service, self.token, self.hosts = app, service, token, hosts
        self.own_pages = own_pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # as GET; the server of HTTP leaves the body out
            scope = {**scope, "method": "GET"}
        seen = _Seen(send, self.service)
        try:
            refusal = self._refusal(scope)
            if refusal is None:
                await self.app(scope, receive, seen)
            else:
                scope["convarium.refused"] = refusal.code
                await seen.refuse(refusal)
        except Exception as error:
            self.service.journal.failure("failed", error, id=seen.id)
            if not seen.status:
                await seen.refuse(BROKEN)
        finally:
            self._tell(scope, seen)

    def _refusal(self, scope: Scope) -> RefusedError | None:
        """Why a request may not ask; None where it may."""
        if scope["path"] in OPEN:
            return None
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if self.hosts is not None and not names_host(headers.get(b"host"), self.hosts):
            return _OTHER_HOST if self.own_pages else _WRONG_HOST
        if self.own_pages and not same_origin(headers.get(b"origin"), headers.get(b"host")):
            return _WRONG_ORIGIN
        return None if allowed(headers.get(b"authorization"), self.token) else _NO_TOKEN

    def _tell(self, scope: Scope, seen: _Seen) -> None:
        """What is kept of a request: nothing that the client could write into it."""
        route = getattr(scope.get("route"), "path", _UNKNOWN)
        run = scope.get("convarium.run", "")
        status = seen.status or _CUT
        seconds = time.perf_counter() - seen.start
        metrics = self.service.metrics
        metrics.requests.labels(route, run, status).inc()
        metrics.seconds.labels(route).observe(seconds)
        code = scope.get("convarium.refused")
        if code is not None:
            metrics.refusals.labels(code).inc()
        if route in OPEN:
            return
        told = {"id": seen.id, "route": route, "run": run, "status": status}
        refused = {} if code is None else {"refused": code}
        self.service.journal.write("request", **told, ms=round(1e3 * seconds, 2), **refused)


class _Seen:
    """The way of an answer to its client, with its id and its status.

    Args:
        send: to the client.
        service: says whether the server is about to end, so that the client comes back elsewhere.
    """

    def __init__(self, send: Send, service: Behind) -> None:
        self.send, self.service = send, service
        self.id, self.start, self.status = uuid.uuid4().hex[:16], time.perf_counter(), 0

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        """Pass a message of ASGI on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.id.encode())]
            if self.service.draining:
                message["headers"].append((b"connection", b"close"))
        await self.send(message)

    async def refuse(self, refusal: RefusedError) -> None:
        """Answer with a refusal."""
        body = json.dumps(refusal.body()).encode()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            **refusal.headers,
        }
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self({"type": "http.response.start", "status": refusal.status, "headers": pairs})
        await self({"type": "http.response.body", "body": body})
