"""Does an exported file compute what the model computes? Measured on real samples, in the runtime.

samples -> model (torch, eval mode) -------------------> outputs --+
        -> file (in its runtime), one by one and all together -----+-> largest difference <= limit?
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from convarium.deploy.artefact import Artefact
from convarium.errors import OptionError, ShapeError, VerificationError
from convarium.graph import eager, untouched, unwrapped

#: Largest difference allowed, as a share of the largest output of the model.
TOLERANCE = 1e-4

#: So many samples are also run alone, at batch 1.
SINGLES = 4

#: What a network may read: numbers, 8-bit pixels, ids of tokens.
INPUTS = (torch.float32, torch.uint8, torch.int64)


@dataclass(frozen=True)
class Verification:
    """A file was compared with its model, and is equal to it within the tolerance.

    Attributes:
        path: the file.
        n: how many samples were compared.
        batch_sizes: the batch sizes the file ran at.
        largest_difference: largest absolute difference of an output.
        scale: largest absolute output of the model.
        tolerance: the difference allowed, as a share of `scale`.
        agreement: share of samples for which both predict the same class (nearly equal outputs
            may come in another order); 1 where there are no classes.
    """

    path: Path
    n: int
    batch_sizes: tuple[int, ...]
    largest_difference: float
    scale: float
    tolerance: float
    agreement: float


def verify(
    path: str | Path, model: nn.Module, samples: Tensor, *, tolerance: float = TOLERANCE
) -> Verification:
    """Run an exported file and the model on the same samples and compare every output.

    The file runs in its runtime on the processor, at batch 1 and with all samples at once (a
    single sample is repeated, so that two batch sizes are seen). The model is left as it was.

    Args:
        path: the file: .onnx, .xml, .pt2 or .pte.
        model: the network it shall equal; it runs in eval mode, in float32.
        samples: (N, C, *S) preprocessed inputs, as the file takes them; better real than noise.
        tolerance: the largest difference allowed, as a share of the largest output.

    Raises:
        VerificationError: the file is missing, cannot run, or computes something else.
        MissingExtraError: the runtime is not installed.
        OptionError: a tolerance that is not above 0, or numbers other than float32.
        ShapeError: no samples, or a model that returns no tensor (N, ...).
    """
    check_inputs(unwrapped(model), samples, tolerance)
    return compare(path, reference(model, samples), samples, tolerance)


def compare(path: str | Path, expected: Tensor, samples: Tensor, tolerance: float) -> Verification:
    """Run the file on the samples and compare with what the model gave.

    Raises:
        VerificationError: the file is missing, cannot run, or computes something else.
        MissingExtraError: the runtime is not installed.
    """
    n = len(samples)
    artefact = Artefact(path)
    if n == 1:
        samples, expected = torch.cat([samples] * 2), torch.cat([expected] * 2)
    together = artefact(samples)
    alone = [artefact(samples[row : row + 1]) for row in range(min(SINGLES, len(samples)))]
    if together.shape != expected.shape or alone[0].shape[1:] != expected.shape[1:]:
        raise VerificationError(
            f"{Path(path).name} returns shape {tuple(together.shape)} where the model returns "
            f"{tuple(expected.shape)}; it was made from another network."
        )
    difference = max(
        _largest(together - expected), _largest(torch.cat(alone) - expected[: len(alone)])
    )
    scale = _largest(expected)
    _check(path, difference, scale, tolerance)
    return Verification(
        path=Path(path),
        n=n,
        batch_sizes=(1, len(samples)),
        largest_difference=difference,
        scale=scale,
        tolerance=tolerance,
        agreement=agreement(together, expected),
    )


def reference(model: nn.Module, samples: Tensor) -> Tensor:
    """The model's own outputs on the samples, in eval mode and float32.

    Raises:
        ShapeError: the model returns no tensor (N, ...).
        VerificationError: the model's outputs are not finite, so nothing can equal them.
    """
    network = unwrapped(model)
    with untouched(network), torch.no_grad(), eager(network):
        set_eval(network)
        with torch.autocast(samples.device.type, enabled=False):
            output = network(samples.detach().clone())
    if not isinstance(output, Tensor) or output.ndim < 2 or len(output) != len(samples):
        raise ShapeError(
            f"The model returns a {type(output).__name__}, not one tensor of shape "
            f"({len(samples)}, ...); wrap it in a module that returns its logits."
        )
    if not output.isfinite().all():
        raise VerificationError(
            "The model's outputs on the samples are not finite; train it again, or check the "
            "samples, before it is exported."
        )
    return output.cpu()


def set_eval(network: nn.Module) -> None:
    """Eval mode, flag by flag: a `train` method of the network's own may do more."""
    for module in network.modules():
        module.training = False


def check_inputs(network: nn.Module, samples: Tensor, tolerance: float) -> None:
    """Refuse what a float32 file cannot equal, before any work is done.

    Raises:
        OptionError: parameters or samples of another floating type than float32, or a tolerance
            that is not above 0.
        ShapeError: no samples.
    """
    if not tolerance > 0:
        raise OptionError(f"tolerance (={tolerance}) must be above 0.")
    if samples.ndim < 2 or 0 in samples.shape:
        raise ShapeError(
            f"samples has shape {tuple(samples.shape)}; it must be (N, C, *S) with at least one."
        )
    tensors = [*network.parameters(), *network.buffers()]
    types = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    if not types <= {torch.float32} or samples.dtype not in INPUTS:
        found = ", ".join(sorted(str(kind) for kind in types | {samples.dtype}))
        raise OptionError(
            f"Model and samples must be torch.float32 (found: {found}); use model.float() and "
            "samples.float()."
        )


def _check(path: str | Path, difference: float, scale: float, tolerance: float) -> None:
    limit = tolerance * (scale or 1.0)
    if not difference <= limit:
        raise VerificationError(
            f"{Path(path).name} does not compute what the model computes: the largest difference "
            f"is {difference:.3g} where {limit:.3g} is allowed (tolerance {tolerance:g} of the "
            f"largest output {scale:.3g}); it was made from other weights, or an operation has no "
            "exact counterpart."
        )


def _largest(values: Tensor) -> float:
    """Largest magnitude; NaN where there is one, which no limit lets pass."""
    return float(values.abs().max())


def agreement(outputs: Tensor, expected: Tensor) -> float:
    """Share of samples with the same largest output; 1 where there are no classes.

    >>> agreement(torch.eye(2), torch.tensor([[1.0, 0.0], [2.0, 1.0]]))
    0.5
    """
    if expected.ndim != 2:
        return 1.0
    return float((outputs.argmax(1) == expected.argmax(1)).float().mean())
