"""Any module as the list of operations that it executes, with shapes and without computing.

    model, shape -> meta tensors through forward -> Operation, Operation, ... -> Graph

What depends on the input has a shape and no values: torch's meta device. Weights are left alone and
where they are; what depends on them only is computed. Operations are those of torch's dispatcher
(`aten`), so functional calls, operators, slices and reused modules are seen like any layer.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from convarium.errors import ConvariumError, OptionError, ShapeError
from convarium.graph.collecting import uncollected
from convarium.graph.listening import Listening
from convarium.graph.recorder import Functions, Recorder, ValueNeededError
from convarium.graph.records import Graph
from convarium.graph.state import set_mode, untouched
from convarium.graph.wrappers import eager, unwrapped

# What torch says where an operation needs numbers, and where it needs whole ones.
_NO_NUMBERS: Final = re.compile(r"\bmeta (tensor|device|kernel)|data-(in)?dependent", re.IGNORECASE)
_NO_SHAPES: Final = "could not find the fake impl"
_INDICES: Final = re.compile(r"\bindices\b.*\b(long|int)\b", re.IGNORECASE | re.DOTALL)


def trace(
    model: nn.Module,
    input_shape: Sequence[int] | Sequence[Sequence[int]],
    *,
    training: bool = False,
) -> Graph:
    """The operations that `model` executes for an input of a shape; nothing of it changes.

    Args:
        model: any module, on any device, also on "meta", where it has no memory; wrapped and
            compiled ones are taken out of their wrapper.
        input_shape: of the whole input, batch included, or of each of several inputs. Inputs have
            the type of the weights, or are whole numbers where an embedding looks them up.
        training: whether the model is in training mode meanwhile.

    Raises:
        ShapeError: the model does not take this shape.
        OptionError: what it does depends on the values of its input, it is scripted, it has lazy
            layers that have not seen an input, or it has no training mode and `training` is asked.

    >>> graph = trace(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), (1, 3, 8, 8))
    >>> [(operation.name, operation.layer) for operation in graph.operations]
    [('convolution', '0'), ('relu', '1')]
    >>> graph.outputs[0].shape
    (1, 8, 6, 6)
    """
    network = unwrapped(model)
    shapes = _shapes(input_shape)
    _refuse_scripted(network)
    with uncollected():
        try:
            return _followed(network, shapes, _dtype(network), training)
        except ShapeError as error:
            if not _wants_indices(error.__cause__):
                raise
            return _followed(network, shapes, torch.int64, training)


def _followed(
    network: nn.Module, shapes: list[tuple[int, ...]], dtype: torch.dtype, training: bool
) -> Graph:
    """The graph for inputs of one type of numbers."""
    with untouched(network), torch.inference_mode(False), torch.no_grad(), eager(network):
        set_mode(network, training=training)
        recorder = Recorder(network)
        inputs = [torch.empty(shape, dtype=dtype, device="meta") for shape in shapes]
        values = tuple(recorder.new(x) for x in inputs)
        with Listening(recorder):
            given = _run(network, inputs, recorder, shapes)
    return Graph(
        values,
        recorder.values_in(given),
        tuple(recorder.operations),
        tuple(recorder.calls),
        tuple(recorder.values),
    )


def _run(
    network: nn.Module, inputs: list[Tensor], recorder: Recorder, shapes: list[tuple[int, ...]]
) -> Any:
    """Forward, its errors in words."""
    try:
        with warnings.catch_warnings(), Functions(recorder), recorder:
            warnings.simplefilter("ignore")
            return network(*inputs)
    except ConvariumError:
        raise
    except Exception as error:
        if _NO_SHAPES in str(error):
            raise OptionError(
                f"{type(network).__name__} runs an operation{recorder.place()} whose shapes torch "
                "does not tell without numbers, as those of quantised networks; give the network "
                "before it was converted."
            ) from error
        if not _decides(error):
            raise _misfit(network, shapes, recorder, error) from error
        raise OptionError(
            f"{type(network).__name__} decides by the values of its input{recorder.place()}, so "
            "that its shape does not say what it does; give the part of it that does not, such as "
            "a submodule."
        ) from error


def _decides(error: Exception) -> bool:
    """Whether the model asked for what only numbers give."""
    return isinstance(error, ValueNeededError) or bool(_NO_NUMBERS.search(str(error)))


def _wants_indices(error: BaseException | None) -> bool:
    """Whether an embedding was given other numbers than whole ones."""
    return bool(_INDICES.search(str(error)))


def _misfit(
    network: nn.Module, shapes: list[tuple[int, ...]], recorder: Recorder, error: Exception
) -> ShapeError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    told = " and ".join(map(str, shapes))
    return ShapeError(
        f"{type(network).__name__} does not take an input of shape {told}{recorder.place()}: "
        f"{reason}; give the whole shape, batch included."
    )


def _shapes(input_shape: Sequence[Any]) -> list[tuple[int, ...]]:
    """One shape an input."""
    try:
        several = [input_shape] if all(isinstance(n, int) for n in input_shape) else input_shape
        shapes = [tuple(shape) for shape in several]
    except TypeError:
        shapes = []
    sizes = [n for shape in shapes for n in shape]
    if not sizes or not all(type(n) is int and 0 < n < 2**62 for n in sizes):
        raise ShapeError(
            f"input_shape (={input_shape!r}) must be the sizes of the whole input, batch included, "
            "such as (1, 3, 224, 224), or a list of them, one an input."
        )
    return shapes


def _dtype(network: nn.Module) -> torch.dtype:
    if getattr(network, "input_kind", "maps") == "tokens":
        return torch.int64
    floating = (p.dtype for p in network.parameters() if p.is_floating_point())
    return next(floating, torch.get_default_dtype())


def _refuse_scripted(network: nn.Module) -> None:
    for name, module in network.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise OptionError(
                f"{name or 'model'} is a scripted module, whose forward cannot be followed; give "
                "the Python module that it was made from."
            )
