"""8-bit files after training, kept only where labelled samples show that accuracy holds.

fold -> float file -> 8-bit file -> paired accuracy -> shown? done
                          ^                              |
                          +-- keep the layers that hurt -+
                          +-- learn to be rounded -------+-> bf16 -> fp32
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from torch import Tensor, nn

from convarium.deploy import manifest
from convarium.deploy.accuracy import POINTS, Drop, Labelled, Right, drop, right_answers
from convarium.deploy.artefact import Artefact, Precision, has_bf16
from convarium.deploy.exporting import Export, export, members, place_weights
from convarium.deploy.finetuning import finetuned
from convarium.deploy.folding import fold
from convarium.deploy.integers import quantise_onnx, quantise_openvino
from convarium.deploy.onnx_file import card_text
from convarium.deploy.sensitivity import damage
from convarium.deploy.verification import agreement, reference
from convarium.errors import OptionError, did_you_mean
from convarium.files import atomic, sha256
from convarium.graph import unwrapped

#: Formats that have an 8-bit form.
INTEGER_FORMATS: Final = ("openvino", "onnx")
_LOOKED_AT: Final = 32
_MOST_KEPT: Final = 0.5


@dataclass(frozen=True)
class Attempt:
    """One form that was tried.

    Attributes:
        precision: "int8", "bf16" or "fp32".
        kept: layers of an int8 form that stay in float32, by name.
        drop: what it loses against the network; None where that was not measured.
        finetuned: whether its weights were learnt with rounded numbers first.
    """

    precision: str
    kept: tuple[str, ...]
    drop: Drop | None
    finetuned: bool = False

    def sentence(self) -> str:
        """The attempt as one line."""
        kept = f" with {len(self.kept)} layers in fp32" if self.kept else ""
        kept += " after fine-tuning" if self.finetuned else ""
        return f"{self.precision}{kept}: " + (self.drop.sentence() if self.drop else "as exported")


@dataclass(frozen=True)
class Quantisation:
    """What was written, and what was tried for it.

    Attributes:
        path: the file.
        format: "openvino" or "onnx".
        precision: "int8", or what it fell back to: "bf16" (the file of float32 numbers, to be run
            in bf16) or "fp32".
        attempts: all forms that were tried, in order.
        reason: why it is no int8 file, or nothing.
        agreement: share of the calibration samples, 32 at most, for which file and network predict
            the same class.
        bytes, float_bytes: size of the file, and of that in float32.
        latency: of a pass at batch 1 on this machine.
    """

    path: Path
    format: str
    precision: Precision | Literal["int8"]
    attempts: tuple[Attempt, ...]
    reason: str
    agreement: float
    bytes: int
    float_bytes: int
    latency: dict[str, Any]

    @property
    def kept(self) -> tuple[str, ...]:
        """Layers that stay in float32, the worst first."""
        return self.attempts[-1].kept if self.attempts and self.precision == "int8" else ()

    def to_json(self) -> dict[str, Any]:
        """The result as JSON-able values."""
        tried = [
            {**asdict(one), "drop": None if one.drop is None else one.drop.to_json()}
            for one in self.attempts
        ]
        return {**asdict(self), "path": str(self.path), "attempts": tried}

    def sentence(self) -> str:
        """The result in words."""
        kept = f" (in float32 stay {', '.join(self.kept)})" if self.kept else ""
        told = (
            f"{self.path}: {self.format}, {self.precision}{kept}, {self.bytes / 1e6:.2f} MB (in "
            f"float32 {self.float_bytes / 1e6:.2f}); {self.agreement:.1%} of the predictions "
            f"agree; {self.latency['median_ms']:.3g} ms a sample here."
        )
        return f"{told} It is not int8: {self.reason}." if self.reason else told


def quantise(
    model: nn.Module,
    path: str | Path,
    *,
    calibration: Tensor,
    labelled: Labelled,
    format: str = "openvino",
    points: float = POINTS,
    card: Mapping[str, Any] | None = None,
    seconds: float = math.inf,
    finetune: int = 0,
) -> Quantisation:
    """Write an 8-bit file whose accuracy is shown to hold, or say why there is none.

    The rule is paired: on the labelled samples, which neither training nor calibration has seen,
    the upper end of Newcombe's 95 % interval of the loss must stay under `points`. Where the loss
    is too large, the layers whose rounding changes the outputs most stay in float32: 1, 2, 4, ...
    up to half of them. What then is not shown to hold falls back to bf16 under the same rule
    (OpenVINO only), and else to the float32 file.

    Args:
        model: a classifier in float32.
        path: the file to write, ending in .xml for OpenVINO or .onnx.
        calibration: (N, C, *S) preprocessed training samples, over which ranges are taken; a
            hundred or more.
        labelled: batches of preprocessed inputs and class numbers, which are gone through once for
            each attempt: validation samples.
        format: "openvino", by NNCF, or "onnx", by ONNX Runtime.
        points: points of accuracy that may be lost.
        card: as for `export`.
        seconds: no further form is tried after so many, and learning is broken off.
        finetune: where no form holds, so many passes over the calibration samples, in which a copy
            of the network learns with rounded numbers to give the network's own outputs.

    Raises:
        OptionError: another format, `points` that are not above 0, or fewer passes than none.
        DataError: there are no labelled samples.
        MissingExtraError: a package of the extra "quantise" (or "onnx") is not installed.
        ConvariumError: as `export`.

    References:
        Nagel et al. 2021, "A white paper on neural network quantization", arXiv:2106.08295,
        section 3.6 (which layers are quantised, and when they are kept).
    """
    if format not in INTEGER_FORMATS:
        near = did_you_mean(format, INTEGER_FORMATS)
        raise OptionError(f"format (={format!r}) must be one of {INTEGER_FORMATS}.{near}")
    if not points > 0:
        raise OptionError(f"points (={points}) must be above 0.")
    if finetune < 0:
        raise OptionError(f"finetune (={finetune}) must be 0 or more passes.")
    network = unwrapped(model)
    folded = fold(network, tuple(calibration[:1].shape)).model
    written = export(folded, path, samples=calibration[:_LOOKED_AT], format=format, card=card)
    search = _Search(folded, written, calibration, labelled, points, card, seconds, finetune)
    precision, reason = search.run()
    return _result(network, search, precision, reason)


class _NotShownError(Exception):
    """A form lost too much, and its file is not kept."""

    def __init__(self, found: Drop) -> None:
        super().__init__()
        self.found = found


class _Search:
    """Form after form, until one is shown to hold; the file is that of float32 until then."""

    def __init__(
        self,
        folded: nn.Module,
        written: Export,
        calibration: Tensor,
        labelled: Labelled,
        points: float,
        card: Mapping[str, Any] | None,
        seconds: float,
        finetune: int,
    ) -> None:
        self.until = time.monotonic() + seconds
        self.folded, self.written, self.path = folded, written, written.path
        self.calibration, self.labelled, self.points = calibration, labelled, points
        self.card, self.finetune = card, finetune
        self.before: Right = right_answers(Artefact(self.path), labelled)
        self.attempts: list[Attempt] = []

    def run(self) -> tuple[Precision | Literal["int8"], str]:
        """The precision of the file that stands there in the end, and why it is not int8."""
        best = drop(self.before, self.before, self.points)
        if not best.shown:
            return "fp32", (
                f"{best.n} samples cannot show a loss under {self.points:g} points, not even where "
                f"all answers are the same (the interval ends at {best.interval.high:.2f})"
            )
        for kept in self._selections():
            weights = [self.folded.get_parameter(f"{name}.weight") for name in kept]
            if self._integers(self.path, kept, weights).shown:
                return "int8", ""
        left = time.monotonic() < self.until
        if self.finetune and left and self._finetuned().shown:
            return "int8", ""
        lost = self.attempts[0].sentence()
        if self.written.format == "openvino" and has_bf16() and self._bf16().shown:
            return "bf16", lost
        return "fp32", lost

    def _selections(self) -> Iterator[tuple[str, ...]]:
        """Layers to keep: none, then the 1, 2, 4, ... worst."""
        yield ()
        ranked = list(damage(self.folded, self.calibration[:_LOOKED_AT]))
        count = 1
        while count <= _MOST_KEPT * len(ranked) and time.monotonic() < self.until:
            yield tuple(ranked[:count])
            count *= 2

    def _finetuned(self) -> Drop:
        """The same of a copy that has learnt to be rounded."""
        learnt = finetuned(self.folded, self.calibration, self.finetune, until=self.until)
        samples = self.calibration[:_LOOKED_AT]
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / self.path.name
            export(learnt, source, samples=samples, format=self.written.format, card=self.card)
            return self._integers(source, (), (), learnt=True)

    def _integers(
        self,
        source: Path,
        kept: tuple[str, ...],
        weights: Sequence[Tensor],
        *,
        learnt: bool = False,
    ) -> Drop:
        """Write an 8-bit file; it takes the place of the float one if it is shown to hold."""
        try:
            with atomic(self.path) as temporary:
                self._write(source, temporary, weights)
                found = self._measured("int8", kept, Artefact(temporary), learnt=learnt)
                if not found.shown:
                    raise _NotShownError(found)
                place_weights(temporary, self.path)
        except _NotShownError as stop:
            return stop.found
        return found

    def _write(self, source: Path, target: Path, kept: Sequence[Tensor]) -> None:
        if self.written.format == "onnx":
            quantise_onnx(source, target, self.calibration, kept)
            return
        text = None if self.card is None else card_text(self.card)
        quantise_openvino(source, target, self.calibration, kept, text)

    def _bf16(self) -> Drop:
        return self._measured("bf16", (), Artefact(self.path, precision="bf16"))

    def _measured(
        self, precision: str, kept: tuple[str, ...], forward: Artefact, *, learnt: bool = False
    ) -> Drop:
        found = drop(self.before, right_answers(forward, self.labelled), self.points)
        self.attempts.append(Attempt(precision, kept, found, learnt))
        return found


def _result(
    network: nn.Module, search: _Search, precision: Precision | Literal["int8"], reason: str
) -> Quantisation:
    """What stands there now, looked at again, and in the manifest."""
    path, samples = search.path, search.calibration[:_LOOKED_AT]
    forward = Artefact(path, precision="bf16" if precision == "bf16" else "fp32")
    result = Quantisation(
        path=path,
        format=search.written.format,
        precision=precision,
        attempts=tuple(search.attempts),
        reason=reason,
        agreement=agreement(forward(samples), reference(network, samples)),
        bytes=sum(member.stat().st_size for member in members(path)),
        float_bytes=search.written.bytes,
        latency=manifest.quick_latency(forward, samples[:1]),
    )
    told = {key: value for key, value in result.to_json().items() if key != "path"}
    digests = {member.name: sha256(member) for member in members(path)}
    card = {} if search.card is None else {"card": dict(search.card)}
    manifest.record(path, {"sha256": digests, **told, **manifest.conditions(), **card})
    return result
