"""Does an input fit a network? Asked before training, without running it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import prod

import torch

from convarium.errors import ShapeError
from convarium.models.contract import Network


class SmallMapWarning(UserWarning):
    """The last map has one position: nothing spatial is left for the head or a heatmap."""


def check_input(model: Network, shape: Sequence[int]) -> None:
    """Check that inputs of `shape` fit, and warn when the last map would be a single position.

    The network is not run: a twin without memory (torch's meta device) works out the sizes.

    Args:
        model: a network whose inputs are maps.
        shape: of one sample `(C, *S)`, or of a batch `(B, C, *S)`.

    Raises:
        ShapeError: rank or channels do not fit, or the input is too small for the network.
    """
    name = model.name or type(model).__name__
    sample = tuple(shape[1:] if len(shape) == model.spatial_dims + 2 else shape)
    with torch.device("meta"):
        twin = type(model)(**model.config).eval()
        x = torch.empty(1, *sample)
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
