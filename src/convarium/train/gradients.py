"""The gradient of a batch, in one pass or in several parts that take less memory."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from convarium import seeds
from convarium.data import Batch
from convarium.processes import ALONE, World
from convarium.tasks import Objective, Task
from convarium.train.arithmetic import arithmetic


class Computed(NamedTuple):
    """What one batch of all processes gave.

    Args:
        loss: the mean over its samples.
        score_sum: the sum of their scores.
        samples: their number.
    """

    loss: float
    score_sum: float
    samples: int


@dataclasses.dataclass(frozen=True)
class Pass:
    """How a batch goes through a network.

    Args:
        task: knows the loss.
        objective: what is minimised.
        device: where to compute.
        memory_format: memory order of the inputs.
        precision: "fp32" or "bf16".
        accumulate: into how many parts a batch is divided.
        seed: of the dropout.
        world: the processes that share each batch.
        slow: layers that compute in float32 in any precision.
        in_step: whether all processes take the same number of parts, empty ones among them, since
            their norms wait for one another.
    """

    task: Task
    objective: Objective
    device: torch.device
    memory_format: torch.memory_format
    precision: str
    accumulate: int
    seed: int
    world: World = ALONE
    slow: tuple[nn.Module, ...] = ()
    in_step: bool = False

    def backward(
        self, model: nn.Module, batch: Batch, *, epoch: int, step: int, turn: int = 0
    ) -> Computed:
        """Add the gradient of the batch's mean loss to the parameters' `grad`.

        The mean over the batch is the sum over its parts of (n_k / n) times the mean of part k, and
        n counts the samples of all processes, whose gradients are added up. Part k of step t draws
        its dropout from (seed, epoch, t times the parts + k), and from the rank above 0.

        Args:
            epoch: number of the epoch, from 0.
            step: number of the step in it, from 0.
            turn: rows of the training before the batch, for networks whose members take turns.
        """
        loss_sum = score_sum = 0.0
        (total,) = self.world.sum(len(batch))
        rank = () if self.world.first else (self.world.rank,)
        for number, part in enumerate(parts_of(batch, self.accumulate, exactly=self.in_step)):
            micro_step = step * self.accumulate + number
            seeds.torch_seed(self.device, self.seed, "dropout", epoch, micro_step, *rank)
            part = part.to(self.device)
            if not len(part):  # nothing to learn; but the norms of other processes wait
                (model(*part.arguments, **part.named).sum() * 0).backward()
                continue
            outputs = self.outputs(model, part, turn)
            turn += len(part)
            loss = self.task.loss(outputs, part, self.objective)
            share = len(part) / total
            (loss * share if share < 1 else loss).backward()  # type: ignore[no-untyped-call]
            loss_sum += loss.item() * share
            score_sum += self.task.score_sum(outputs.detach(), part).item()
        self.world.add_up(self._gradients(model))
        loss_sum, score_sum = self.world.sum(loss_sum, score_sum)
        return Computed(loss_sum, score_sum, int(total))

    def _gradients(self, model: nn.Module) -> list[Tensor]:
        """The gradients that any process has, the same ones in each: zeros where it has none."""
        learning = [p for p in model.parameters() if p.requires_grad]
        if not self.world.alone:
            moved = self.world.sum(*(p.grad is not None for p in learning))
            learning = [p for p, count in zip(learning, moved, strict=True) if count]
        for parameter in learning if not self.world.alone else ():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return [p.grad for p in learning if p.grad is not None]

    def outputs(self, model: nn.Module, batch: Batch, turn: int = 0) -> Tensor:
        """The network's outputs of a batch that is on the device."""
        inputs = tuple(x.contiguous(memory_format=self.memory_format) for x in batch.inputs)
        masks = () if batch.mask is None else (batch.mask,)
        with self.arithmetic():
            outputs: Tensor = model(*inputs, *masks, **batch.named, **whose(model, turn))
        return outputs

    def arithmetic(self) -> contextlib.AbstractContextManager[None]:
        """Inside, the network computes in the precision."""
        return arithmetic(self.device, self.precision, self.slow)


def whose(model: nn.Module, turn: int) -> dict[str, int]:
    """What `forward` takes besides where members take turns: whose it is after so many rows."""
    members = int(getattr(model, "turns", 1))
    return {"turn": turn % members} if members > 1 else {}  # few numbers, each compiled once


def parts_of(batch: Batch, count: int, *, exactly: bool = False) -> Iterator[Batch]:
    """A batch in `count` parts of equal size, as far as its number allows; each has two or more.

    There are `exactly` so many where that is asked for, however few samples they have.

    >>> ids = torch.arange(7)
    >>> whole = Batch(inputs=(ids,), target=ids, mask=None, index=ids, weight=None)
    >>> [part.index.tolist() for part in parts_of(whole, 3)]
    [[0, 1, 2], [3, 4], [5, 6]]
    """
    if not exactly:
        if not len(batch):  # of a few samples, some of many processes have none
            return
        count = max(1, min(count, len(batch) // 2))
    if count == 1:
        yield batch
        return
    size, larger = divmod(len(batch), count)
    start = 0
    for number in range(count):
        stop = start + size + (number < larger)
        yield batch.at(slice(start, stop))
        start = stop
