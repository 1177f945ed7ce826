"""Ways to compute a training step, and how long steps in each of them took."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
from torch import nn

from convarium import models
from convarium.data import Preprocessing
from convarium.data.batch import memory_order
from convarium.graph import Timing
from convarium.measure.kept import code
from convarium.measure.running import processor
from convarium.processes import World
from convarium.train.choices import DEFAULTS
from convarium.train.config import TrainConfig
from convarium.train.determinism import switches

_NOISY: Final = 1.25  # times the median, that one step in ten takes where other work disturbs


class Candidate(NamedTuple):
    """One way to compute a step.

    >>> Candidate("bf16", "contiguous", "off").label
    'bf16 contiguous'
    """

    precision: str
    layout: str
    compile: str

    @property
    def label(self) -> str:
        """The way in a few words."""
        compiled = ["compiled"] if self.compile == "on" else []
        return " ".join([self.precision, self.layout, *compiled])


PLAIN: Final = Candidate("fp32", "contiguous", "off")  # whose numbers the others are held against


def candidates_of(
    config: TrainConfig, input_shape: Sequence[int], device: torch.device
) -> list[Candidate]:
    """What may be taken for each "auto", but for compilation; the default comes first.

    Series have one memory order, and a processor without instructions for it is not given bf16.
    """
    precisions, layouts = ["fp32", "bf16"], ["channels_last", "contiguous"]
    if len({memory_order(layout, input_shape) for layout in layouts}) == 1:
        del layouts[1:]
    if device.type == "cpu" and not _has_bf16():
        del precisions[1:]
    precisions = precisions if config.precision == "auto" else [config.precision]
    layouts = layouts if config.layout == "auto" else [config.layout]
    return [Candidate(*pair, "off") for pair in itertools.product(precisions, layouts)]


def _has_bf16() -> bool:
    """Whether convolutions on this processor have kernels for bf16."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@dataclass
class Times:
    """How long steps of the same few samples took.

    Args:
        samples: of a step.
        milliseconds: medians by candidate.
        speeds: how many times as fast as the default, by candidate, from steps side by side.
        quiet: whether nothing else seems to have disturbed them.
    """

    samples: int
    milliseconds: dict[str, float]
    speeds: dict[str, float]
    quiet: bool = True

    @classmethod
    def of(cls, samples: int, timings: Mapping[str, Timing], default: Candidate) -> Times:
        """The times of candidates that took turns.

        A speed is the median over the rounds, or the ratio of the shortest steps where that is
        smaller: other work on the machine only ever adds, and seldom to both alike.
        """
        base = timings[default.label]
        speeds = {
            label: min(base.ratio(timing), min(base.seconds) / min(timing.seconds))
            for label, timing in timings.items()
        }
        milliseconds = {label: round(1e3 * each.median, 3) for label, each in timings.items()}
        return cls(samples, milliseconds, speeds, base.percentile(90) < _NOISY * base.median)

    @classmethod
    def kept(cls, found: Any, candidates: Sequence[Candidate], most: int) -> Times | None:
        """Times that were kept, if they are whole.

        Args:
            found: what was kept.
            candidates: of which the first one has a time, and the others may have one.
            most: samples of a step.
        """
        try:
            times = cls(**found)
            numbers = [*times.milliseconds.values(), *times.speeds.values()]
            whole = all(math.isfinite(number) and number > 0 for number in numbers)
            timed = times.milliseconds.keys()
        except (AttributeError, TypeError):
            return None
        whole = whole and candidates[0].label in timed and timed == times.speeds.keys()
        whole = whole and timed <= {candidate.label for candidate in candidates}
        return (
            times if whole and type(times.samples) is int and 2 <= times.samples <= most else None
        )

    def add(self, candidate: Candidate, timing: Timing, other: Timing, beside: Candidate) -> None:
        """One more candidate, timed side by side with another one that was timed before."""
        self.milliseconds[candidate.label] = round(1e3 * timing.median, 3)
        self.speeds[candidate.label] = self.speeds[beside.label] * other.ratio(timing)

    def sentence(self, candidate: Candidate, default: Candidate) -> str:
        """How much faster a candidate is than the default."""
        own, other = (self.milliseconds[each.label] for each in (candidate, default))
        return (
            f"{self.speeds[candidate.label]:.2f} times as fast as {default.label}, "
            f"{own:.3g} against {other:.3g} ms for {self.samples} samples"
        )


def key_of(
    model: nn.Module,
    config: TrainConfig,
    preprocessing: Preprocessing,
    world: World,
    device: torch.device,
) -> dict[str, Any]:
    """What the times of a network's steps depend on, as far as a program can see it."""
    network: list[Any] = ["", repr(model)]
    if isinstance(model, models.Network) and model.name is not None:
        network = [model.name, dict(model.config)]
    weights = [(name, list(p.shape), p.requires_grad) for name, p in model.named_parameters()]
    whole = json.dumps([network, weights], default=repr)
    return {
        "network": hashlib.sha256(whole.encode()).hexdigest(),
        "input_shape": list(preprocessing.input_shape),
        "batch": [config.batch_size, config.accumulate, world.size],
        "choices": [getattr(config, name) for name in DEFAULTS],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "processor": [processor(), torch.backends.cpu.get_cpu_capability(), os.cpu_count()],
        "threads": torch.get_num_threads(),
        "torch": [torch.__version__, *switches().values(), config.deterministic],
        "code": code("layers", "models", "train"),
    }
