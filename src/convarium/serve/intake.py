"""From the bytes of a request, as they come, to what is computed: in time, and within the room."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from torch import Tensor

from convarium.data import Preprocessing
from convarium.errors import ConvariumError
from convarium.serve.admission import Gate, Room, Ticket
from convarium.serve.bodies import JSON, MULTIPART, Received, read_body, received
from convarium.serve.finer import Piece, Refiner
from convarium.serve.limits import BODIES, Limits
from convarium.serve.opening import Opener
from convarium.serve.refusals import RefusedError, busy, refusal_of
from convarium.serve.samples import Given, prepared, samples_of

#: One file of fields has so many of the places inside at most: one in four.
_SHARE: Final = 4

Answer = TypeVar("Answer")
Content = TypeVar("Content")


@dataclass(frozen=True)
class Sent:
    """A request's body, not yet read.

    Args:
        media: the header Content-Type.
        declared: the header Content-Length.
        chunks: as they arrive.
    """

    media: str | None
    declared: str | None
    chunks: AsyncIterator[bytes]


class Intake:
    """Reads bodies, in threads of its own.

    Args:
        limits: of the server.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.room = Room(BODIES * limits.max_bytes)
        self._readers = ThreadPoolExecutor(limits.workers, "decode")
        self._openers, self._writers = (ThreadPoolExecutor(1, each) for each in ("open", "write"))
        self._opener = Opener(min(limits.timeout, limits.deadline))

    def expect_fields(self) -> None:
        """Begin what opens files of fields, so that the first request does not wait for it."""
        self._opener.start()

    def close(self) -> None:
        """End the threads."""
        for executor in (self._readers, self._openers, self._writers):
            executor.shutdown(wait=False, cancel_futures=True)
        self._opener.close()

    async def writing(self, call: Callable[[], Answer]) -> Answer:
        """What a call gives, in the thread that writes files of fields; none is opened there."""
        return await in_thread(self._writers, call)

    @asynccontextmanager
    async def admitted(
        self, gate: Gate, sent: Sent, read: Callable[[Received, Ticket], Awaitable[Content]]
    ) -> AsyncIterator[tuple[Content, float]]:
        """What `read` gives of a body, in the gate, and when the answers must be there.

        Time is counted from when the body is there: who sends slowly takes no place.
        """
        gate.check()
        content = await read_body(
            sent.chunks,
            sent.declared,
            most=self.limits.max_bytes,
            seconds=self.limits.timeout,
            room=self.room,
        )
        try:
            until = time.monotonic() + gate.deadline
            with gate.inside() as ticket:
                body = received(sent.media, content)
                async with asyncio.timeout(gate.deadline):
                    yield await read(body, ticket), until
        except TimeoutError as error:
            reason = "The answer took too long; come again later."
            raise busy("late", reason, gate.deadline) from error
        finally:
            self.room.give(len(content))

    async def fields(self, refiner: Refiner, body: Received, ticket: Ticket) -> list[Piece]:
        """The pieces of the fields of a body, which are opened in a process of their own."""
        request = refiner.request(body, self.limits)
        opened = await in_thread(self._openers, functools.partial(self._opener.open, request))
        most = max(1, ticket.gate.capacity // _SHARE)
        pieces = refiner.pieces(refiner.checked(opened), most)
        ticket.need(len(pieces))
        return pieces

    async def samples(
        self, steps: Preprocessing, body: Received, ticket: Ticket
    ) -> list[tuple[str | None, Tensor]]:
        """The samples of a body, read and prepared in the threads that decode.

        Where one of them is refused, those that have not been begun are left.
        """
        split = functools.partial(samples_of, steps.kind, body, ticket.gate.capacity)
        whole = body.media in (JSON, MULTIPART)
        found = await in_thread(self._readers, split) if whole else split()
        ticket.need(len(found))
        each = [
            asyncio.create_task(self._prepared(steps, given, k, len(found)))
            for k, given in enumerate(found)
        ]
        try:
            return await asyncio.gather(*each)
        except BaseException:
            for task in each:
                task.cancel()
            await asyncio.gather(*each, return_exceptions=True)
            raise

    async def _prepared(
        self, steps: Preprocessing, given: Given, number: int, count: int
    ) -> tuple[str | None, Tensor]:
        """One sample; the refusal of one of several says which it is."""
        call = functools.partial(prepared, given, steps, self.limits)
        try:
            return await in_thread(self._readers, call)
        except ConvariumError as error:
            refusal = refusal_of(error)
            if refusal is None or count == 1:
                raise
            reason = f"Input {number}: {refusal.reason}"
            raise RefusedError(refusal.status, refusal.code, reason, refusal.headers) from error


async def in_thread(executor: ThreadPoolExecutor, call: Callable[[], Answer]) -> Answer:
    """What a call gives, in a thread of an executor."""
    return await asyncio.get_running_loop().run_in_executor(executor, call)
