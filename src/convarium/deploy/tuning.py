"""The fastest form of a network on this machine, among those that are shown to be right.

forms -> make -> verify (equal, or accuracy holds) -> time alone -> the best in turns -> chosen
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from convarium.deploy.accuracy import POINTS, Drop, Labelled, Right, drop, right_answers
from convarium.deploy.forms import FORMS, Form, Forward, Maker
from convarium.deploy.manifest import conditions
from convarium.deploy.picture_files import BATCHES, PictureFiles
from convarium.deploy.reduced_files import ReducedFiles
from convarium.deploy.tuned import END_TO_END, LATE, Choices, TunedForm, Tuning
from convarium.deploy.verification import TOLERANCE, agreement, check_inputs, reference
from convarium.errors import ConvariumError, OptionError, did_you_mean
from convarium.graph import paired_timing, unwrapped
from convarium.progress import Progress

Goal = Literal["latency", "throughput", "end_to_end"]
GOALS: Final = {"latency": 1, "throughput": 16, END_TO_END: 16}

_REDUCED: Final = "reduced JPEGs"
_ALONE: Final = 0.4  # seconds
_TURNS: Final = 4.0
_TURN: Final = 0.06  # several passes of one form: as it is used, with its weights in the cache
_PASSES: Final = 10  # that are enough in a turn
_FINALISTS: Final = 5
_ROUNDS: Final = 60


def tune(
    model: nn.Module,
    folder: str | Path,
    *,
    samples: Tensor,
    calibration: Tensor | None = None,
    labelled: Labelled | None = None,
    smaller: tuple[Labelled, Labelled] | None = None,
    goal: Goal = "latency",
    batch_size: int | None = None,
    engines: Sequence[str] = tuple(FORMS),
    threads: Sequence[int] | None = None,
    streams: Sequence[int] | None = None,
    points: float = POINTS,
    finetune: int = 0,
    pictures: PictureFiles | None = None,
    seconds: float = 600.0,
    card: Mapping[str, Any] | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> Tuning:
    """Make, verify and time every form of a network, and keep the fastest that is right.

    Forms in float32 count if they equal the network within 1e-4 of the largest output; those in
    bf16 and int8 if labelled samples show that accuracy holds (see `quantise`). What cannot be
    made here is skipped with its reason. Each is timed alone; the five fastest then take turns.
    The choice is kept in the folder, beside the files, for this network, machine and versions; a
    second call with the same settings only reads it.

    Args:
        model: in float32.
        folder: for the files and the choice; it is made.
        samples: (N, C, *S) preprocessed real inputs to verify on.
        calibration: training samples for 8-bit forms.
        labelled: batches of inputs and class numbers, validation samples.
        smaller: those of them that come smaller at a reduced scale (`data.reduced`), read whole and
            read so, for the goal "end_to_end": where accuracy is shown to hold on them, files may
            be read so.
        goal: "latency", of one sample; "throughput", of 16 at once; or "end_to_end", of 16 from the
            bytes of `pictures`, which threads decode ahead.
        batch_size: another number of samples in a pass.
        engines: which to try, of eager, folded, compiled, onnx and openvino.
        threads: to try; None tries torch's own number, and half of it for the fastest forms.
        streams: parts of a batch that OpenVINO computes beside each other; None tries one a thread.
        points: of accuracy that may be lost.
        finetune: as `quantise` takes it.
        pictures: where passes begin, for the goal "end_to_end".
        seconds: no form is begun after so many; eager torch always runs.
        card: goes into the files.
        fresh: measure again what was measured before.
        progress: counts the forms.

    Raises:
        OptionError: an unknown goal or engine, numbers that are too small, or pictures that are
            missing or of no use.
        ShapeError: no samples.

    >>> network, folder = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), getfixture("tmp_path")
    >>> found = tune(network, folder, samples=torch.randn(3, 1, 2, 2), engines=["eager", "folded"])
    >>> len(found.rows), found.chosen.difference < 1e-5
    (2, True)
    """
    network = unwrapped(model)
    check_inputs(network, samples, TOLERANCE)
    size = _checked(goal, batch_size, engines, streams, pictures)
    settings = {
        "input": list(samples.shape[1:]),
        "goal": (goal, size, None if pictures is None else pictures.sha256),
        "tried": [each if each is None else list(each) for each in (engines, threads, streams)],
        "points": (points, labelled is not None, smaller is not None, finetune),
    }
    place = Choices(network, Path(folder), fresh=fresh)
    if (known := place.read(settings)) is not None:
        return known
    until = time.monotonic() + seconds
    given = (samples, calibration, labelled, points, finetune, card, until)
    less = None if pictures is None else ReducedFiles(network, pictures, smaller, points)
    search = _Search(Maker(network, Path(folder), *given), size, less, progress)
    search.run(engines, threads, streams)
    result = Tuning(
        rows=tuple(search.ranked()),
        skipped=search.skipped,
        goal=goal,
        batch_size=size,
        input_shape=tuple(samples.shape[1:]),
        folder=Path(folder),
        kept=False,
        conditions=conditions(),
    )
    place.write(settings, result)
    return result


class _Search:
    """Form after form, until all are measured or the time is over."""

    def __init__(
        self,
        maker: Maker,
        batch_size: int,
        less: ReducedFiles | None,
        progress: Progress | None,
    ) -> None:
        self.maker, self.batch_size, self.progress = maker, batch_size, progress
        self.less, self.pictures = less, None if less is None else less.pictures
        self.skipped: dict[str, str] = {}
        self.found: dict[Form, tuple[Forward, TunedForm]] = {}
        self.expected = reference(maker.network, maker.samples)
        again = -(-batch_size // len(maker.samples))
        self.batch = torch.cat([maker.samples] * again)[:batch_size]
        self.before: Right | None = None

    def run(
        self,
        engines: Sequence[str],
        threads: Sequence[int] | None,
        streams: Sequence[int] | None,
    ) -> None:
        """Every engine and precision with all threads; other counts for what is fastest."""
        counts = list(threads or [torch.get_num_threads()])
        forms = [
            Form(engine, precision, counts[0]) for engine in engines for precision in FORMS[engine]
        ]
        if self.progress is not None:
            self.progress.total += len(forms)
        for form in forms:
            self._try(form)
        others = counts[1:] if threads else [counts[0] // 2] if counts[0] > 1 else []
        for form in self._fastest(_FINALISTS):
            for count in others:
                self._try(replace(form, threads=count))
        if self.batch_size > 1:
            self._beside(streams)
        if self.less is not None:
            self._smaller(self.less)

    def _beside(self, streams: Sequence[int] | None) -> None:
        """Parts of a batch beside each other, for the fastest forms that can."""
        able = [form for form in self._fastest(_FINALISTS) if form.engine == "openvino"]
        for form in able:
            counts = [form.threads] if streams is None else streams
            for count in (count for count in counts if 1 < count <= self.batch_size):
                self._try(replace(form, streams=count))

    def _smaller(self, less: ReducedFiles) -> None:
        """Large JPEGs at a reduced scale, for the fastest forms."""
        if less.reason is not None:
            self.skipped[_REDUCED] = less.reason
            return
        for form in self._fastest(_FINALISTS):
            self._try(replace(form, reduced=True))

    def ranked(self) -> list[TunedForm]:
        """All that count, the fastest first; the first five have been timed in turns.

        Raises:
            OptionError: nothing counts.
        """
        if not self.found:
            reasons = "; ".join(f"{label}: {why}" for label, why in self.skipped.items())
            raise OptionError(f"No form of the network can be used here ({reasons}).")
        best = self._fastest(_FINALISTS)
        calls = {form.label: self._call(form, self.found[form][0]) for form in best}
        slowest = max(self.found[form][1].ms for form in best) / 1e3
        turn = min(_TURN, _PASSES * slowest)
        timings = paired_timing(calls, rounds=_ROUNDS, seconds=_TURNS, turn=turn)
        last = [self._timed(self.found[form][1], timings[form.label].median) for form in best]
        rest = [row for form, (_, row) in self.found.items() if form not in best]
        return sorted(last, key=lambda row: row.ms) + sorted(rest, key=lambda row: row.ms)

    def _fastest(self, count: int) -> list[Form]:
        ordered = sorted(self.found.items(), key=lambda item: item[1][1].ms)
        return [form for form, _ in ordered[:count]]

    def _call(self, form: Form, forward: Forward) -> Any:
        if self.pictures is not None:
            given = forward, self.batch_size
            return functools.partial(self.pictures.run, *given, reduced=form.reduced)
        return lambda: forward(self.batch)

    def _try(self, form: Form) -> None:
        """Make, verify and time one form, or note why it is left out."""
        if time.monotonic() > self.maker.until and self.found:
            self.skipped[form.label] = LATE
        else:
            try:
                self._measure(form)
            except ConvariumError as error:
                self.skipped[form.label] = str(error)
        if self.progress is not None:
            self.progress.advance(note=form.label)

    def _measure(self, form: Form) -> None:
        whole = self.maker.make(form, None if form.file else self.batch_size)
        outputs, expected = self._answers(form, whole)
        scale = float(expected.abs().max()) or 1.0
        difference = float((outputs - expected).abs().max()) / scale
        lost = self._lost(form, whole)
        if form.exact and not difference <= TOLERANCE:
            raise OptionError(f"it differs by {difference:.2g} of the largest output")
        if not form.exact and (lost is None or not lost.shown):
            words = "there is no labelled data" if lost is None else lost.sentence()
            raise OptionError(f"it is not shown that accuracy holds: {words}")
        forward = self.maker.make(form, self.batch_size) if form.file else whole
        call = self._call(form, forward)
        timing = paired_timing({"pass": call}, rounds=_ROUNDS, warmup=3, seconds=_ALONE)["pass"]
        row = TunedForm(form, 0.0, 0.0, difference, agreement(outputs, expected), lost)
        self.found[form] = forward, self._timed(row, timing.median)

    def _answers(self, form: Form, forward: Forward) -> tuple[Tensor, Tensor]:
        """Its outputs and the network's own: on the samples, or on the files it reads otherwise."""
        if self.less is None or not form.reduced:
            return forward(self.maker.samples), self.expected
        return forward(self.less.less), self.less.expected

    def _lost(self, form: Form, forward: Forward) -> Drop | None:
        """What it loses on labelled samples; equal forms need not be asked."""
        if self.less is not None and form.reduced:
            return self.less.lost(forward, equal=form.precision == "fp32")
        if self.maker.labelled is None or form.exact:
            return None
        if self.before is None:
            network = self.maker.network
            self.before = right_answers(lambda x: reference(network, x), self.maker.labelled)
        after = right_answers(forward, self.maker.labelled)
        return drop(self.before, after, self.maker.points)

    def _timed(self, row: TunedForm, seconds: float) -> TunedForm:
        seconds /= 1 if self.pictures is None else BATCHES
        return replace(row, ms=1e3 * seconds, samples_per_second=self.batch_size / seconds)


def _checked(
    goal: str,
    batch_size: int | None,
    engines: Sequence[str],
    streams: Sequence[int] | None,
    pictures: PictureFiles | None,
) -> int:
    """Samples in a pass.

    Raises:
        OptionError: an unknown word, no samples or streams, or pictures without their goal.
    """
    for name, word, known in [("goal", goal, GOALS), *(("engines", e, FORMS) for e in engines)]:
        if word not in known:
            near = did_you_mean(word, known)
            raise OptionError(f"{name} (={word!r}) must be of {', '.join(known)}.{near}")
    if (pictures is None) == (goal == END_TO_END):
        raise OptionError(f"pictures are for the goal {END_TO_END!r}, and it needs them.")
    if not engines:
        raise OptionError(f"engines (={engines!r}) must name one of {', '.join(FORMS)}.")
    size = GOALS[goal] if batch_size is None else batch_size
    if size < 1:
        raise OptionError(f"batch_size (={batch_size}) must be 1 or more.")
    if streams is not None and min(streams, default=1) < 1:
        raise OptionError(f"streams (={list(streams)}) must be 1 or more each.")
    return size
