"""What spoils a look at a network: refused, said as a sentence, or blamed for an error of torch."""

from __future__ import annotations

import re
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from convarium.errors import OptionError, ShapeError
from convarium.graph import trace

WITHOUT_NUMBERS: Final = (
    "The model or x is on the meta device, without numbers; load the weights and give a real batch."
)
_QUANTISED: Final = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")
# What torch says where sizes do not fit.
_SHAPES: Final = re.compile(
    r"channels|cannot be multiplied|size of tensor|kernel size|output size|expected|invalid for"
    r"|dimension out of range|guard failed",
    re.IGNORECASE,
)
_PADDED = (
    "x has a mask that hides positions, which the map counts like others; explain each sample by "
    "itself, without its padding."
)


def refuse(network: nn.Module) -> None:
    """Refuse a network in which no layer can be read.

    Raises:
        OptionError: a part of it is scripted, quantised or lazy, and has not run.
    """
    parameters: dict[str, Any] = dict(network.named_parameters())
    for name, parameter in parameters.items():
        if is_lazy(parameter):
            raise OptionError(f"{name} has no numbers yet; run the model on a batch first.")
    for name, module in network.named_modules():
        scripted = isinstance(module, torch.jit.ScriptModule)
        if scripted or type(module).__module__.startswith(_QUANTISED):
            kind = "scripted" if scripted else "quantised"
            raise OptionError(
                f"{name or 'model'} is a {kind} module, in which no layer can be read; "
                "give the Python module of floating-point numbers that it was made from."
            )


def padded(inputs: tuple[Tensor, ...], size: tuple[int, ...]) -> str:
    """What to say of a mask of positions beside the first input."""
    shape = (len(inputs[0]), *size)
    masks = (x for x in inputs[1:] if x.dtype == torch.bool and tuple(x.shape) == shape)
    return _PADDED if any(not mask.all() for mask in masks) else ""


def mixing(network: nn.Module, inputs: tuple[Tensor, ...]) -> str:
    """What to say of norms that take their statistics from the batch, whatever the mode."""
    if len(inputs[0]) == 1:
        return ""
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm) and module.running_mean is None:
            return (
                f"{name or 'model'} has no statistics of its own and takes those of the batch, so "
                "that samples change each other's maps; explain them one at a time."
            )
    return ""


def blame(network: nn.Module, inputs: tuple[Tensor, ...], error: Exception) -> None:
    """Say it in a sentence where an error of torch is about what the network was given.

    Raises:
        OptionError: numbers of another kind than the weights, or ids that no word has.
        ShapeError: a shape that the network does not take.
    """
    if any(tensor.is_meta for tensor in (*network.parameters(), *inputs)):
        raise OptionError(WITHOUT_NUMBERS) from error
    _blame_the_numbers(network, inputs[0], error)
    if _SHAPES.search(str(error)):
        _blame_the_shape(network, inputs, error)


def _blame_the_numbers(network: nn.Module, x: Tensor, error: Exception) -> None:
    """Say it in a sentence where x has numbers of another kind, or ids that no word has."""
    kinds = {p.dtype for p in network.parameters() if p.is_floating_point()}
    if x.is_floating_point() and len(kinds) == 1 and x.dtype not in kinds and "type" in str(error):
        (kind,) = kinds
        raise OptionError(f"x holds {x.dtype} and the model {kind}; give x.to({kind}).") from error
    tables = (m for m in network.modules() if isinstance(m, nn.Embedding))
    words = min((table.num_embeddings for table in tables), default=0)
    if isinstance(error, IndexError) and not x.is_floating_point() and int(x.max()) >= words > 0:
        raise OptionError(
            f"x holds the id {int(x.max())}, and the model has {words} words, from 0; give ids of "
            "the tokeniser that it was trained with."
        ) from error


def _blame_the_shape(network: nn.Module, inputs: tuple[Tensor, ...], error: Exception) -> None:
    """Say it in a sentence where the shape is what the model does not take."""
    if "Guard failed" in str(error):
        raise ShapeError(
            f"The model was exported for inputs of one size ({error}); give it such, and where a "
            "method changes x several times at once, batch_size as long as the batch."
        ) from error
    try:
        trace(network, [tuple(x.shape) for x in inputs])
    except ShapeError as reason:
        raise ShapeError(str(reason)) from error
    except OptionError:
        return
