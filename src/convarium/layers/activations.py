"""Activations by name, always new modules and never in place.

An in-place activation overwrites the map that a hook, a heatmap or a feature reader holds.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

from torch import nn

from convarium.errors import OptionError, did_you_mean

Activation = Literal[
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "gelu",
    "silu",
    "hardswish",
    "tanh",
    "sigmoid",
    "hardsigmoid",
]

# In the order of the names above.
_CLASSES: Final[tuple[type[nn.Module], ...]] = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Hardswish,
    nn.Tanh,
    nn.Sigmoid,
    nn.Hardsigmoid,
)
_TABLE: Final[dict[str, type[nn.Module]]] = dict(zip(get_args(Activation), _CLASSES, strict=True))


def make_activation(kind: Activation) -> nn.Module:
    """A new activation module.

    Raises:
        OptionError: no activation has this name.

    Example:
        >>> make_activation("tanh")
        Tanh()
    """
    if kind not in _TABLE:
        raise OptionError(
            f"activation (={kind!r}) must be one of {', '.join(_TABLE)}."
            + did_you_mean(str(kind), _TABLE)
        )
    return _TABLE[kind]()
