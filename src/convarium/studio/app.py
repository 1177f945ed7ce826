"""The studio's application: the page's files, and the functions of the views behind HTTP."""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import parse_qsl

from convarium.errors import ConvariumError, DataError
from convarium.serve.access import LOCAL_HOSTS
from convarium.serve.admission import Room
from convarium.serve.bodies import JSON, Received, read_body, received
from convarium.serve.edge import Edge, Receive, Scope, Send
from convarium.serve.limits import BODIES
from convarium.serve.refusals import RefusedError
from convarium.studio.answers import Answer, answer_of, refused
from convarium.studio.binding import bound
from convarium.studio.desk import Desk
from convarium.studio.pages import page_files
from convarium.studio.routes import TABLE, Route

#: The page loads nothing from elsewhere, and no other page may hold it in a frame.
_HEADERS: Final = (
    ("content-security-policy", "default-src 'self'; img-src 'self' data: blob:; "
     "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
)  # fmt: skip
_WARM_AFTER: Final = 1.0  # seconds: the first page comes before torch


def build_studio(desk: Desk, *, hosts: Collection[str] = LOCAL_HOSTS, warm: bool = False) -> Edge:
    """An ASGI application for a desk; run it with `serve.run_server`.

    Args:
        desk: what is looked at.
        hosts: names that the header Host may have, with any port.
        warm: load torch soon after the start, before somebody waits for it.
    """
    return Edge(_App(desk, warm=warm), desk, None, hosts, own_pages=True)


class _App:
    """Answers requests of ASGI."""

    def __init__(self, desk: Desk, *, warm: bool) -> None:
        self.desk, self.warm = desk, warm
        self.room = Room(BODIES * desk.limits.max_bytes)
        self.quick, self.slow = ThreadPoolExecutor(4, "quick"), ThreadPoolExecutor(1, "slow")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.live(receive, send)
        elif scope["type"] == "http":
            try:
                answer = await self.answer(scope, receive)
            except ConvariumError as error:
                scope["convarium.refused"], answer = refused(error)
            await _send(send, answer)

    async def live(self, receive: Receive, send: Send) -> None:
        """Start and end with the server."""
        warming = None
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                warming = asyncio.create_task(self.get_warm()) if self.warm else None
                await send({"type": "lifespan.startup.complete"})
                continue
            if warming is not None:
                warming.cancel()
            for executor in (self.quick, self.slow):
                executor.shutdown(wait=False, cancel_futures=True)
            self.desk.jobs.close()
            await send({"type": "lifespan.shutdown.complete"})
            return

    async def get_warm(self) -> None:
        """Load torch while nobody waits."""
        await asyncio.sleep(_WARM_AFTER)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self.slow, importlib.import_module, "convarium.predict")
        networks = importlib.import_module("convarium.studio.networks")
        await loop.run_in_executor(self.quick, networks.get_warm)

    async def answer(self, scope: Scope, receive: Receive) -> Answer:
        """What a request is answered.

        Raises:
            ConvariumError: it cannot be done.
        """
        path, method = scope["path"], scope["method"]
        if method == "GET" and path in page_files():
            return page_files()[path]
        route = TABLE.get((method, path))
        if route is None:
            raise RefusedError(404, "no_such_path", "The studio has no such address.")
        scope["route"] = route
        given = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        held = [await self.body(scope, receive)] if method == "POST" else []
        size = sum(len(body.content) for body in held)
        try:
            call = functools.partial(_call, route, given, self.desk, held)
            executor = self.slow if route.slow else self.quick
            return await _unless_left(executor.submit(call), receive)
        finally:
            held.clear()  # work that was dropped stays in its line until its turn
            self.room.give(size)

    async def body(self, scope: Scope, receive: Receive) -> Received:
        """The body of a request, read within the limits; its room is given back by the caller."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        limits = self.desk.limits
        content = await read_body(
            _chunks(receive),
            headers.get(b"content-length"),
            most=limits.max_bytes,
            seconds=limits.timeout,
            room=self.room,
        )
        return received(headers.get(b"content-type"), content)


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RefusedError(400, "cut_short", "The body ended early.")
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


async def _unless_left(work: Future[Answer], receive: Receive) -> Answer:
    """The answer; work that waits for its turn is dropped where its client has left.

    Raises:
        ConvariumError: it cannot be done, or nobody is there to be answered.
    """
    answer, left = asyncio.wrap_future(work), asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((answer, left), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done() and work.cancel():
            raise RefusedError(499, "left", "Nobody waits for this any more.")
        return await answer
    finally:
        left.cancel()
        del answer, work  # whose error holds this frame, and what was sent


async def _disconnected(receive: Receive) -> None:
    """Wait until the client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _object(content: bytes) -> Mapping[str, Any]:
    """The values of a body in JSON.

    Raises:
        DataError: it is none, or no object.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError("The body is no JSON.") from error
    if not isinstance(found, dict):
        raise DataError("The body must be an object of JSON.")
    return found


def _call(route: Route, given: dict[str, Any], desk: Desk, held: Sequence[Received]) -> Answer:
    """Call the function of a route; `held` has the body, where there is one."""
    if desk.draining:
        raise RefusedError(503, "ends", "The studio ends.", {"Connection": "close"})
    own: dict[str, Any] = {"desk": desk}
    body = next(iter(held), None)
    if body is not None and body.media == JSON:
        given |= _object(body.content)
    elif body is not None:
        own |= {"content": body.content, "media": body.media}
    file, _, name = route.function.partition(":")
    function = getattr(importlib.import_module(f"convarium.studio.{file}"), name)
    return answer_of(function(**bound(function, given, own)))


async def _send(send: Send, answer: Answer) -> None:
    length = ("content-length", str(len(answer.content)))
    own = {name.lower() for name, _ in answer.headers}
    pairs = [("content-type", answer.media), length, *answer.headers]
    pairs += [(name, value) for name, value in _HEADERS if name not in own]
    headers = [(name.lower().encode(), value.encode()) for name, value in pairs]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.content})
