"""Networks of fields as files for other runtimes, their constraint inside.

    input (B, C, *S) [mask (B, *S) or (B, C, *S)] [fine (B, F, *R)] [weights (B, 1 or T, *R)]
    -> output (B, P T, *R),  R = S factor

All in physical units. The batch is free, and so is the domain, unless the network has learnt about
single cells or a domain of another size comes out wrong. Beside the numbers the constraint is
verified: the block means of what the file gives are the coarse field.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from convarium.deploy.exporting import FORMATS
from convarium.deploy.onnx_file import OPSET
from convarium.deploy.runtimes import SequenceRuntime
from convarium.deploy.sequence_files import Proven, proven, recorded, translate
from convarium.deploy.verification import SINGLES, TOLERANCE
from convarium.errors import ConvariumError, OptionError, VerificationError, did_you_mean
from convarium.graph import unwrapped
from convarium.layers import block_mean, materialise_weights
from convarium.models import FieldToField

FIELD_FORMATS: Final = ("onnx", "openvino")
_FINE: Final = ("fine", "weights")  # inputs of fine cells


@dataclass(frozen=True)
class FieldExport:
    """A file that was written and proven equal to its network.

    Attributes:
        path: the file; OpenVINO's has its weights beside it, in a file that ends in .bin.
        format: "onnx" or "openvino".
        inputs: names of what the file takes, in their order.
        n: fields that it was verified on, together and one by one.
        runs: how many times it ran for that.
        sizes: coarse cells along each axis of the domains that it was verified on.
        free: whether it takes domains of any size.
        reason: why it does not, or nothing.
        constraint: the name of that inside.
        apart: largest difference of a block mean from the coarse field, as a share of `scale`.
        largest_difference: largest absolute difference of an output from the network's.
        scale: largest absolute output of the network.
        tolerance: the differences allowed, as a share of `scale`.
        sha256: of the file's bytes, hexadecimal.
        bytes: size of the file, with that of its weights.
        latency: of a pass with one field on this machine.
    """

    path: Path
    format: str
    inputs: tuple[str, ...]
    n: int
    runs: int
    sizes: tuple[tuple[int, ...], ...]
    free: bool
    reason: str
    constraint: str
    apart: float
    largest_difference: float
    scale: float
    tolerance: float
    sha256: str
    bytes: int
    latency: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The result as JSON-able values."""
        return {**asdict(self), "path": str(self.path)}

    def sentence(self) -> str:
        """The result in words."""
        shapes = " and ".join("x".join(map(str, size)) for size in self.sizes)
        domain = "of any size" if self.free else f"of this size alone ({self.reason})"
        held = f"; the constraint {self.constraint!r} holds within {self.apart:.2g} of that"
        return (
            f"{self.path}: {self.format} of {', '.join(self.inputs)}, opset {OPSET}, "
            f"{self.bytes / 1e6:.2f} MB; on {self.n} fields of {shapes} the largest difference is "
            f"{self.largest_difference:.2g} at outputs up to {self.scale:.3g} (allowed: "
            f"{self.tolerance:g} of that){'' if self.constraint == 'none' else held}; domains "
            f"{domain}; {self.latency['median_ms']:.3g} ms a field here."
        )


def export_fields(
    model: nn.Module,
    path: str | Path,
    *,
    samples: Tensor,
    mask: Tensor | None = None,
    fine: Tensor | None = None,
    weights: Tensor | None = None,
    format: str = "onnx",
    card: Mapping[str, Any] | None = None,
    tolerance: float = TOLERANCE,
) -> FieldExport:
    """Write a network of fields with its constraint, after proving that it computes the same.

    The network is left as it was. `manifest.json` beside the file says what it is.

    Args:
        model: of `FieldToField`'s kind, such as edsr, unet or srcnn.
        path: the file to write, ending in .onnx, or in .xml for OpenVINO.
        samples: coarse fields to verify on, (N, C, *S), in physical units.
        mask: where they are known, (N, *S) or (N, C, *S); it becomes an input, as the others do.
        fine: fine fields that the network reads, (N, F, *R).
        weights: of the fine cells in block means, (N or 1, 1 or T, *R).
        format: "onnx" or "openvino".
        card: as `export` takes it.
        tolerance: the largest difference allowed, as a share of the largest output.

    Raises:
        OptionError: another network or format, a name that does not fit it, or a tolerance that is
            not above 0.
        ShapeError: fields that do not fit the network.
        VerificationError: the file does not compute what the network computes.
        MissingExtraError: a package of the format's extra is not installed.
        ConvariumError: the network has an operation that ONNX does not have.
    """
    path, network = Path(path), _ready(model)
    _check(format, path, tolerance)
    named = {"input": samples, "mask": mask, "fine": fine, "weights": weights}
    given = {name: each for name, each in named.items() if each is not None}
    if weights is not None:
        given["weights"] = weights.expand(len(samples), *weights.shape[1:])
    job = _Job(network, path, given, card, tolerance)
    made, reason = job.made()
    result = FieldExport(
        path=path,
        format=format,
        inputs=tuple(given),
        n=len(samples),
        runs=made.runtime.runs,
        sizes=tuple(job.sizes),
        free=not reason,
        reason=reason,
        constraint=network.constraint,
        apart=job.apart / (made.runtime.scale or 1.0),
        largest_difference=made.runtime.largest,
        scale=made.runtime.scale,
        tolerance=tolerance,
        sha256=made.digests[path.name],
        bytes=made.bytes,
        latency=made.latency,
    )
    recorded(path, {"opset": OPSET, **result.to_json()}, made, card)
    return result


