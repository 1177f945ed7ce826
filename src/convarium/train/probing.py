"""Which arithmetic and memory order trains fastest here: measured once, on the real network.

    a step of few samples, doubled up to half a second -> how long the run will take
    candidates take turns -> the fastest -> its numbers against float32's -> taken, and why
    what fails, or is several times as slow on few samples, takes no turn

What is decided goes into `config.toml` and every checkpoint, and a resumed run reuses it.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from convarium.data import Parts, Preprocessing, steps_per_epoch
from convarium.measure.kept import Kept
from convarium.predict.halving import NoSampleFitsError
from convarium.processes import ALONE, World
from convarium.progress import duration
from convarium.train.agreement import LOSS_LIMITS
from convarium.train.candidates import PLAIN, Candidate, Times, candidates_of, key_of
from convarium.train.choices import choices_of, is_open, settled
from convarium.train.config import TrainConfig
from convarium.train.determinism import deterministic
from convarium.train.from_config import device_named
from convarium.train.growing import mean_area
from convarium.train.trial import Trial

SHORTEST: Final = 300.0  # seconds of a run that is probed
SHARE: Final = 0.02  # of the run that the probe may take
_LONGEST: Final = 0.5  # seconds of a step
_STEPS: Final = 40  # of the default, that a whole probe is worth at most
_GAIN: Final = 1.03  # times as fast as the default, or the default stays
_CHECKS: Final = 14  # of the steps, that are left for the checks of numbers
_COMPILING: Final = 60.0  # seconds that the probe must have for torch.compile to be tried
_NORMS: Final = 0.25  # relative difference of a compiled network's gradient, in its norm


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
    What the network cannot compute in is left out, channels_last order too. The network and all
    random numbers stay as they are. The decision depends on the machine, so
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
        with torch.random.fork_rng(devices=devices), deterministic(config.deterministic):
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
        self.candidates = candidates_of(config, preprocessing.input_shape, self.device)
        self.default = self.candidates[0]
        self.refused: Mapping[Candidate, str] = {}
        steps = config.epochs * steps_per_epoch(parts.train, config.batch_size)
        area = mean_area(config.start_size, len(preprocessing.input_shape) - 1)
        self.samples = (
            area * config.batch_size * steps
        )  # of the whole size, at which steps are timed

    def probe(self) -> Probe:
        """What is decided."""
        if len(self.candidates) == 1 and not self._may_compile:
            return self._found(self.default, "as given, and as it is by default")
        try:
            return self._measured()
        except (torch.OutOfMemoryError, NoSampleFitsError):
            return self._found(self.default, "the default, since there is no memory for a probe")
        finally:
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _measured(self) -> Probe:
        trial = Trial(self.model, self.parts, self.config, self.preprocessing, self.world)
        self.refused = trial.refused
        working = next(filter(trial.works, self.candidates), None)
        if working is None:
            trial.step(self.default)  # training cannot take it either, and says the same
        else:
            self.default = working
        self.candidates = [each for each in self.candidates if each not in self.refused]
        few = step = trial.seconds(self.default)
        key = key_of(self.model, self.config, self.preprocessing, self.world, self.device)
        times = Times.kept(self.kept.get("probe", key), self.candidates, trial.most)
        if times is None:
            step = self._grow(trial, step)
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
            seconds = self._left(run) - _CHECKS * step
            found = trial.turns(self.candidates, few, seconds)
            times = Times.of(trial.samples, found, self.default)
            if times.quiet:
                self.kept.put("probe", key, dataclasses.asdict(times))
        chosen, reason = self._chosen(trial, times)
        if self._may_compile and self._left(run) > _COMPILING:
            chosen, reason = self._compiled(trial, times, chosen, reason)
        return self._found(chosen, reason, times, run)

    @property
    def _may_compile(self) -> bool:
        return self.device.type == "cuda" and self.config.compile == "auto"

    def _grow(self, trial: Trial, step: float) -> float:
        """Double the samples of a step as far as its time allows; gives the seconds of a step."""
        while trial.samples < trial.most:
            run = self._run_seconds(step, trial.samples)
            if run < SHORTEST or 2 * step > min(_LONGEST, self._left(run) / _STEPS):
                break
            trial.samples = min(2 * trial.samples, trial.most)
            step = trial.seconds(self.default)
        return step

    def _chosen(self, trial: Trial, times: Times) -> tuple[Candidate, str]:
        """The fastest whose numbers agree, if it is fast enough; and why."""
        timed = [each for each in self.candidates if each.label in times.speeds]
        for candidate in sorted(timed, key=lambda each: -times.speeds[each.label]):
            if times.speeds[candidate.label] < _GAIN:
                break
            if candidate == PLAIN:
                return candidate, times.sentence(candidate, self.default)
            agrees = trial.agreement(candidate)
            if agrees is not None and agrees.holds:
                return candidate, times.sentence(candidate, self.default) + (
                    f"; its layers are within {agrees.layers:.2g} of float32's"
                )
        return self.default, (
            f"the default, since nothing with the same numbers was {_GAIN - 1:.0%} faster"
        )

    def _compiled(
        self, trial: Trial, times: Times, eager: Candidate, reason: str
    ) -> tuple[Candidate, str]:
        """The same compiled, if that is faster and gives the same loss and size of gradient."""
        both = (eager, eager._replace(compile="on"))
        limits = (LOSS_LIMITS[eager.precision], _NORMS)
        try:
            with trial.without_chance(eager.layout):
                numbers = [trial.numbers(each) for each in both]
                found = trial.timed(both, math.inf)
        except RuntimeError as error:  # no compiler, or an operation that it does not know
            return eager, f"{reason}; torch.compile failed ({type(error).__name__})"
        finally:
            torch.compiler.reset()  # or the run would be compiled for the sizes seen here as well
        compiled = both[1]
        times.add(compiled, found[compiled.label], found[eager.label], eager)
        for name, one, other, limit in zip(("loss", "gradient"), *numbers, limits, strict=True):
            if not math.isclose(one, other, rel_tol=limit):
                return eager, f"{reason}; compiled, the {name} was {other:.4g}, not {one:.4g}"
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
        refused = "".join(f"; {each.label} {why}" for each, why in self.refused.items())
        return Probe(
            config=settled(self.config, chosen._asdict()),
            reason=reason + refused,
            milliseconds={} if times is None else times.milliseconds,
            samples=0 if times is None else times.samples,
            run_seconds=None if run_seconds is None else round(run_seconds, 1),
            seconds=round(time.monotonic() - self.start, 3),
        )
