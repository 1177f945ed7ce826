"""What a server does, apart from HTTP: runs by name, answers in time, new versions of runs."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from convarium.errors import ConvariumError, OptionError
from convarium.serve.admission import Gate
from convarium.serve.batching import Batcher
from convarium.serve.explaining import Asked
from convarium.serve.intake import Intake, Sent, in_thread
from convarium.serve.journal import Journal
from convarium.serve.limits import Limits
from convarium.serve.metrics import Metrics
from convarium.serve.refusals import RefusedError
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
        self.intake = Intake(self.limits)
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
        served.check_takes(fields=False)
        records = await self._each(served, lanes.predict, sent)
        classes = served.run.card["classes"]
        rows = [row_of(each, classes, probabilities=probabilities) for each in records]
        return {"run": served.name, "version": served.version, "predictions": rows}

    async def embed(self, name: str | None, sent: Sent) -> dict[str, Any]:
        """The vectors of a body's samples; refuses as `predict`."""
        served, lanes = self._version(name)
        served.check_takes(fields=False)
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
        served.check_takes(fields=False)
        taken = functools.partial(self.intake.samples, served.preprocessing)
        async with self.intake.admitted(self._slow_gate, sent, taken) as (samples, _):
            if len(samples) > 1:
                raise RefusedError(413, "too_many", "One sample at a time is explained.")
            ((read, sample),) = samples
            explainer = await in_thread(self._slow, lambda: served.explainer)
            values = functools.partial(explainer.values, read, sample, asked)
            drawn = functools.partial(explainer.picture, sample, asked)
            found: Any = await in_thread(self._slow, drawn if picture else values)
        self.metrics.samples.labels(served.name).inc()
        return found if picture else {"run": served.name, "version": served.version, **found}

    async def downscale(self, name: str | None, sent: Sent) -> bytes:
        """NetCDF of the fields of a body, made finer; refuses as `predict`."""
        served, lanes = self._version(name)
        served.check_takes(fields=True)
        refiner, lane = served.refiner, lanes.finer
        if refiner is None or lane is None:
            raise RefusedError(400, "other_kind", "The run makes no fields finer.")
        read = functools.partial(self.intake.fields, refiner)
        async with self.intake.admitted(self.gate, sent, read) as (pieces, until):
            fine = await asyncio.gather(*[lane.submit(piece, until) for piece in pieces])
            history = f"convarium serve, run {served.name}, version {served.version}"
            file = functools.partial(refiner.file, pieces[0].coarse, fine, history)
            found = await self.intake.writing(file)
        self.metrics.samples.labels(served.name).inc(sum(len(piece.ids) for piece in pieces))
        return found

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
            now = await in_thread(self._slow, functools.partial(signature_of, folder))
            same = announced(now) == announced(self._current[name][0].signature)
            if changed and (same or now == self._failed.get(name)):
                continue
            try:
                self._take(await in_thread(self._slow, functools.partial(self._open, name)))
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
        for executor in (self._quick, self._slow):
            executor.shutdown(wait=False, cancel_futures=True)
        self.intake.close()

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
        found = open_served(name, self._folders[name], untuned=self._untuned)
        if found.refiner is not None:
            self.intake.expect_fields()
        return found

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
        read = functools.partial(self.intake.samples, served.preprocessing)
        async with self.intake.admitted(self.gate, sent, read) as (samples, until):
            rows = await asyncio.gather(*[lane.submit(sample, until) for _, sample in samples])
        self.metrics.samples.labels(served.name).inc(len(rows))
        return rows
