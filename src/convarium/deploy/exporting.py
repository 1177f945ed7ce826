"""Export: write under a temporary name, verify in the runtime on real samples, then rename."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from convarium.data import Preprocessing
from convarium.deploy import manifest
from convarium.deploy.artefact import Artefact, runtime_package
from convarium.deploy.given import Given, expected_of
from convarium.deploy.onnx_file import OPSET, write_onnx
from convarium.deploy.openvino_file import write_openvino
from convarium.deploy.phone_file import write_phone
from convarium.deploy.pixels import PICTURES
from convarium.deploy.program_file import write_program
from convarium.deploy.verification import (
    TOLERANCE,
    Verification,
    agreement,
    check_inputs,
    compare,
    reference,
    set_eval,
)
from convarium.errors import OptionError, did_you_mean
from convarium.files import atomic, sha256
from convarium.graph import eager, untouched, unwrapped
from convarium.layers import with_plain_weights


@dataclass(frozen=True)
class Format:
    """A kind of file: how its name ends, the package that runs it, the function that writes it."""

    suffix: str
    runtime: str | None
    write: Callable[..., None]


FORMATS: Final = {
    "onnx": Format(".onnx", "onnxruntime", write_onnx),
    "openvino": Format(".xml", "openvino", write_openvino),
    "torch": Format(".pt2", None, write_program),
    "executorch": Format(".pte", "executorch", write_phone),
}


@dataclass(frozen=True)
class Export:
    """A file that was written and proven equal to its model.

    Attributes:
        path: the file; OpenVINO's has its weights beside it, in a file that ends in .bin.
        format: "onnx", "openvino", "torch" or "executorch".
        opset: ONNX operator set; None for files that do not come through ONNX.
        n: how many samples the file was verified on, at batch 1 and together.
        largest_difference: largest absolute difference of an output from the model's.
        scale: largest absolute output of the model.
        tolerance: the difference allowed, as a share of `scale`.
        agreement: share of samples for which file and model predict the same class; of pictures
            the model has the pixels of the preprocessing.
        sha256: of the file's bytes, hexadecimal.
        bytes: size of the file, with that of its weights.
        pixels: the layout of the 8-bit pixels that it takes, "pictures" where it resizes them;
            None where it takes numbers.
        apart: of pictures the share of pixel values that come out one of 255 apart from Pillow's.
        sizes: positions along each axis of the inputs that it was verified on.
        latency: of a pass at batch 1 on this machine.
    """

    path: Path
    format: str
    opset: int | None
    n: int
    largest_difference: float
    scale: float
    tolerance: float
    agreement: float
    sha256: str
    bytes: int
    pixels: str | None
    apart: float | None
    sizes: tuple[tuple[int, ...], ...]
    latency: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The result as JSON-able values."""
        return {**asdict(self), "path": str(self.path)}

    def sentence(self) -> str:
        """The result as one sentence."""
        opset = "" if self.opset is None else f", opset {self.opset}"
        takes = "" if self.pixels is None else f", 8-bit pixels with {self.pixels} in"
        if self.apart is not None:
            takes = f", whole pictures in ({self.apart:.2%} of the pixels one of 255 from Pillow's)"
        shapes = " and ".join("x".join(map(str, size)) for size in self.sizes)
        sizes = f" of {shapes}" if len(self.sizes) > 1 else ""
        return (
            f"{self.path}: {self.format}{opset}, {self.bytes / 1e6:.2f} MB{takes}; on "
            f"{self.n} samples{sizes} the largest difference is {self.largest_difference:.2g} at "
            f"outputs up to {self.scale:.3g} (allowed: {self.tolerance:g} of that), and "
            f"{self.agreement:.1%} of the predictions agree; "
            f"{self.latency['median_ms']:.3g} ms a sample here."
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
    dynamic_size: bool = False,
    preprocessing: Preprocessing | None = None,
    pixels: str | None = None,
) -> Export:
    """Write a network as a file for another runtime, after proving that it computes the same.

    The file takes batches of any size, (N, C, *S) with the sample's C and S, under the name
    "input" and returns "output". It gets its name only after it ran in the runtime on the samples,
    at batch 1 and together; otherwise nothing is left, and what stood there before stays. The
    model is left as it was; the file has the weights that a weight norm gives. `manifest.json`
    beside it says what it is.

    Args:
        model: the network, in float32; wrapped and compiled ones are taken out of their wrapper.
        path: the file to write, ending in .onnx, .xml for OpenVINO, .pt2 for torch or .pte for
            ExecuTorch; its folder is made.
        samples: (N, C, *S) preprocessed float32 inputs to verify on; better real ones than noise.
        format: "onnx"; "openvino", an IR in two files; "torch", a program of `torch.export`; or
            "executorch", for phones, of one sample a pass.
        card: what a stranger needs to use the file (classes, preprocessing ...); embedded in the
            file's metadata as JSON under "convarium.card", and in the manifest.
        opset: ONNX operator set, 18 to 23; of OpenVINO's files the one they come through.
        tolerance: the largest difference allowed, as a share of the largest output.
        dynamic_size: leave the number of positions along each axis free too; the file is then also
            verified on samples that are a quarter longer along each, and on series half as long.
        preprocessing: how the samples were made from pixels; needed for `pixels`.
        pixels: "channels_first" or "channels_last" puts scaling and normalisation into the file,
            which then takes 8-bit pixels in this layout; "pictures", of OpenVINO's files, resizing
            and cropping too: samples are then pictures of one size, uint8 (N, H, W, C).

    Raises:
        VerificationError: the file does not compute what the model computes.
        OptionError: an unknown format, opset, layout or tolerance, a name that does not fit the
            format, a card that is not JSON, or numbers other than float32.
        MissingExtraError: a package of the format's extra is not installed.
        ConvariumError: the network has an operation that the format does not have, or its family
            does not allow a free size.
        RunError: the file cannot be written.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> folder = getfixture("tmp_path")
    >>> result = export(network, folder / "net.onnx", samples=torch.randn(3, 1, 2, 2))
    >>> result.n, result.agreement, result.largest_difference < 1e-5
    (3, 1.0, True)
    """
    path, kind = Path(path), _checked(format, Path(path))
    network = with_plain_weights(unwrapped(model))
    check_inputs(network, samples, tolerance)
    if kind.runtime is not None:
        runtime_package(kind.runtime)
    if pixels == PICTURES and format != "openvino":
        raise OptionError(f"pixels (={pixels!r}) is for OpenVINO, which resizes as Pillow does.")
    given = Given(network, samples, preprocessing, pixels, dynamic_size)
    expected = [expected_of(network, batch, given.batches[0]) for batch in given.batches]
    with atomic(path) as temporary:
        _write(kind, given, temporary, opset, card)
        pairs = zip(expected, given.batches, strict=True)
        proofs = [compare(temporary, own, given.as_file(batch), tolerance) for own, batch in pairs]
        one = given.as_file(given.batches[0][:1])
        run, told = Artefact(temporary), _of_proofs(proofs)
        if given.front is not None:  # the same class by other pixels, one of 255 apart
            told["agreement"] = agreement(run(given.pictures), reference(network, given.own))
        latency = manifest.quick_latency(run, one)
        written = members(temporary)
        digests = {path.with_suffix(each.suffix).name: sha256(each) for each in written}
        size = sum(each.stat().st_size for each in written)
        place_weights(temporary, path)
    result = Export(
        path=path,
        format=format,
        opset=opset if format in ("onnx", "openvino") else None,
        **told,
        tolerance=tolerance,
        sha256=digests[path.name],
        bytes=size,
        pixels=pixels,
        apart=None if given.front is None else given.front.different,
        sizes=tuple(tuple(batch.shape[2:]) for batch in given.batches),
        latency=latency,
    )
    manifest.record(path, _entry(result, digests, card))
    return result


