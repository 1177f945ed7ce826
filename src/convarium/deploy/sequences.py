"""Networks that read sequences as ONNX files: tokens, masks, and a causal network on live data.

    tokens    input (B, T) int64                  -> output (B, K)
    masked    input (B, C, T), mask (B, T)        -> output (B, K)
    chunks    input (B, C, T), state (B, S)       -> output (B, K, T), next_state (B, S)
    steps     input (B, C), state (B, S)          -> output (B, K), next_state (B, S)

Batch and length are free. Weight norm is replaced by the weights that it gives. A file gets its
name when it has run in the runtime on the samples: all together, one by one, with more padding
behind them, and as a stream in many pieces.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from convarium.deploy.runtimes import SequenceRuntime
from convarium.deploy.sequence_files import SequenceExport, translate, written
from convarium.deploy.verification import SINGLES, TOLERANCE
from convarium.errors import OptionError, ShapeError
from convarium.graph import unwrapped
from convarium.layers import materialise_weights
from convarium.models import Classifier

_MORE = 5  # steps of padding that are added for the check
_CHUNKS = (1, 3, 16)  # steps in the pieces of a stream, in turns


def export_sequences(
    model: nn.Module,
    path: str | Path,
    *,
    samples: Tensor,
    mask: Tensor | None = None,
    card: Mapping[str, Any] | None = None,
    tolerance: float = TOLERANCE,
) -> SequenceExport:
    """Write a network of tokens, or one with a mask, for batches and lengths of any size.

    A network of tokens takes "input" (B, T) with 0 for padding; another one "input" (B, C, T) and
    "mask" (B, T), true where a step is real. Both give "output". The network is left as it was.

    Args:
        model: the network.
        path: the file to write.
        samples: token ids (N, T), or series (N, C, T) in float32.
        mask: which steps are real, (N, T); for series only.
        card: as `export` takes it.
        tolerance: the largest difference allowed, as a share of the largest output.

    Raises:
        ShapeError: samples that are no sequences, or series without a mask.
        VerificationError: the file does not compute what the network computes.
        MissingExtraError: a package of the extra "onnx" is not installed.
        ConvariumError: the network has an operation that ONNX does not have.
    """
    network = _ready(model)
    tokens = network.input_kind == "tokens"
    if samples.ndim != (2 if tokens else 3) or (mask is None) != tokens:
        raise ShapeError(
            f"samples {tuple(samples.shape)} must be token ids (N, T) alone, or series (N, C, T) "
            "with a mask (N, T)."
        )
    given = (samples,) if mask is None else (samples, mask)
    longest: int = getattr(network, "longest", network.smallest_input)
    names = ("input", "mask")[: len(given)]
    axes = [{0: "batch", samples.ndim - 1: "length"}, {0: "batch", 1: "length"}]

    def checked(runtime: SequenceRuntime) -> None:
        with torch.no_grad():
            expected = network(*given)
        runtime.meet(expected, given)
        padded = [_longer(each) for each in given]
        runtime.meet(expected, padded)
        for row in range(min(SINGLES, len(samples))):
            runtime.meet(expected[row : row + 1], [each[row : row + 1] for each in given])

    form = "tokens" if tokens else "masked"
    program = translate(network, given, names, ("output",), axes[: len(given)])
    return written(program, path, card, tolerance, checked, (form, len(samples), longest), given)


def export_stream(
    model: nn.Module,
    path: str | Path,
    *,
    samples: Tensor,
    form: Literal["chunks", "steps"] = "steps",
    card: Mapping[str, Any] | None = None,
    tolerance: float = TOLERANCE,
) -> SequenceExport:
    """Write a causal network for live data: what came, and the state, give outputs and next state.

    The first state is zeros (B, S), S being that of `initial_state`. The file is verified over the
    whole of each sample, piece by piece, against the network on all of it.

    Args:
        model: a network with `step` and `stream`, such as tcn.
        path: the file to write.
        samples: series (N, C, T) in float32.
        form: "steps" takes (B, C), one step a run; "chunks" takes (B, C, T) of any length.
        card: as `export` takes it.
        tolerance: the largest difference allowed, as a share of the largest output.

    Raises:
        OptionError: the network does not stream, or there is no such form.
        ShapeError: samples that are no series.
        VerificationError: the file does not compute what the network computes.
        MissingExtraError: a package of the extra "onnx" is not installed.
    """
    network: Any = _ready(model)
    if not hasattr(network, "stream"):
        raise OptionError(f"{type(network).__name__} does not stream; give a causal one: tcn.")
    if form not in ("chunks", "steps"):
        raise OptionError(f"form (={form!r}) must be chunks or steps.")
    if samples.ndim != 3:
        raise ShapeError(f"samples {tuple(samples.shape)} must be series (N, C, T).")
    state = network.initial_state(len(samples))
    steps = form == "steps"
    first = samples[:, :, 0] if steps else samples[:, :, :4]
    axes = [{0: "batch"} if steps else {0: "batch", 2: "length"}, {0: "batch"}]
    program = translate(
        _Live(network, steps=steps),
        (first, state),
        ("input", "state"),
        ("output", "next_state"),
        axes,
    )

    def checked(runtime: SequenceRuntime) -> None:
        with torch.no_grad():
            expected, _ = network.stream(samples, state)
        kept, at = state, 0
        for size in _pieces(samples.shape[2], (1,) if steps else _CHUNKS):
            piece = samples[:, :, at] if steps else samples[:, :, at : at + size]
            wanted = expected[:, :, at] if steps else expected[:, :, at : at + size]
            kept, at = runtime.meet(wanted, (piece, kept))[1], at + size
        runtime.meet(expected[:1, :, 0] if steps else expected[:1], _alone(samples, state, steps))

    told = (form, len(samples), 1)
    return written(program, path, card, tolerance, checked, told, (first, state))


class _Live(nn.Module):
    """A network whose call is a step or a chunk of a stream."""

    def __init__(self, network: Any, *, steps: bool) -> None:
        super().__init__()
        self.network, self.steps = network, steps

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and the next state."""
        run = self.network.step if self.steps else self.network.stream
        found: tuple[Tensor, Tensor] = run(x, state)
        return found


def _ready(model: nn.Module) -> Classifier:
    """A copy in evaluation mode and float32, on the processor, without weight norm."""
    network = copy.deepcopy(unwrapped(model)).float().cpu().eval()
    if not isinstance(network, Classifier):
        raise OptionError(f"{type(network).__name__} is no network from convarium.create.")
    materialise_weights(network)
    return network


def _longer(each: Tensor) -> Tensor:
    """With padding behind it."""
    return nn.functional.pad(each, (0, _MORE))


def _pieces(length: int, sizes: Sequence[int]) -> list[int]:
    """Lengths of pieces, in turns, that make up the whole."""
    found: list[int] = []
    while sum(found) < length:
        found.append(min(sizes[len(found) % len(sizes)], length - sum(found)))
    return found


def _alone(samples: Tensor, state: Tensor, steps: bool) -> tuple[Tensor, Tensor]:
    return (samples[:1, :, 0] if steps else samples[:1]), state[:1]
