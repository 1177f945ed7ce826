"""How many samples fit into memory at once: tried on a GPU, worked out on the processor."""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from convarium import measure
from convarium.data import Batch, Parts, Preprocessing
from convarium.errors import ConvariumError, OptionError
from convarium.processes import ALONE
from convarium.train.config import TrainConfig
from convarium.train.learner import Learner

_NUMBERS = {"adamw": 2, "sgd": 1, "muon": 2}  # that an optimiser keeps for each parameter
_SHARE = 0.8  # of the free memory of the processor that a network may take


@dataclass(frozen=True)
class LargestBatch:
    """How many samples a training step can take.

    Args:
        size: samples that fit at once; at most those of the training part.
        tried: whether steps were tried, or memory was worked out.
        memory: bytes that were free; None where steps were tried.
    """

    size: int
    tried: bool
    memory: int | None

    def sentence(self) -> str:
        """The result, and what to do with it."""
        way = "tried here" if self.tried else f"worked out for {_bytes(self.memory or 0)} of memory"
        return (
            f"up to {self.size} samples fit at once ({way}); larger batches need accumulate, the "
            "parts that a batch is divided into"
        )


def largest_batch(
    model: nn.Module,
    parts: Parts,
    config: TrainConfig | None = None,
    *,
    preprocessing: Preprocessing,
    memory: int | None = None,
) -> LargestBatch:
    """The most samples that a training step can take at once.

    On a GPU, steps of a copy are tried: doubled until the memory ends, then bisected. On the
    processor, where too large a step ends the process, `measure.cost` works the memory out.

    Args:
        model: the network; it stays as it is.
        parts: whose training part bounds the result.
        config: the optimiser, the precision and the device count.
        preprocessing: fitted on `parts.train`.
        memory: bytes that may be taken, instead of trying; None means 80 % of what is free.

    Raises:
        OptionError: not even the smallest batch fits.
    """
    config = TrainConfig() if config is None else config
    with torch.random.fork_rng(devices=_gpus()):
        learner = Learner(copy.deepcopy(model), parts, config, preprocessing)
        most = len(parts.train)
        if memory is None and learner.device.type == "cuda":
            size = largest(lambda n: _step_fits(learner, n), most)
            return _checked(LargestBatch(size, True, None))
    memory = int(_SHARE * free_memory()) if memory is None else memory
    shape = (1, *preprocessing.input_shape)
    copies = _NUMBERS[config.optimizer] + 1 + (config.ema is not None)  # 1: the best weights
    found = measure.cost(learner.model, shape).largest_batch(memory, optimizer=copies)
    return _checked(LargestBatch(min(found, most), False, memory))


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number from 1 to `most` that fits, by doubling and bisection; 0 if none does.

    >>> largest(lambda n: n <= 37, 100), largest(lambda n: True, 100), largest(lambda n: False, 9)
    (37, 100, 0)
    """
    good, bad = 0, 1
    while bad <= most and fits(bad):
        good, bad = bad, 2 * bad
    bad = min(bad, most + 1)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


def out_of_memory(learner: Learner, folder: Path | None) -> ConvariumError:
    """The error of a step that did not fit, with what would fit."""
    config, most = learner.config, len(learner.parts.train)
    learner.optimizer.zero_grad()
    own = -(-config.batch_size // learner.world.size)
    most = min(most, -(-own // config.accumulate) - 1)  # since that many did not
    size = largest(lambda n: _step_fits(learner, n, update=False), most)
    kept = "" if folder is None else f" The last good checkpoint stays in {folder}."
    if size < 2:
        return ConvariumError(
            f"Not even two samples fit into the memory; choose smaller images or a smaller "
            f"network.{kept}"
        )
    parts = -(-own // size)
    return ConvariumError(
        f"batch_size (={config.batch_size}) in {config.accumulate} "
        f"part{'s' * (config.accumulate > 1)} does not fit into the memory, {size} samples at once "
        f"do; use accumulate={parts} (--accumulate {parts}) in a new run.{kept}"
    )


def free_memory() -> int:
    """Bytes that this process may still take: of the machine, and of its control group."""
    free = [os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        named = dict(line.split(":", 1) for line in lines)
        free = [int(named["MemAvailable"].split()[0]) * 1024]
    except (OSError, KeyError, ValueError):
        pass
    try:
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        used = (group / "memory.current").read_text(encoding="ascii").strip()
        free.append(int(limit) - int(used))
    except (OSError, ValueError):  # no such group, or no limit: "max"
        pass
    return max(0, min(free))


def _step_fits(learner: Learner, size: int, *, update: bool = True) -> bool:
    """Whether one training step on so many samples has room."""
    part, size = learner.parts.train.probe, max(2, size)  # batch norms take no single sample
    ids = part.ids[np.arange(size) % len(part)]
    inputs = learner.preprocessing.example(size)
    targets = None if part.dataset.targets is None else torch.from_numpy(part.dataset.targets[ids])
    batch = Batch(
        inputs=(inputs,), target=targets, mask=None, index=torch.from_numpy(ids), weight=None
    )
    learner.model.train()
    try:
        alone = dataclasses.replace(learner.passes, world=ALONE)  # others may be elsewhere
        alone.backward(learner.model, batch, epoch=0, step=0)
        if update:
            learner.optimizer.step()
    except torch.OutOfMemoryError:
        return False
    finally:
        learner.optimizer.zero_grad()
        if learner.device.type == "cuda":
            torch.cuda.empty_cache()
    return True


def _checked(found: LargestBatch) -> LargestBatch:
    if found.size < 1:
        raise OptionError(
            "Not a single sample fits into the memory; choose smaller images or a smaller network."
        )
    return found


def _gpus() -> list[int]:
    return list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []


def _bytes(number: int) -> str:
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"
