"""Which arithmetic and memory order trains fastest here: measured once, on the real network.

    a step of few samples, doubled up to half a second -> how long the run will take
    candidates take turns -> the fastest -> its numbers against float32's -> taken, and why

What is decided goes into `config.toml` and every checkpoint, and a resumed run reuses it.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from convarium.data import Parts, Preprocessing, steps_per_epoch
from convarium.graph import Timing, paired_timing
from convarium.measure.kept import Kept
from convarium.processes import ALONE, World
from convarium.progress import duration
from convarium.train.agreement import LOSS_LIMITS
from convarium.train.choices import choices_of, is_open, settled
from convarium.train.config import TrainConfig
from convarium.train.from_config import device_named
from convarium.train.trial import PLAIN, Candidate, Times, Trial, key_of

SHORTEST: Final = 300.0  # seconds of a run that is probed
SHARE: Final = 0.02  # of the run that the probe may take
_LONGEST: Final = 0.5  # seconds of a step
_STEPS: Final = 40  # of the default, that a whole probe is worth at most
_GAIN: Final = 1.03  # times as fast as the default, or the default stays
_HOPELESS: Final = 3.0  # times as slow as the default: is not timed again
_ROUNDS: Final = 8
_COMPILING: Final = 60.0  # seconds that the probe must have for torch.compile to be tried
_VALUES: Final = {"precision": ("fp32", "bf16"), "layout": ("channels_last", "contiguous")}


@dataclass(frozen=True)
class Probe:
    """What was decided, and why.

    Args:
        config: the configuration, with nothing left to decide.
        reason: in words.
        milliseconds: of a step, by candidate; empty where nothing was timed.
        samples: of such a step.
        run_seconds: what the run was expected to take with the defaults; None where not asked.
        seconds: what the probe took.
    """

    config: TrainConfig
    reason: str
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    samples: int = 0
    run_seconds: float | None = None
    seconds: float = 0.0

    def sentence(self) -> str:
        """What was decided, and why, in one sentence."""
        return f"{Candidate(**choices_of(self.config)).label}: {self.reason}"

    def to_mapping(self) -> dict[str, Any]:
        """Reason and figures, as `config.toml` and the card hold them."""
        values = {key: value for key, value in dataclasses.asdict(self).items() if key != "config"}
        return {key: value for key, value in values.items() if value not in (None, {}, 0)}


def probe(
    model: nn.Module,
    parts: Parts,
    config: TrainConfig,
    *,
    preprocessing: Preprocessing,
    cache: bool | str | Path = True,
    world: World = ALONE,
) -> Probe:
    """Decide what `config` leaves to "auto": precision, layout and, on GPUs, compilation.

    Where the run takes five minutes or more, steps of a copy are timed in each arithmetic, on a
    batch that is cut to half a second and less, for up to 2 % of the run. The fastest is taken if
    it is 3 % faster than float32 in channels_last order, and if its numbers agree with float32's.
    The network and all random numbers stay as they are. The decision depends on the machine, so
    train with `config` of the result, and resume with the same.

    Args:
        model: the network.
        parts: the samples.
        config: how to train.
        preprocessing: fitted on `parts.train`.
        cache: where times are kept for the next run: True for the user's cache folder, False for
            nowhere, or a folder.
        world: the processes that share each batch; the first one measures, for all.
    """
    if not is_open(config):
        return Probe(config, "as given")
    found = None
    if world.first:
        devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices=devices):
            found = _Search(model, parts, config, preprocessing, Kept(cache), world).probe()
    shared = world.share(found)
    return Probe(settled(config), "not asked") if shared is None else shared


def decided(
    found: Probe | None,
    model: nn.Module,
    parts: Parts,
    config: TrainConfig,
    preprocessing: Preprocessing,
    world: World = ALONE,
) -> Probe:
    """What was found before, for this configuration; None probes now."""
    if found is None:
        return probe(model, parts, config, preprocessing=preprocessing, world=world)
    return dataclasses.replace(found, config=settled(config, choices_of(found.config)))


class _Search:
    """A probe under way."""

    def __init__(
        self,
        model: nn.Module,
        parts: Parts,
        config: TrainConfig,
        preprocessing: Preprocessing,
        kept: Kept,
        world: World,
    ) -> None:
        self.model, self.parts, self.config = model, parts, config
        self.preprocessing, self.kept, self.world = preprocessing, kept, world
        self.device = device_named(config.device)
        self.start = time.monotonic()
        self.candidates = _candidates(config)
        self.default = self.candidates[0]
        self.samples = (
            config.epochs * config.batch_size * steps_per_epoch(parts.train, config.batch_size)
        )

    def probe(self) -> Probe:
        """What is decided."""
        if len(self.candidates) == 1 and not self._may_compile:
            return self._found(self.default, "as given, and as it is by default")
        try:
            return self._measured()
        except torch.OutOfMemoryError:
            return self._found(self.default, "the default, since there is no memory for a probe")

    def _measured(self) -> Probe:
        trial = Trial(self.model, self.parts, self.config, self.preprocessing, self.world)
        key = key_of(self.model, self.config, self.preprocessing, self.world, self.device)
        times = Times.kept(self.kept.get("probe", key), [each.label for each in self.candidates])
        if times is None:
            step = self._grow(trial)
        else:
            trial.samples = times.samples
            step = times.milliseconds[self.default.label] / 1e3
        run = self._run_seconds(step, trial.samples)
        if run < SHORTEST:
            return self._found(
                self.default,
                f"the default, since the run may take {duration(run)}, and runs of less than "
                f"{SHORTEST / 60:g} minutes are not probed",
                run_seconds=run,
            )
        if times is None:
            if _STEPS * step > self._left(run):
                reason = (
                    f"the default, since a step of {trial.samples} samples takes {step:.2g} s, "
                    f"too long for a probe of {SHARE:.0%} of the run"
                )
                return self._found(self.default, reason, run_seconds=run)
            times = self._timed(trial, self._left(run) - 14 * step)
            if times.quiet:
                self.kept.put("probe", key, dataclasses.asdict(times))
        chosen, reason = self._chosen(trial, times)
        if self._may_compile and self._left(run) > _COMPILING:
            chosen, reason = self._compiled(trial, times, chosen, reason)
        return self._found(chosen, reason, times, run)

    @property
    def _may_compile(self) -> bool:
        return self.device.type == "cuda" and self.config.compile == "auto"

    def _grow(self, trial: Trial) -> float:
        """Double the samples of a step as far as its time allows; gives the seconds of a step."""
        trial.step(self.default)  # finds memory and algorithms
        step = trial.seconds(self.default)
        while trial.samples < trial.most:
            run = self._run_seconds(step, trial.samples)
            if run < SHORTEST or 2 * step > min(_LONGEST, self._left(run) / _STEPS):
                break
            trial.samples = min(2 * trial.samples, trial.most)
            step = trial.seconds(self.default)
        return step

    def _timed(self, trial: Trial, seconds: float) -> Times:
        """The candidates in turns, but for those that are hopeless at once."""
        warm = {}
        for candidate in self.candidates:
            trial.step(candidate)
            warm[candidate.label] = trial.seconds(candidate)
        most = _HOPELESS * warm[self.default.label]
        calls = {
            candidate.label: functools.partial(trial.step, candidate)
            for candidate in self.candidates
            if warm[candidate.label] <= most
        }
        found = paired_timing(
            calls, rounds=_ROUNDS, warmup=0, seconds=max(1e-3, seconds), synchronize=trial.wait
        )
        for label, slow in warm.items():
            found.setdefault(label, Timing((slow,) * found[self.default.label].n))
        return Times.of(trial.samples, found, self.default)

    def _chosen(self, trial: Trial, times: Times) -> tuple[Candidate, str]:
        """The fastest whose numbers agree, if it is fast enough; and why."""
        refused = ""
        for candidate in sorted(self.candidates, key=lambda each: -times.speeds[each.label]):
            if times.speeds[candidate.label] < _GAIN:
                break
            if candidate == PLAIN:
                return candidate, times.sentence(candidate, self.default) + refused
            agrees = trial.agreement(candidate)
            if agrees.holds:
                return candidate, times.sentence(candidate, self.default) + (
                    f"; its layers are within {agrees.layers:.2g} of float32's{refused}"
                )
            refused += f"; {candidate.label} is refused: {agrees.sentence()}"
        return self.default, (
            f"the default, since nothing with the same numbers was {_GAIN - 1:.0%} faster{refused}"
        )

    def _compiled(
        self, trial: Trial, times: Times, eager: Candidate, reason: str
    ) -> tuple[Candidate, str]:
        """The same compiled, if that is faster and gives the same loss."""
        compiled = eager._replace(compile="on")
        try:
            losses = [trial.step(each) for each in (eager, compiled)]
            found = paired_timing(
                {each.label: functools.partial(trial.step, each) for each in (eager, compiled)},
                rounds=_ROUNDS,
                synchronize=trial.wait,
            )
        except RuntimeError as error:  # no compiler, or an operation that it does not know
            return eager, f"{reason}; torch.compile failed ({type(error).__name__})"
        times.add(compiled, found[compiled.label], found[eager.label], eager)
        if not math.isclose(*losses, rel_tol=LOSS_LIMITS[eager.precision]):
            return eager, f"{reason}; compiled, the loss was {losses[1]:.4g}, not {losses[0]:.4g}"
        if times.speeds[compiled.label] < _GAIN * times.speeds[eager.label]:
            return eager, f"{reason}; compiled it was not {_GAIN - 1:.0%} faster"
        return compiled, times.sentence(compiled, self.default)

    def _run_seconds(self, step: float, samples: int) -> float:
        """What the whole run takes at this speed, in this process."""
        if self.config.time_budget is not None:
            return self.config.time_budget
        return step / samples * self.samples / self.world.size

    def _left(self, run: float) -> float:
        """Seconds that the probe may still take."""
        return SHARE * run - (time.monotonic() - self.start)

    def _found(
        self,
        chosen: Candidate,
        reason: str,
        times: Times | None = None,
        run_seconds: float | None = None,
    ) -> Probe:
        return Probe(
            config=settled(self.config, chosen._asdict()),
            reason=reason,
            milliseconds={} if times is None else times.milliseconds,
            samples=0 if times is None else times.samples,
            run_seconds=None if run_seconds is None else round(run_seconds, 1),
            seconds=round(time.monotonic() - self.start, 3),
        )


def _candidates(config: TrainConfig) -> list[Candidate]:
    """What may be taken for each "auto", but for compilation; the default comes first."""
    values = choices_of(config)
    choices = [_VALUES[name] if values[name] == "auto" else (values[name],) for name in _VALUES]
    return [
        Candidate(precision, layout, "off") for precision, layout in itertools.product(*choices)
    ]
