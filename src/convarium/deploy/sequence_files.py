"""Files of several inputs, of sequences and of fields: how they are written and verified."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from convarium.deploy import manifest
from convarium.deploy.artefact import openvino_core
from convarium.deploy.exporting import members, place_weights
from convarium.deploy.onnx_file import (
    CARD_KEY,
    OPSET,
    card_text,
    first_cause,
    remove_notes,
    silent,
)
from convarium.deploy.openvino_file import save
from convarium.deploy.runtimes import SequenceRuntime
from convarium.deploy.wrapped_pads import PlainWrapping
from convarium.errors import ConvariumError, OptionError, import_extra
from convarium.files import atomic, sha256


@dataclass(frozen=True)
class SequenceExport:
    """A file that was written and proven equal to its network.

    Attributes:
        path: the file.
        form: "tokens", "masked", "chunks" or "steps".
        n: sequences that it was verified on.
        runs: how many times it ran for that.
        least: steps that a sequence needs at least; shorter ones are to be padded.
        largest_difference: largest absolute difference of an output from the network's.
        scale: largest absolute output of the network.
        tolerance: the difference allowed, as a share of `scale`.
        agreement: share of equal decisions, the largest output of each sample and step.
        sha256: of the file's bytes, hexadecimal.
        bytes: size of the file.
        latency: of a pass with one sample on this machine.
    """

    path: Path
    form: str
    n: int
    runs: int
    least: int
    largest_difference: float
    scale: float
    tolerance: float
    agreement: float
    sha256: str
    bytes: int
    latency: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The result as JSON-able values."""
        return {**asdict(self), "path": str(self.path)}

    def sentence(self) -> str:
        """The result as one sentence."""
        return (
            f"{self.path}: onnx of {self.form}, opset {OPSET}, {self.bytes / 1e6:.2f} MB; in "
            f"{self.runs} runs on {self.n} sequences the largest difference is "
            f"{self.largest_difference:.2g} at outputs up to {self.scale:.3g} (allowed: "
            f"{self.tolerance:g} of that), and {self.agreement:.1%} of the predictions agree; "
            f"{self.latency['median_ms']:.3g} ms a run here."
        )


def translate(
    network: nn.Module,
    given: Sequence[Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    axes: Sequence[Mapping[int, str]],
    *,
    named: bool = False,
) -> Any:
    """The exporter's program, with free sizes along the named axes.

    Where they are `named`, the inputs behind the first go to `forward` by their names.
    """
    for package in ("onnx", "onnxscript"):
        import_extra(package, "onnx")
    example = tuple(torch.cat([each[:1], each[:1]]).clone() for each in given)
    free: Any = tuple(dict.fromkeys(own, torch.export.Dim.DYNAMIC) for own in axes)
    others: dict[str, Tensor] | None = None
    if named:
        others = dict(zip(inputs[1:], example[1:], strict=True))
        free = dict(zip(("x", *inputs[1:]), free, strict=True))
        example = example[:1]
    try:
        with silent(), torch.no_grad(), PlainWrapping():
            return torch.onnx.export(
                network,
                example,
                kwargs=others,
                dynamo=True,
                verbose=False,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=free,
                opset_version=OPSET,
            )
    except Exception as error:
        raise ConvariumError(
            f"{type(network).__name__} cannot be written as ONNX: {first_cause(error)}"
        ) from error


class Proven(NamedTuple):
    """A file in its place.

    Args:
        runtime: that it was verified in.
        digests: SHA-256 of the file and of what belongs to it, by name.
        bytes: size of all of that.
        latency: of a pass with one sample on this machine.
    """

    runtime: SequenceRuntime
    digests: dict[str, str]
    bytes: int
    latency: dict[str, Any]


def proven(
    program: Any,
    path: Path,
    card: Mapping[str, Any] | None,
    tolerance: float,
    checked: Callable[[SequenceRuntime], None],
    given: Sequence[Tensor],
) -> Proven:
    """Save under a temporary name, verify, rename.

    Args:
        program: of the exporter.
        path: ends in .onnx or .xml.
        card: is embedded.
        tolerance: as for `SequenceRuntime`.
        checked: raises a VerificationError where the file is wrong.
        given: inputs, the first of which are timed.
    """
    if not tolerance > 0:
        raise OptionError(f"tolerance (={tolerance}) must be above 0.")
    remove_notes(program.model)
    program.model.producer_name = "convarium"
    one = [each[:1] for each in given]
    with atomic(path) as temporary:
        _save(program, temporary, card)
        runtime = SequenceRuntime(temporary, tolerance)
        checked(runtime)
        latency = manifest.quick_latency(lambda _: runtime.run(one), one[0])
        files = members(temporary)
        digests = {path.with_suffix(each.suffix).name: sha256(each) for each in files}
        size = sum(each.stat().st_size for each in files)
        place_weights(temporary, path)
    return Proven(runtime, digests, size, latency)


def _save(program: Any, path: Path, card: Mapping[str, Any] | None) -> None:
    """Write an ONNX file, or an IR by way of one."""
    text = None if card is None else card_text(card)
    if path.suffix == ".xml":
        middle = path.with_suffix(".onnx")
        with silent():
            program.save(middle, external_data=False)
        save(openvino_core().read_model(str(middle)), path, text)
        middle.unlink()
        return
    if text is not None:
        program.model.metadata_props[CARD_KEY] = text
    with silent():
        program.save(path, external_data=False)


def recorded(
    path: Path, told: Mapping[str, Any], made: Proven, card: Mapping[str, Any] | None
) -> None:
    """Say in the manifest beside a file what it is."""
    known = {key: value for key, value in told.items() if key not in ("path", "sha256")}
    entry = {"sha256": made.digests, **known, **manifest.conditions()}
    manifest.record(path, entry if card is None else {**entry, "card": dict(card)})


def written(
    program: Any,
    path: str | Path,
    card: Mapping[str, Any] | None,
    tolerance: float,
    checked: Callable[[SequenceRuntime], None],
    told: tuple[str, int, int],
    given: Sequence[Tensor],
) -> SequenceExport:
    """The file of a network of sequences: proven, and in the manifest."""
    path = Path(path)
    made = proven(program, path, card, tolerance, checked, given)
    form, n, least = told
    result = SequenceExport(
        path=path,
        form=form,
        n=n,
        runs=made.runtime.runs,
        least=least,
        largest_difference=made.runtime.largest,
        scale=made.runtime.scale,
        tolerance=tolerance,
        agreement=made.runtime.agreement,
        sha256=made.digests[path.name],
        bytes=made.bytes,
        latency=made.latency,
    )
    recorded(path, {"format": "onnx", "opset": OPSET, **result.to_json()}, made, card)
    return result
