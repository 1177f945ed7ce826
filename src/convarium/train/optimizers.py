"""Update rules, with weight decay on weights only, and averaged weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from convarium.models import Network
from convarium.train.config import TrainConfig


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser that `config` names, over the groups of `parameter_groups`.

    SGD has Nesterov momentum where momentum is above 0; AdamW has betas (0.9, 0.99) and eps 1e-5.
    Both run fused: one call updates all parameters of a group.

    References:
        Loshchilov, Hutter (2019), "Decoupled Weight Decay Regularization", arXiv:1711.05101,
        algorithm 2 (AdamW); Sutskever et al. (2013), section 2 (Nesterov momentum).
    """
    groups = parameter_groups(model, config.weight_decay, config.layer_decay)
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            groups,
            lr=config.learning_rate,
            momentum=config.momentum,
            nesterov=config.momentum > 0,
            fused=True,
        )
    return torch.optim.AdamW(
        groups, lr=config.learning_rate, betas=(0.9, 0.99), eps=1e-5, fused=True
    )


def parameter_groups(
    model: nn.Module, weight_decay: float, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Weights with decay; norms, biases and every other vector without; deep layers faster.

    A parameter decays when it has two axes or more and belongs to no normalisation layer. With a
    `layer_decay` f below 1, each child of the network's `in_order()` has groups of its own, whose
    `rate_scale` is f^(children that hold weights behind it): 1 for the head.

    Args:
        model: a network; its trainable parameters are grouped.
        weight_decay: of the weights.
        layer_decay: f, the factor on the learning rate from one child to the one before it.

    References:
        Howard and Ruder 2018, "Universal language model fine-tuning", arXiv:1801.06146, section
        3.2 (discriminative rates); Clark et al. 2020, arXiv:2003.10555 (a constant factor).
    """
    children = {"": model}
    if layer_decay < 1 and isinstance(model, Network):
        children = {n: m for n, m in model.in_order().items() if [*m.parameters()]}
    groups = []
    for distance, (child, module) in zip(
        reversed(range(len(children))), children.items(), strict=True
    ):
        for kind, parameters, decay in _by_decay(module, weight_decay):
            group = {"name": f"{child} {kind}".strip(), "params": parameters, "weight_decay": decay}
            groups.append(group | {"rate_scale": layer_decay**distance})
    return groups


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give each group the learning rate, times its `rate_scale`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_scale"]


def _by_decay(module: nn.Module, decay: float) -> Iterator[tuple[str, list[Tensor], float]]:
    """The trainable parameters that decay, and those that do not; empty groups are left out."""
    norms = {id(p) for m in module.modules() if _is_norm(m) for p in m.parameters(recurse=False)}
    decayed: list[Tensor] = []
    plain: list[Tensor] = []
    for parameter in module.parameters():
        if parameter.requires_grad:
            decays = parameter.ndim >= 2 and id(parameter) not in norms
            (decayed if decays else plain).append(parameter)
    if decayed:
        yield "weights", decayed, decay
    if plain:
        yield "norms and biases", plain, 0.0


def _is_norm(module: nn.Module) -> bool:
    kinds = (
        nn.modules.batchnorm._NormBase,
        nn.GroupNorm,
        nn.LayerNorm,
        nn.RMSNorm,
    )
    return isinstance(module, kinds)


class AveragedWeights:
    """An exponential moving average of a network's parameters and buffers.

    a <- d a + (1 - d) w after each step, with d = min(decay, (1 + t) / (10 + t)) so that the first
    weights are soon forgotten. Integer buffers are copied.

    Args:
        model: the network whose weights are followed.
        decay: d for large t.

    References:
        Polyak, Juditsky (1992), SIAM J. Control Optim. 30(4); the growing decay is that of
        TensorFlow's ExponentialMovingAverage with `num_updates`.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self._live = model.state_dict(keep_vars=True)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow the weights after step t = `step`, counted from 1."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        averaged: list[Tensor] = []
        live: list[Tensor] = []
        for name, value in self.state.items():
            if value.is_floating_point():
                averaged.append(value)
                live.append(self._live[name])
            else:
                value.copy_(self._live[name])
        torch._foreach_lerp_(averaged, live, weight)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's memory as named tensors, `<number of the parameter>.<name>`."""
    return {
        f"{number}.{name}": value
        for number, parameter in enumerate(_parameters(optimizer))
        for name, value in optimizer.state[parameter].items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    parameters = _parameters(optimizer)
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        parameter = parameters[int(number)]
        restored = value.clone()
        if name != "step":
            # in the parameter's own memory order: another order would sum in another sequence
            restored = torch.empty_like(parameter).copy_(value)
        optimizer.state[parameter][name] = restored


def _parameters(optimizer: torch.optim.Optimizer) -> Sequence[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
