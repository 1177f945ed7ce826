"""Does an input fit a network? Asked before each pass, and before training without one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from convarium.errors import ShapeError
from convarium.layers.rank import fits

if TYPE_CHECKING:
    from convarium.models.contract import Network


class SmallMapWarning(UserWarning):
    """The last map has one position: nothing spatial is left for the head or a heatmap."""


def checked(network: Network, x: Any) -> Tensor:
    """`x`, if its type, rank, channels and size fit.

    Raises:
        ShapeError: they do not.
    """
    name, letters = network.name or type(network).__name__, ("L", "H, W", "D, H, W")
    takes = f"{name} takes (B, {network.in_channels}, {letters[network.spatial_dims - 1]})"
    if not isinstance(x, Tensor) or not x.is_floating_point():
        found = f"a tensor of {x.dtype}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
        raise ShapeError(f"{takes} of floating-point numbers, not {found}; prepare the input.")
    if x.ndim != network.spatial_dims + 2 or x.shape[1] != network.in_channels:
        raise ShapeError(
            f"{takes}, not {tuple(x.shape)}; create it with in_channels and spatial_dims that fit, "
            "or reshape the input."
        )
    small = network.smallest_input  # a graph's sizes are symbols: a question makes them constants
    if not torch.compiler.is_compiling() and not fits(network, x.shape[2:], small):
        raise ShapeError(
            f"Inputs of shape {tuple(x.shape[1:])} are too small for {name}; resize them, or "
            f"choose a network or a stem that reduces less: this one needs {small} positions or "
            "more along each axis."
        )
    return x


def without_numbers(network: Network, sample: Sequence[int]) -> Tensor:
    """An input of one sample of a shape, of the type that the network reads, on the meta device."""
    dtype = torch.int64 if network.input_kind == "tokens" else torch.get_default_dtype()
    return torch.empty(1, *sample, dtype=dtype, device="meta")


def check_input(model: Network, shape: Sequence[int]) -> None:
    """Check that inputs of `shape` fit, and warn when the last map would be a single position.

    The network is not run: a twin without memory (torch's meta device) works out the sizes.

    Args:
        model: a network whose inputs are maps.
        shape: of one sample `(C, *S)`, or of a batch `(B, C, *S)`; of ids `(T,)` or `(B, T)`.

    Raises:
        ShapeError: a size is no positive number, rank or channels do not fit, or the input is too
            small for the network.
    """
    if not all(type(n) is int and n > 0 for n in shape):
        raise ShapeError(f"shape (={tuple(shape)}) must have whole numbers of 1 or more.")
    name = model.name or type(model).__name__
    sample = tuple(shape[1:] if len(shape) == len(model.sample_shape()) + 1 else shape)
    with torch.device("meta"):
        twin = type(model)(**model.config).eval()
    x = without_numbers(model, sample)
    twin.name = model.name
    twin.check(x)
    try:
        last = twin.forward_features(x)
        twin(x)
    except ShapeError:
        raise
    except RuntimeError as error:
        raise ShapeError(
            f"Inputs of shape {sample} are too small for {name}; "
            "resize them, or choose a network or a stem that reduces less."
        ) from error
    if prod(last.shape[2:]) == 1 and prod(sample[1:]) > 1:
        imagenet = model.config.get("stem") == "imagenet"
        remedy = "stem='cifar' or larger inputs" if imagenet else "larger inputs"
        warnings.warn(
            f"{name} reduces inputs of shape {sample} to a single position before its head; "
            f"accuracy suffers and heatmaps are empty. Use {remedy}.",
            SmallMapWarning,
            stacklevel=2,
        )