def _checked(format: str, path: Path) -> Format:
    """The format, if it is one and the name fits.

    Raises:
        OptionError: so.
    """
    if format not in FORMATS:
        raise OptionError(
            f"format (={format!r}) must be one of {sorted(FORMATS)}."
            + did_you_mean(format, FORMATS)
        )
    suffix = FORMATS[format].suffix
    if path.suffix != suffix:
        raise OptionError(f"path (={str(path)!r}) must end in {suffix} for {format}.")
    return FORMATS[format]


def _write(
    kind: Format, given: Given, path: Path, opset: int, card: Mapping[str, Any] | None
) -> None:
    """Let the format's writer see the network in eval mode, outside any mode of the caller's."""
    network, example = given.network, given.laid(given.batches[0][:2])
    with untouched(network), torch.inference_mode(False), torch.no_grad(), eager(network):
        set_eval(network)
        with torch.autocast(example.device.type, enabled=False):
            front = {} if given.front is None else {"front": given.front}
            kind.write(network, path, example, opset=opset, card=card, free=given.free, **front)


def members(path: Path) -> list[Path]:
    """A written file and what belongs to it."""
    weights = path.with_suffix(".bin")
    return [path, weights] if path.suffix == ".xml" else [path]


def place_weights(temporary: Path, path: Path) -> None:
    """Give the weights of an IR their name; it has no IR until they have, so none can mismatch."""
    for weights in members(temporary)[1:]:
        path.unlink(missing_ok=True)
        with atomic(path.with_suffix(weights.suffix)) as place:
            os.replace(weights, place)


def _of_proofs(proofs: Sequence[Verification]) -> dict[str, Any]:
    """The worst of several verifications."""
    return {
        "n": proofs[0].n,
        "largest_difference": max(proof.largest_difference for proof in proofs),
        "scale": proofs[0].scale,
        "agreement": min(proof.agreement for proof in proofs),
    }


def _entry(
    result: Export, digests: Mapping[str, str], card: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What the manifest says of a file."""
    told = {key: value for key, value in result.to_json().items() if key not in ("path", "sha256")}
    whole = {"sha256": dict(digests), **told, **manifest.conditions()}
    return whole if card is None else {**whole, "card": dict(card)}
