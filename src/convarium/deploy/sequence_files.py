"""The files of networks that read sequences: how they are written, and run to be verified."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convarium.deploy.onnx_file import (
    CARD_KEY,
    OPSET,
    card_text,
    first_cause,
    remove_notes,
    silent,
)
from convarium.errors import ConvariumError, OptionError, VerificationError, import_extra
from convarium.files import atomic, sha256

Numbers = NDArray[Any]


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
        sha256: of the file's bytes, hexadecimal.
        bytes: size of the file.
    """

    path: Path
    form: str
    n: int
    runs: int
    least: int
    largest_difference: float
    scale: float
    tolerance: float
    sha256: str
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """The result as JSON-able values."""
        return {**asdict(self), "path": str(self.path)}

    def sentence(self) -> str:
        """The result as one sentence."""
        return (
            f"{self.path}: onnx of {self.form}, {self.bytes / 1e6:.2f} MB; in {self.runs} runs on "
            f"{self.n} sequences the largest difference is {self.largest_difference:.2g} at "
            f"outputs up to {self.scale:.3g} (allowed: {self.tolerance:g} of that)."
        )


class SequenceRuntime:
    """The file in onnxruntime, and the largest difference so far."""

    def __init__(self, path: Path, tolerance: float) -> None:
        runtime = import_extra("onnxruntime", "onnx")
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = torch.get_num_threads()
        self.path, self.tolerance = path, tolerance
        self.largest, self.scale, self.runs = 0.0, 0.0, 0
        self.session = runtime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.names = [each.name for each in self.session.get_inputs()]

    def meet(self, expected: Tensor, given: Sequence[Tensor]) -> list[Tensor]:
        """Run, compare the first output, and give the others.

        Raises:
            VerificationError: the file cannot run, or computes something else.
        """
        feed = {
            name: each.detach().contiguous().numpy()
            for name, each in zip(self.names, given, strict=True)
        }
        try:
            output, *others = self.session.run(None, feed)
        except Exception as error:  # the runtime raises kinds of its own
            first = str(error).strip().partition("\n")[0]
            raise VerificationError(f"onnxruntime cannot run {self.path.name}: {first}") from error
        wanted: Numbers = expected.numpy()
        if output.shape != wanted.shape:
            raise VerificationError(
                f"{self.path.name} returns shape {output.shape} where the network returns "
                f"{wanted.shape}."
            )
        difference, scale = float(np.abs(output - wanted).max()), float(np.abs(wanted).max())
        self.largest, self.scale = max(self.largest, difference), max(self.scale, scale)
        self.runs += 1
        if not difference <= self.tolerance * (self.scale or 1.0):
            raise VerificationError(
                f"{self.path.name} does not compute what the network computes: the largest "
                f"difference is {difference:.3g} at outputs up to {self.scale:.3g}."
            )
        return [torch.from_numpy(each) for each in others]


def translate(
    network: nn.Module,
    given: Sequence[Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    axes: Sequence[Mapping[int, str]],
) -> Any:
    """The exporter's program, with free sizes along the named axes."""
    for package in ("onnx", "onnxscript"):
        import_extra(package, "onnx")
    example = tuple(torch.cat([each[:1], each[:1]]).clone() for each in given)
    free = tuple(dict.fromkeys(own, torch.export.Dim.DYNAMIC) for own in axes)
    try:
        with silent(), torch.no_grad():
            return torch.onnx.export(
                network,
                example,
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


def written(
    program: Any,
    path: str | Path,
    card: Mapping[str, Any] | None,
    tolerance: float,
    checked: Callable[[SequenceRuntime], None],
    told: tuple[str, int, int],
) -> SequenceExport:
    """Save under a temporary name, verify, rename."""
    if not tolerance > 0:
        raise OptionError(f"tolerance (={tolerance}) must be above 0.")
    remove_notes(program.model)
    program.model.producer_name = "convarium"
    if card is not None:
        program.model.metadata_props[CARD_KEY] = card_text(card)
    with atomic(path) as temporary:
        with silent():
            program.save(temporary, external_data=False)
        runtime = SequenceRuntime(temporary, tolerance)
        checked(runtime)
        digest, size = sha256(temporary), temporary.stat().st_size
    form, n, least = told
    return SequenceExport(
        path=Path(path),
        form=form,
        n=n,
        runs=runtime.runs,
        least=least,
        largest_difference=runtime.largest,
        scale=runtime.scale,
        tolerance=tolerance,
        sha256=digest,
        bytes=size,
    )
