"""Around every request: its host, the token, an id, a journal line, figures, no lost error."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any, Final

from convarium.serve.access import allowed, names_host
from convarium.serve.refusals import RefusedError
from convarium.serve.service import Service

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
_UNKNOWN: Final = "unknown"
_CUT = 499  # in the journal: the client left before its answer


class Edge:
    """An ASGI application around another.

    Args:
        app: what answers.
        service: behind it.
        token: that must be shown; None asks for none.
        hosts: names that the header Host may have; None takes any.
    """

    def __init__(
        self,
        app: Any,
        service: Service,
        token: str | None,
        hosts: Collection[str] | None = None,
    ) -> None:
        self.app, self.service, self.token, self.hosts = app, service, token, hosts

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
            return _WRONG_HOST
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

    def __init__(self, send: Send, service: Service) -> None:
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
