"""How weights start: rules, and a table from layer classes to rules.

A family states its table once; `initialise` applies it to a network, and a new head gets the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

Rule = Callable[[nn.Module], None]
InitialTable = Sequence[tuple[tuple[type[nn.Module], ...], Rule]]


def initialise(module: nn.Module, table: InitialTable) -> None:
    """Apply to each submodule the rule of the first row that has its class; others stay.

    Tensors on the meta device hold no numbers and are passed over. Of a weight under weight norm
    the rule draws the direction v, and g = |v| makes the weight v.

    Example:
        >>> layer = nn.Linear(4, 2)
        >>> initialise(layer, [((nn.Linear,), unit)])
        >>> layer.bias.tolist()
        [0.0, 0.0]
    """
    for child in module.modules():
        rule = next((rule for classes, rule in table if isinstance(child, classes)), None)
        if rule is not None and not any(p.is_meta for p in child.parameters(recurse=False)):
            rule(child)
            if is_parametrized(child, "weight"):
                child.weight = _weight(child).detach()


def he_normal(module: nn.Module) -> None:
    """Normal with variance 2 / fan_out, fan_out = C_out k^d; bias 0.

    References:
        He et al. 2015, "Delving deep into rectifiers", arXiv:1502.01852, eq. 14.
    """
    nn.init.kaiming_normal_(_weight(module), mode="fan_out", nonlinearity="relu")
    _fill(module.bias, 0.0)


def he_normal_fan_in(module: nn.Module) -> None:
    """Normal with variance 2 / fan_in, fan_in = C_in k^d; bias 0.

    References:
        He et al. 2015, "Delving deep into rectifiers", arXiv:1502.01852, eq. 10.
    """
    nn.init.kaiming_normal_(_weight(module), mode="fan_in", nonlinearity="relu")
    _fill(module.bias, 0.0)


def handing_on(module: nn.Module) -> None:
    """As `he_normal`, but the first filters each hand on one input channel as it is.

    References:
        Jordan (2024), arXiv:2404.00498, section 3 (convolutions that start as the identity).
    """
    he_normal(module)
    weight = _weight(module)
    with torch.no_grad():
        nn.init.dirac_(weight[: weight.shape[1]])


def small_normal(module: nn.Module) -> None:
    """Normal with standard deviation .01; bias 0."""
    nn.init.normal_(_weight(module), std=0.01)
    _fill(module.bias, 0.0)


def tiny_normal(module: nn.Module) -> None:
    """Normal with standard deviation .001; bias 0."""
    nn.init.normal_(_weight(module), std=0.001)
    _fill(module.bias, 0.0)


def uniform_fan_in(module: nn.Module) -> None:
    """Uniform in +-1 / sqrt(fan_in), weight and bias: torch's own choice for linear layers."""
    weight = _weight(module)
    bound = 1.0 / math.sqrt(weight[0].numel())
    nn.init.uniform_(weight, -bound, bound)
    if isinstance(module.bias, torch.Tensor):
        nn.init.uniform_(module.bias, -bound, bound)


def unit(module: nn.Module) -> None:
    """Scale 1 and shift 0, where a norm has them."""
    _fill(module.weight, 1.0)
    _fill(module.bias, 0.0)


def _weight(module: nn.Module) -> torch.Tensor:
    weight = module.weight
    if is_parametrized(module, "weight"):
        weight = module.get_parameter("parametrizations.weight.original1")
    if not isinstance(weight, torch.Tensor):
        raise TypeError(f"{type(module).__name__} has no weight tensor.")
    return weight


def _fill(tensor: torch.Tensor | nn.Module | None, value: float) -> None:
    if isinstance(tensor, torch.Tensor):
        nn.init.constant_(tensor, value)
