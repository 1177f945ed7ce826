"""Export: write under a temporary name, verify in the runtime on real samples, then rename."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convarium.deploy.onnx_file import OPSET, write_onnx
from convarium.deploy.verification import (
    TOLERANCE,
    check_inputs,
    compare,
    reference,
    set_eval,
)
from convarium.errors import OptionError, did_you_mean, import_extra
from convarium.files import atomic, sha256
from convarium.graph import eager, untouched, unwrapped

#: The formats, each with the function that writes it.
FORMATS = {"onnx": write_onnx}


@dataclass(frozen=True)
class Export:
    """A file that was written and proven equal to its model.

    Attributes:
        path: the file.
        format: "onnx".
        opset: ONNX operator set.
        n: how many samples the file was verified on, at batch 1 and together.
        largest_difference: largest absolute difference of an output from the model's.
        scale: largest absolute output of the model.
        tolerance: the difference allowed, as a share of `scale`.
        agreement: share of samples for which file and model predict the same class.
        sha256: of the file's bytes, hexadecimal.
        bytes: size of the file.
    """

    path: Path
    format: str
    opset: int
    n: int
    largest_difference: float
    scale: float
    tolerance: float
    agreement: float
    sha256: str
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """The result as JSON-able values."""
        return {**asdict(self), "path": str(self.path)}

    def sentence(self) -> str:
        """The result as one sentence."""
        return (
            f"{self.path}: {self.format}, opset {self.opset}, {self.bytes / 1e6:.2f} MB; on "
            f"{self.n} samples the largest difference is {self.largest_difference:.2g} at outputs "
            f"up to {self.scale:.3g} (allowed: {self.tolerance:g} of that), and "
            f"{self.agreement:.1%} of the predictions agree."
        )


def export(
    model: nn.Module,
    path: str | Path,
    *,
    samples: Tensor,
    format: str = "onnx",
    card: Mapping[str, Any] | None = None,
    opset: int = OPSET,
    tolerance: float = TOLERANCE,
) -> Export:
    """Write a network as one file for another runtime, after proving that it computes the same.

    The file takes batches of any size, (N, C, *S) with the sample's C and S, under the name
    "input" and returns "output". It gets its name only after it ran in the runtime on the samples,
    at batch 1 and together; otherwise nothing is left, and what stood there before stays. The
    model is left as it was.

    Args:
        model: the network, in float32; wrapped and compiled ones are taken out of their wrapper.
        path: the file to write; its folder is made.
        samples: (N, C, *S) preprocessed float32 inputs to verify on; better real ones than noise.
        format: "onnx".
        card: what a stranger needs to use the file (classes, preprocessing ...); embedded in the
            file's metadata as JSON under "convarium.card".
        opset: ONNX operator set, 18 to 23.
        tolerance: the largest difference allowed, as a share of the largest output.

    Raises:
        VerificationError: the file does not compute what the model computes.
        OptionError: an unknown format, opset or tolerance, a card that is not JSON, or numbers
            other than float32.
        MissingExtraError: a package of the extra "onnx" is not installed.
        ConvariumError: the network has an operation that the format does not have.
        RunError: the file cannot be written.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> folder = getfixture("tmp_path")
    >>> result = export(network, folder / "net.onnx", samples=torch.randn(3, 1, 2, 2))
    >>> result.n, result.agreement, result.largest_difference < 1e-5
    (3, 1.0, True)
    """
    if format not in FORMATS:
        raise OptionError(
            f"format (={format!r}) must be one of {sorted(FORMATS)}."
            + did_you_mean(format, FORMATS)
        )
    network = unwrapped(model)
    check_inputs(network, samples, tolerance)
    import_extra("onnxruntime", "onnx")
    expected = reference(network, samples)
    with atomic(path) as temporary:
        _write(network, temporary, samples, format, opset, card)
        proof = compare(temporary, expected, samples, tolerance)
        digest, size = sha256(temporary), temporary.stat().st_size
    return Export(
        path=Path(path),
        format=format,
        opset=opset,
        n=proof.n,
        largest_difference=proof.largest_difference,
        scale=proof.scale,
        tolerance=tolerance,
        agreement=proof.agreement,
        sha256=digest,
        bytes=size,
    )


def _write(
    network: nn.Module,
    path: Path,
    samples: Tensor,
    format: str,
    opset: int,
    card: Mapping[str, Any] | None,
) -> None:
    """Let the format's writer see the network in eval mode, outside any mode of the caller's."""
    with untouched(network), torch.inference_mode(False), torch.no_grad(), eager(network):
        set_eval(network)
        with torch.autocast(samples.device.type, enabled=False):
            FORMATS[format](network, path, samples, opset=opset, card=card)