class _Job:
    """One network that becomes a file: of free size if it can be, else of the size given."""

    def __init__(
        self,
        network: FieldToField,
        path: Path,
        given: Mapping[str, Tensor],
        card: Mapping[str, Any] | None,
        tolerance: float,
    ) -> None:
        self.network, self.path, self.given = network, path, given
        self.card, self.tolerance = card, tolerance
        self.sizes: list[tuple[int, ...]] = []
        self.apart = 0.0

    def made(self) -> tuple[Proven, str]:
        """The file, and why it is of one size, or nothing."""
        with torch.no_grad():
            self._expected([*self.given.values()])  # what does not fit is told before any work
        reason = self._bound()
        if not reason:
            try:
                return self._written(free=True), ""
            except ConvariumError as error:
                reason = str(error).rstrip(".")
        return self._written(free=False), reason

    def _bound(self) -> str:
        if self.network.reader.cells is None and self.network.places is None:
            return ""
        return "it has learnt about single cells"

    def _written(self, *, free: bool) -> Proven:
        self.sizes, self.apart = [], 0.0
        given = [*self.given.values()]
        axes = [{0: "batch", **self._free(each, free=free)} for each in given]
        names = tuple(self.given)
        program = translate(self.network, given, names, ("output",), axes, named=True)

        def checked(runtime: SequenceRuntime) -> None:
            self._meet(runtime, given)
            for row in range(min(SINGLES, len(given[0]))):
                self._meet(runtime, [each[row : row + 1] for each in given])
            if free:
                self._meet(runtime, [self._larger(name) for name in self.given])

        return proven(program, self.path, self.card, self.tolerance, checked, given)

    def _free(self, each: Tensor, *, free: bool) -> dict[int, str]:
        """The axes of cells of one of the inputs."""
        axes = len(self.network.factor)
        return {each.ndim - axes + k: f"axis{k}" for k in range(axes)} if free else {}

    def _larger(self, name: str) -> Tensor:
        """An input that begins again behind its end, a quarter larger along each axis of cells."""
        each, factor = self.given[name], self.network.factor
        coarse = self.given["input"].shape[2:]
        for k, (n, r) in enumerate(zip(coarse, factor, strict=True)):
            step = r if name in _FINE else 1
            places = torch.arange((n + max(1, n // 4)) * step) % (n * step)
            each = each.index_select(each.ndim - len(factor) + k, places)
        return each

    def _meet(self, runtime: SequenceRuntime, given: Sequence[Tensor]) -> None:
        """Compare the file with the network, and its block means with the coarse field."""
        found, *_ = runtime.meet(self._expected(given), given)
        size = tuple(given[0].shape[2:])
        self.sizes += [] if size in self.sizes else [size]
        if self.network.constraint == "none":
            return
        named = dict(zip(self.given, given, strict=True))
        x = named["input"][:, : self.network.out_channels]
        means = block_mean(self.network.middle(found), self.network.factor, named.get("weights"))
        apart = (means - x).abs()
        if "mask" in named:
            known = named["mask"] if named["mask"].ndim == x.ndim else named["mask"].unsqueeze(1)
            apart = torch.where(known[:, : x.shape[1]], apart, 0.0)
        largest = float(apart.max())  # of NaN it is NaN, which is no bound's
        self.apart = max(self.apart, largest)
        if not largest <= self.tolerance * (runtime.scale or 1.0):
            raise VerificationError(
                f"{self.path.name} does not keep the constraint: a block mean is {largest:.3g} "
                f"from the coarse field, at outputs up to {runtime.scale:.3g}."
            )

    def _expected(self, given: Sequence[Tensor]) -> Tensor:
        first, *others = given
        names = [*self.given][1:]
        with torch.no_grad():
            y: Tensor = self.network(first, **dict(zip(names, others, strict=True)))
        return y


def _ready(model: nn.Module) -> FieldToField:
    """A copy in evaluation mode and float32, on the processor."""
    network = copy.deepcopy(unwrapped(model)).float().cpu().eval()
    if not isinstance(network, FieldToField):
        raise OptionError(f"{type(network).__name__} makes no fields finer; use deploy.export.")
    materialise_weights(network)
    return network


def _check(format: str, path: Path, tolerance: float) -> None:
    """Refuse what no file can be, before any work is done."""
    if not tolerance > 0:
        raise OptionError(f"tolerance (={tolerance}) must be above 0.")
    if format not in FIELD_FORMATS:
        near = did_you_mean(format, FIELD_FORMATS)
        raise OptionError(
            f"format (={format!r}) must be of {', '.join(FIELD_FORMATS)} for fields.{near}"
        )
    if path.suffix != FORMATS[format].suffix:
        suffix = FORMATS[format].suffix
        raise OptionError(f"path (={str(path)!r}) must end in {suffix} for {format}.")
