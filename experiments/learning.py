"""A plain training loop on tensors, for experiments whose data is drawn and needs no files.

batches of f(seed, epoch) -> forward -> loss -> backward -> clip -> Adam
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]


def set_seed(seed: int) -> None:
    """One thread, and initial weights that follow from the seed."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)


def learn(
    model: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    loss: Loss,
    *,
    steps: int,
    rate: float = 1e-3,
    clip: float | None = None,
    watch: Callable[[int], None] | None = None,
    every: int = 100,
) -> float:
    """Take so many steps of Adam, whose rate falls along half a cosine; gives the processor's time.

    On one thread that is what a core takes of which nobody else asks anything, in seconds.

    Args:
        model: is changed in place.
        batches: inputs and targets, as many as there are steps.
        loss: of outputs and targets.
        steps: how many.
        rate: the first learning rate.
        clip: the largest norm of a gradient; None leaves it.
        watch: is told the number of steps that were taken, now and then; its time does not count.
        every: how many steps lie between.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    seconds, start = 0.0, time.process_time()
    for step, (inputs, targets) in zip(range(1, steps + 1), batches, strict=False):
        optimizer.zero_grad(set_to_none=True)
        loss(model(inputs), targets).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        schedule.step()
        if watch is not None and (step % every == 0 or step == steps):
            seconds += time.process_time() - start
            model.eval()
            watch(step)
            model.train()
            start = time.process_time()
    return seconds + time.process_time() - start


def shuffled(
    inputs: Tensor, targets: Tensor, batch: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Whole batches of samples in an order that is drawn for each epoch, without end."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(inputs), generator=generator)
        for start in range(0, len(order) - batch + 1, batch):
            some = order[start : start + batch]
            yield inputs[some], targets[some]


@torch.no_grad()
def outputs(model: nn.Module, inputs: Tensor, batch: int = 256) -> Tensor:
    """What the model gives in evaluation mode, in batches."""
    training = model.training
    model.eval()
    found = torch.cat([model(part) for part in inputs.split(batch)])
    model.train(training)
    return found
