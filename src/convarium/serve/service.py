"""What a server does, apart from HTTP: runs by name, answers in time, new versions of runs."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from convarium.errors import ConvariumError, OptionError
from convarium.serve.admission import Gate, Room, Ticket
from convarium.serve.batching import Batcher
from convarium.serve.bodies import JSON, MULTIPART, Received, read_body, received
from convarium.serve.explaining import Asked
from convarium.serve.journal import Journal
from convarium.serve.limits import BODIES, Limits
from convarium.serve.metrics import Metrics
from convarium.serve.refusals import RefusedError, busy, refusal_of
from convarium.serve.samples import Given, prepared, samples_of
from convarium.serve.served import (
    Lanes,
    Served,
    announced,
    lanes_of,
    open_served,
    row_of,
    signature_of,
)

Answer = TypeVar("Answer")
_EXPLAINED = 4  # heatmaps that wait or are computed, at most


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


class Service:
    """Runs that answer.

    Args:
        runs: folders by the names that requests know them by.
        limits: of each request and of all.
        untuned: run the networks themselves, not what `tune` chose.
        journal: takes what happens; None writes to standard error.

    Raises:
        RunError: a folder is no finished run.
        OptionError: there is none, or the samples of one cannot be sent.
        MissingExtraError: the extra `serve` is not installed.
    """

    def __init__(
        self,
        runs: Mapping[str, str | Path],
        limits: Limits | None = None,
        *,
        untuned: bool = False,
        journal: Journal | None = None,
    ) -> None:
        if not runs:
            raise OptionError("There is no run to serve; name a folder of 'convarium train'.")
        self.limits = Limits() if limits is None else limits
        self.journal, self.metrics = journal or Journal(), Metrics()
        self.draining = False
        self._folders = {name: Path(folder) for name, folder in runs.items()}
        self._untuned = untuned
        self.gate = Gate(self.limits.queue, self.limits.deadline)
        self.metrics.inside.set_function(lambda: self.gate.count)
        self._slow_gate = Gate(_EXPLAINED, self.limits.timeout)
        self._room = Room(BODIES * self.limits.max_bytes)
        self._readers = ThreadPoolExecutor(self.limits.workers, "decode")
        self._quick, self._slow = ThreadPoolExecutor(1, "compute"), ThreadPoolExecutor(1, "slow")
        self._failed: dict[str, Any] = {}
        self._reloading = asyncio.Lock()
        self._current: dict[str, tuple[Served, Lanes]] = {}
        for name in self._folders:
            self._take(self._open(name))

    @property
    def names(self) -> list[str]:
        """Of the runs, in the order given."""
        return list(self._folders)

    def named(self, name: str | None) -> Served:
        """The current version of a run; without a name that of the only one.

        Raises:
            RefusedError: 404, there is no such run; 400, there are several and none is named.
        """
        return self._version(name)[0]

    async def predict(
        self, name: str | None, sent: Sent, *, probabilities: bool = False
    ) -> dict[str, Any]:
        """What a run says of each sample of a body.

        Args:
            name: of the run.
            sent: the body.
            probabilities: also that of every class.

        Raises:
            RefusedError: 4xx with a reason, or 503 with Retry-After.
        """
        served, lanes = self._version(name)
        records = await self._each(served, lanes.predict, sent)
        classes = served.run.card["classes"]
        rows = [row_of(each, classes, probabilities=probabilities) for each in records]
        return {"run": served.name, "version": served.version, "predictions": rows}

    async def embed(self, name: str | None, sent: Sent) -> dict[str, Any]:
        """The vectors of a body's samples; refuses as `predict`."""
        served, lanes = self._version(name)
        served.check_embeds()
        rows = await self._each(served, lanes.embed, sent)
        return {"run": served.name, "version": served.version, "vectors": rows}

    async def explain(
        self, name: str | None, sent: Sent, asked: Asked, *, picture: bool
    ) -> dict[str, Any] | bytes:
        """Where a run looks, of the one sample of a body; refuses as `predict`.

        Args:
            name: of the run.
            sent: the body.
            asked: method, class and layer.
            picture: a PNG instead of values.
        """
        served, _ = self._version(name)
        async with self._admitted(self._slow_gate, served, sent) as (samples, _):
            if len(samples) > 1:
                raise RefusedError(413, "too_many", "One sample at a time is explained.")
            ((read, sample),) = samples
            explainer = await self._in(self._slow, lambda: served.explainer)
            values = functools.partial(explainer.values, read, sample, asked)
            drawn = functools.partial(explainer.picture, sample, asked)
            found: Any = await self._in(self._slow, drawn if picture else values)
        self.metrics.samples.labels(served.name).inc()
        return found if picture else {"run": served.name, "version": served.version, **found}

    async def reload(self, *, changed: bool = False) -> dict[str, bool]:
        """Open the runs anew; requests go on with the old version until the new one is ready.

        A version that cannot be opened leaves the old one in its place.

        Args:
            changed: only those with another card, or another choice of `tune`, since.

        Returns:
            For each run that was opened, whether it could be.
        """
        async with self._reloading:
            return await self._reload(changed=changed)

    async def _reload(self, *, changed: bool) -> dict[str, bool]:
        found = {}
        for name, folder in self._folders.items():
            now = await self._in(self._slow, functools.partial(signature_of, folder))
            same = announced(now) == announced(self._current[name][0].signature)
            if changed and (same or now == self._failed.get(name)):
                continue
            try:
                self._take(await self._in(self._slow, functools.partial(self._open, name)))
                self._failed.pop(name, None)
                found[name] = True
            except Exception as error:  # whatever a broken folder raises, the old version stays
                self._failed[name] = now
                reason = {"reason": str(error)} if isinstance(error, ConvariumError) else {}
                self.journal.failure("not_reloaded", error, run=name, **reason)
                found[name] = False
            result = "taken" if found[name] else "failed"
            self.metrics.reloads.labels(name, result).inc()
        return found

    async def watch(self, seconds: float) -> None:
        """Look at the runs' files every so many seconds, and take new versions, until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.reload(changed=True)
            except Exception as error:  # a watch that ends in silence would be worse
                self.journal.failure("watch_failed", error)

    def close(self) -> None:
        """End the threads."""
        for executor in (self._readers, self._quick, self._slow):
            executor.shutdown(wait=False, cancel_futures=True)

    def _version(self, name: str | None) -> tuple[Served, Lanes]:
        if name is None and len(self._current) == 1:
            (only,) = self._current.values()
            return only
        if name is None:
            raise RefusedError(400, "which_run", f"Name one of the runs: {', '.join(self.names)}.")
        if name not in self._current:
            raise RefusedError(404, "no_such_run", f"The runs here are {', '.join(self.names)}.")
        return self._current[name]

    def _open(self, name: str) -> Served:
        return open_served(name, self._folders[name], untuned=self._untuned)

    def _take(self, served: Served) -> None:
        """Let new requests come to this version; those of the old one end with it."""
        sizes = self.metrics.batches.labels(served.name)
        self._current[served.name] = (
            served,
            lanes_of(served, self.limits, self._quick, sizes.observe),
        )
        self.journal.write("ready", run=served.name, version=served.version, form=served.form)

    async def _each(
        self, served: Served, lane: Batcher[Tensor, Answer], sent: Sent
    ) -> list[Answer]:
        """The answers for each sample of a body, in its order."""
        async with self._admitted(self.gate, served, sent) as (samples, until):
            rows = await asyncio.gather(*[lane.submit(sample, until) for _, sample in samples])
        self.metrics.samples.labels(served.name).inc(len(rows))
        return rows

    @asynccontextmanager
    async def _admitted(
        self, gate: Gate, served: Served, sent: Sent
    ) -> AsyncIterator[tuple[list[tuple[str | None, Tensor]], float]]:
        """The samples of a body, in the gate, and when their answers must be there.

        Time is counted from when the body is there: who sends slowly takes no place.
        """
        gate.check()
        content = await read_body(
            sent.chunks,
            sent.declared,
            most=self.limits.max_bytes,
            seconds=self.limits.timeout,
            room=self._room,
        )
        try:
            until = time.monotonic() + gate.deadline
            with gate.inside() as ticket:
                body = received(sent.media, content)
                async with asyncio.timeout(gate.deadline):
                    yield await self._samples(served, body, ticket), until
        except TimeoutError as error:
            reason = "The answer took too long; come again later."
            raise busy("late", reason, gate.deadline) from error
        finally:
            self._room.give(len(content))

    async def _samples(
        self, served: Served, body: Received, ticket: Ticket
    ) -> list[tuple[str | None, Tensor]]:
        """The samples of a body, read and prepared in the threads that decode.

        Where one of them is refused, those that have not been begun are left.
        """
        split = functools.partial(samples_of, served.preprocessing.kind, body, ticket.gate.capacity)
        whole = body.media in (JSON, MULTIPART)
        found = await self._in(self._readers, split) if whole else split()
        ticket.need(len(found))
        each = [
            asyncio.create_task(self._prepared(served, given, k, len(found)))
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
        self, served: Served, given: Given, number: int, count: int
    ) -> tuple[str | None, Tensor]:
        """One sample; the refusal of one of several says which it is."""
        call = functools.partial(prepared, given, served.preprocessing, self.limits)
        try:
            return await self._in(self._readers, call)
        except ConvariumError as error:
            refusal = refusal_of(error)
            if refusal is None or count == 1:
                raise
            reason = f"Input {number}: {refusal.reason}"
            raise RefusedError(refusal.status, refusal.code, reason, refusal.headers) from error

    async def _in(self, executor: ThreadPoolExecutor, call: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(executor, call)
