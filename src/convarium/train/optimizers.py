"""Update rules, with weight decay on weights only, and their memory as named tensors."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from convarium.errors import OptionError
from convarium.models import Network
from convarium.train.config import TrainConfig
from convarium.train.muon import Muon, filter_banks

_FILTERS, _WEIGHTS, _PLAIN = "filters", "weights", "norms and biases"


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser that `config` names, over the groups of `parameter_groups`.

    SGD's momentum is Nesterov's where `nesterov` says so; AdamW has betas (0.9, 0.99) and eps 1e-5.
    Both run fused: one call updates all parameters of a group. Muon updates the filter banks of
    hidden layers, and AdamW what is left.

    References:
        Loshchilov, Hutter (2019), "Decoupled Weight Decay Regularization", arXiv:1711.05101,
        algorithm 2 (AdamW); Sutskever et al. (2013), section 2 (Nesterov momentum).
    """
    banks = filter_banks(model) if config.optimizer == "muon" else frozenset()
    groups = parameter_groups(model, config.weight_decay, config.layer_decay, filters=banks)
    if config.optimizer == "muon":
        return Muon(
            groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.nesterov
        )
    if config.optimizer == "sgd":
        rule = torch.optim.SGD(
            groups,
            lr=config.learning_rate,
            momentum=config.momentum,
            nesterov=config.nesterov and config.momentum > 0,
            fused=True,
        )
        rule.register_step_pre_hook(_begin_momentum)
        return rule
    return torch.optim.AdamW(
        groups, lr=config.learning_rate, betas=(0.9, 0.99), eps=1e-5, fused=True
    )


def parameter_groups(
    model: nn.Module,
    weight_decay: float,
    layer_decay: float = 1.0,
    filters: Collection[int] = (),
) -> list[dict[str, Any]]:
    """Weights with decay; norms, biases and every other vector without; deep layers faster.

    A parameter decays when it has two axes or more and belongs to no normalisation layer; of weight
    norm's two the direction does, and the length g does not. With a
    `layer_decay` f below 1, each child of the network's `in_order()` has groups of its own, whose
    `rate_scale` is f^(children that hold weights behind it): 1 for the head.

    Args:
        model: a network; its trainable parameters are grouped.
        weight_decay: of the weights.
        layer_decay: f, the factor on the learning rate from one child to the one before it.
        filters: ids of parameters that get groups of their own, whose `filters` is true.

    Raises:
        OptionError: the module does not tell its stages, or nothing of it is to learn.

    References:
        Howard and Ruder 2018, "Universal language model fine-tuning", arXiv:1801.06146, section
        3.2 (discriminative rates); Clark et al. 2020, arXiv:2003.10555 (a constant factor).
    """
    children = {"": model}
    if layer_decay < 1:
        if not isinstance(model, Network):
            raise OptionError(
                f"layer_decay (={layer_decay}) needs a network from convarium.create, which knows "
                "its stages; set it to 1."
            )
        children = {n: m for n, m in model.in_order().items() if [*m.parameters()]}
    groups = []
    for distance, (child, module) in zip(
        reversed(range(len(children))), children.items(), strict=True
    ):
        for kind, parameters in _kinds(module, filters).items():
            groups.append(
                {
                    "name": f"{child} {kind}".strip(),
                    "params": parameters,
                    "weight_decay": 0.0 if kind == _PLAIN else weight_decay,
                    "rate_scale": layer_decay**distance,
                    "filters": kind == _FILTERS,
                }
            )
    if not groups:
        raise OptionError("The network has nothing to learn: unfreeze some of its parameters.")
    return groups


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give each group the learning rate, times its `rate_scale`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_scale"]


def _begin_momentum(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """A momentum of 0 for parameters that begin to learn after others of their group.

    The fused step takes momenta for all of a group or for none.
    """
    for group in optimizer.param_groups:
        moved = [p for p in group["params"] if p.grad is not None]
        new = [p for p in moved if optimizer.state[p].get("momentum_buffer") is None]
        for parameter in new if len(new) < len(moved) else ():
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def _kinds(module: nn.Module, filters: Collection[int]) -> dict[str, list[Tensor]]:
    """The trainable parameters by what is done with them; empty kinds are left out."""
    norms = {id(p) for m in module.modules() if _is_norm(m) for p in m.parameters(recurse=False)}
    norms |= {id(m.original0) for m in module.modules() if _is_weight_norm(m)}
    found: dict[str, list[Tensor]] = {_FILTERS: [], _WEIGHTS: [], _PLAIN: []}
    for parameter in module.parameters():
        if not parameter.requires_grad:
            continue
        if id(parameter) in filters:
            found[_FILTERS].append(parameter)
        elif parameter.ndim >= 2 and id(parameter) not in norms:
            found[_WEIGHTS].append(parameter)
        else:
            found[_PLAIN].append(parameter)
    return {kind: parameters for kind, parameters in found.items() if parameters}


def _is_norm(module: nn.Module) -> bool:
    kinds = (
        nn.modules.batchnorm._NormBase,
        nn.GroupNorm,
        nn.LayerNorm,
        nn.RMSNorm,
    )
    return isinstance(module, kinds)


def _is_weight_norm(module: nn.Module) -> bool:
    """Whether `original0` of it is the lengths of a layer's filters."""
    norm = parametrizations._WeightNorm
    return isinstance(module, parametrize.ParametrizationList) and isinstance(module[0], norm)


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The optimiser's memory as named tensors, `<name of the parameter>.<name>`."""
    return {
        f"{place}.{name}": value
        for place, parameter in model.named_parameters()
        for name, value in optimizer.state.get(parameter, {}).items()
        if value is not None
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, model: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """Put back what `optimizer_tensors` gave.

    Older checkpoints have numbers in the place of names, in the order of the optimiser's groups.
    """
    parameters: dict[str, Tensor] = dict(model.named_parameters())
    order = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    parameters |= {str(number): parameter for number, parameter in enumerate(order)}
    for key, value in tensors.items():
        place, _, name = key.rpartition(".")
        parameter = parameters[place]
        restored = value.clone()
        if name != "step":
            # in the parameter's own memory order: another order would sum in another sequence
            restored = torch.empty_like(parameter).copy_(value)
        optimizer.state[parameter][name] = restored
