"""Write a network as one ONNX file: any batch size, weights inside, the card in its metadata.

What the exporter notes about itself (traces with the paths of source files among them) is removed,
so the file says nothing about the machine it was made on.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convarium.deploy.wrapped_pads import PlainWrapping
from convarium.errors import ConvariumError, OptionError, import_extra

#: The operator set written by default: every onnxruntime from 1.14 on reads it.
OPSET = 18
#: The operator sets that the exporter writes without a conversion.
OPSETS = range(18, 24)
#: Key of the card in the file's metadata.
CARD_KEY = "convarium.card"

_LARGEST_FILE = 2**31 - 2**20
_TORCHS = ("torch.onnx", "torch.export", "torch.fx", "torch._dynamo", "torch.utils._pytree")
_LOGGERS = (*_TORCHS, "onnxscript", "onnx_ir", "nncf", "")


def write_onnx(
    network: nn.Module,
    path: Path,
    samples: Tensor,
    *,
    opset: int,
    card: Mapping[str, Any] | None,
    free: Sequence[int] = (),
) -> None:
    """Write `network`, which is in eval mode, to `path`; input "input", output "output".

    Raises:
        OptionError: the operator set or the card cannot be written, or the weights are too large.
        MissingExtraError: onnx or onnxscript is not installed.
        ConvariumError: the network has an operation that ONNX does not have.
    """
    if opset not in OPSETS:
        raise OptionError(f"opset (={opset}) must be from {OPSETS[0]} to {OPSETS[-1]}.")
    for package in ("onnx", "onnxscript"):
        import_extra(package, "onnx")
    text = None if card is None else card_text(card)
    _check_size(network)
    with silent():
        program = _translate(network, samples, opset, free)
        if program.model.opset_imports[""] != opset:
            raise ConvariumError(f"The exporter cannot write opset (={opset}); choose {OPSET}.")
        remove_notes(program.model)
        program.model.producer_name = "convarium"
        if text is not None:
            program.model.metadata_props[CARD_KEY] = text
        program.save(path, external_data=False)


def _translate(network: nn.Module, samples: Tensor, opset: int, free: Sequence[int]) -> Any:
    example = example_of(samples)
    try:
        with PlainWrapping():
            return torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                verbose=False,
                input_names=["input"],
                output_names=["output"],
                dynamic_shapes=(free_sizes(free),),
                opset_version=opset,
            )
    except Exception as error:
        raise ConvariumError(
            f"{type(network).__name__} cannot be written as ONNX: {first_cause(error)}"
        ) from error


def example_of(samples: Tensor) -> Tensor:
    """Two samples stand for a batch of any size: torch takes a size of 1 for a constant."""
    example = samples[:2] if len(samples) > 1 else samples.repeat(2, *[1] * (samples.ndim - 1))
    return example.detach().clone()


def free_sizes(free: Sequence[int]) -> dict[int, Any]:
    """The dimensions whose sizes the file leaves open: the batch's, and those that are asked for.

    >>> list(free_sizes((2, 3)))
    [0, 2, 3]
    """
    return {0: torch.export.Dim("batch"), **dict.fromkeys(free, torch.export.Dim.DYNAMIC)}


def card_text(card: Mapping[str, Any]) -> str:
    """A card as one text.

    Raises:
        OptionError: it is no JSON.
    """
    try:
        return json.dumps(card, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise OptionError(f"card cannot be written as JSON: {error}.") from error


def _check_size(network: nn.Module) -> None:
    size = sum(tensor.nbytes for tensor in [*network.parameters(), *network.buffers()])
    if size > _LARGEST_FILE:
        raise OptionError(
            f"The weights take {size / 2**30:.1f} GiB, and one ONNX file cannot hold more than "
            "2 GiB; choose a smaller network."
        )


def remove_notes(model: Any) -> None:
    """Empty every note that the exporter left on the file's nodes and values."""
    model.metadata_props.clear()
    for graph in (model.graph, *model.functions.values()):
        graph.metadata_props.clear()
        for node in graph:
            node.metadata_props.clear()
            for value in node.outputs:
                value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """The exporter's progress, warnings and log lines are not for the user."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def first_cause(error: BaseException) -> str:
    """The first line of the first cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0] or type(error).__name__
