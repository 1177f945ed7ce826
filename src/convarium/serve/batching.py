"""Dynamic batches: what comes while a batch is computed makes up the next one.

So a lone sample waits for nobody, and under load batches fill by themselves. One thread computes.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

from convarium.serve.refusals import busy

Sample = TypeVar("Sample")
Answer = TypeVar("Answer")


@dataclass(frozen=True, eq=False)
class _Waiting(Generic[Sample, Answer]):
    """A sample, when its answer must be there, and where it is awaited."""

    sample: Sample
    until: float
    answer: asyncio.Future[Answer]


class Batcher(Generic[Sample, Answer]):
    """Gathers samples into batches.

    What is late when its turn comes is not computed. Where a batch fails, each of its samples is
    computed alone, so that one of them cannot spoil the others' answers.

    Args:
        compute: gives as many answers as it is given samples.
        executor: whose thread computes; several batchers may share one.
        most: samples of a batch, at most.
        wait: seconds that a batch which is not full waits for more.
        told: is told the size of each batch.
        clock: gives seconds, those of `until`.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Sample]], Sequence[Answer]],
        executor: Executor,
        *,
        most: int,
        wait: float = 0.0,
        told: Callable[[int], None] = lambda size: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.compute, self.executor = compute, executor
        self.most, self.wait, self.told = most, wait, told
        self._clock = clock
        self._queue: deque[_Waiting[Sample, Answer]] = deque()
        self._work: asyncio.Task[None] | None = None

    async def submit(self, sample: Sample, until: float) -> Answer:
        """The answer for one sample.

        Args:
            sample: as `compute` takes it.
            until: when it is too late.

        Raises:
            RefusedError: 503, it was too late when its turn came.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(sample, until, answer))
        if self._work is None:
            self._work = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        """Batch after batch until nothing waits."""
        try:
            while self._queue:
                if self.wait and len(self._queue) < self.most:
                    await asyncio.sleep(self.wait)
                batch = self._taken()
                if batch:
                    self.told(len(batch))
                    await self._answer(batch)
        finally:
            self._work = None

    def _taken(self) -> list[_Waiting[Sample, Answer]]:
        """The next batch, without those that nobody awaits any more and those that are late."""
        batch: list[_Waiting[Sample, Answer]] = []
        while self._queue and len(batch) < self.most:
            waiting = self._queue.popleft()
            if waiting.answer.done():
                continue
            if self._clock() > waiting.until:
                late = busy("late", "The deadline passed before its turn; come again later.", 1.0)
                waiting.answer.set_exception(late)
            else:
                batch.append(waiting)
        return batch

    async def _answer(self, batch: list[_Waiting[Sample, Answer]]) -> None:
        loop = asyncio.get_running_loop()
        samples = [waiting.sample for waiting in batch]
        try:
            answers = await loop.run_in_executor(self.executor, self.compute, samples)
            pairs = list(zip(batch, answers, strict=True))
        except Exception as error:
            if len(batch) == 1:
                _settle(batch[0].answer, error)
                return
            for waiting in batch:
                if not waiting.answer.done():
                    await self._answer([waiting])
            return
        for waiting, answer in pairs:
            _settle(waiting.answer, answer)


def _settle(future: asyncio.Future[Answer], result: Answer | Exception) -> None:
    """Tell a result to whoever awaits it; nobody does where the deadline came first."""
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
