"""Several processes that work as one: who they are, and what they tell one another.

    torchrun: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT -> joined() -> World

A job of one process is a world of size 1, in which nothing is sent and no process group is made.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from convarium.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

_PATIENCE = datetime.timedelta(hours=24)  # the first process may read, pack or test for hours
_MESSAGE = 25 * 2**20  # bytes
_LOST = (
    "connection closed",
    "connection reset",
    "connection refused",
    "broken pipe",
    "gloo",
    "nccl",
)


@dataclass(frozen=True)
class World:
    """The processes of a job, seen from one of them.

    Args:
        rank: number of this process.
        size: how many there are.
        local_rank: number of this process on its machine, which chooses its GPU.

    >>> World().first, World().sum(1.5, 2.0), World().gather("here")
    (True, [1.5, 2.0], ['here'])
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and talks."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    def sum(self, *values: float) -> list[float]:
        """The sums over all processes, in double precision; the same bits in each.

        Raises:
            RunError: another process has ended.
        """
        if self.alone:
            return list(values)
        import torch
        from torch import distributed

        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        total = torch.tensor(values, dtype=torch.float64, device=device)
        with self.together():
            distributed.all_reduce(total)
        return list(total.tolist())

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, a few large messages at a time.

        Raises:
            RunError: another process has ended.
        """
        from torch import distributed

        def send(flat: Tensor) -> None:
            distributed.all_reduce(flat)

        self._in_messages(tensors, send)

    def follow_first(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by that of the first process.

        Raises:
            RunError: another process has ended.
        """
        from torch import distributed

        def send(flat: Tensor) -> None:
            distributed.broadcast(flat, src=0)

        self._in_messages(tensors, send)

    def gather(self, value: T) -> list[T]:
        """Every process's value, in the order of the ranks.

        Raises:
            RunError: another process has ended.
        """
        if self.alone:
            return [value]
        from torch import distributed

        values: list[T] = [value] * self.size
        with self.together():
            distributed.all_gather_object(values, value)
        return values

    def share(self, value: T) -> T:
        """The first process's value, in every process.

        Raises:
            RunError: another process has ended.
        """
        if self.alone:
            return value
        from torch import distributed

        box = [value]
        with self.together():
            distributed.broadcast_object_list(box, src=0)
        return box[0]

    def _in_messages(self, tensors: Sequence[Tensor], send: Callable[[Tensor], None]) -> None:
        """Send tensors of one kind together, and put back what came."""
        if self.alone:
            return
        import torch

        for message in _messages(tensors):
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in message])
            with self.together():
                send(flat)
            parts = torch.split(flat, [tensor.numel() for tensor in message])
            for tensor, part in zip(message, parts, strict=True):
                tensor.detach().copy_(part.view_as(tensor))

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Inside, an error of the connection to another process becomes one sentence.

        Raises:
            RunError: another process has ended.
        """
        try:
            yield
        except RuntimeError as error:
            if self.alone or not any(word in str(error).lower() for word in _LOST):
                raise
            raise RunError(
                f"Another process of the job ended, so process {self.rank} of {self.size} stops "
                "too; start the same command again with --resume."
            ) from error


ALONE = World()


@contextlib.contextmanager
def joined() -> Iterator[World]:
    """The world that torchrun's environment describes; a world of one where there is none.

    Tensors on GPUs go through NCCL where every process has a GPU of its own, and all else through
    gloo. A process group that exists already is used and left as it is.

    Raises:
        RunError: the environment is incomplete, or the other processes cannot be reached.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield ALONE
        return
    world = _described()
    if world.alone:
        yield ALONE
        return
    import torch
    from torch import distributed

    started = not distributed.is_initialized()
    if started:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", world.local_rank + 1))
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if gpus:
            torch.cuda.set_device(world.local_rank % gpus)
        backend = "cpu:gloo,cuda:nccl" if gpus >= local else "gloo"
        try:
            distributed.init_process_group(backend, timeout=_PATIENCE)
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(f"The job's processes cannot meet: {reason}.") from error
    try:
        yield world
    finally:
        if started:
            distributed.destroy_process_group()


def _messages(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one type and device, in order, up to so many bytes together."""
    kinds: dict[object, list[Tensor]] = {}
    for tensor in tensors:
        message = kinds.setdefault((tensor.dtype, tensor.device), [])
        if message and sum(t.nbytes for t in message) + tensor.nbytes > _MESSAGE:
            yield list(message)
            message.clear()
        message.append(tensor)
    yield from filter(None, kinds.values())


def _described() -> World:
    """The world of the environment's variables."""
    try:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        world = World(rank, size, int(os.environ.get("LOCAL_RANK", rank)))
    except ValueError as error:
        raise RunError(
            f"RANK, WORLD_SIZE and LOCAL_RANK must be whole numbers ({error}); start the job with "
            "torchrun."
        ) from error
    if not 0 <= world.rank < world.size:
        raise RunError(
            f"RANK (={world.rank}) must be from 0 to WORLD_SIZE - 1 (={world.size - 1})."
        )
    return world
