"""Which part of a network learns at which rate: as a run records it, and in a few words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from convarium.models import Network
from convarium.train.config import TrainConfig
from convarium.train.freezing import Freezing
from convarium.train.optimizers import parameter_groups


def group_rows(model: nn.Module, groups: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row a group: its name, factor on the rate, weight decay and number of parameters.

    Args:
        model: what is frozen in it is the last row, whose rate is 0; of a network with stages that
            row names the parts.
        groups: as an optimiser or `parameter_groups` has them.
    """
    rows = [
        {
            "name": group["name"],
            "rate": group["rate_scale"],
            "weight_decay": group["weight_decay"],
            "parameters": sum(parameter.numel() for parameter in group["params"]),
        }
        for group in groups
    ]
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    name = f"frozen: {', '.join(_frozen_parts(model))}".rstrip(": ")
    nothing = {"name": name, "rate": 0.0, "weight_decay": 0.0, "parameters": frozen}
    return [*rows, nothing] if frozen else rows


def frozen_in(model: nn.Module) -> dict[str, list[str]]:
    """Names of the `parts` that `Network.freeze` keeps as they are, and of frozen `parameters`.

    >>> frozen_in(nn.Linear(2, 1).requires_grad_(False))
    {'parts': [], 'parameters': ['weight', 'bias']}
    """
    shut = [name for name, value in model.named_parameters() if not value.requires_grad]
    return {"parts": [*getattr(model, "frozen", ())], "parameters": shut}


def _frozen_parts(model: nn.Module) -> list[str]:
    """The parts that do not learn, or not wholly."""
    parts = model.in_order().items() if isinstance(model, Network) else ()
    return [name for name, part in parts if not all(p.requires_grad for p in part.parameters())]


def grouping_lines(model: nn.Module, config: TrainConfig) -> list[str]:
    """What is special: the parts' factors on the rate, and what does not learn or not yet.

    >>> from convarium.models import create
    >>> config = TrainConfig(layer_decay=0.5, freeze_epochs=1)
    >>> rates, learning = grouping_lines(create("resnet8"), config)
    >>> rates
    'rates: head 1, layer3 0.5, layer2 0.25, layer1 0.125, stem 0.0625; decay 0.02 of weights only'
    >>> learning
    'learning: head for 1 epoch, then everything'
    """
    rows = group_rows(model, parameter_groups(model, config.weight_decay, config.layer_decay))
    lines = []
    if config.layer_decay < 1:
        rates = {row["name"].split(" ")[0]: row["rate"] for row in rows if row["rate"]}
        words = [f"{name} {rate:.3g}" for name, rate in reversed(rates.items())]
        lines.append(f"rates: {', '.join(words)}; decay {config.weight_decay:g} of weights only")
    if rows[-1]["rate"] == 0:
        whole = sum(row["parameters"] for row in rows)
        lines.append(f"{rows[-1]['name']}; {rows[-1]['parameters']:,} of {whole:,} parameters")
    freezing = Freezing(model, config)
    if freezing.active and isinstance(model, Network):
        lines.append(f"learning: {_stages(model, freezing)}")
    return lines


def _stages(model: Network, freezing: Freezing) -> str:
    """What learns at first, and how more joins it."""
    config = freezing.config
    names = [name for name, child in model.in_order().items() if [*child.parameters()]]
    first = ", ".join(reversed(names[-freezing.open_children(0) :]))
    if not config.unfreeze_epochs:
        return f"{first} for {_epochs(config.freeze_epochs)}, then everything"
    until = config.freeze_epochs or config.unfreeze_epochs
    each = "epoch" if config.unfreeze_epochs == 1 else _epochs(config.unfreeze_epochs)
    return f"{first} for {_epochs(until)}, then one more part each {each}"


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' * (count > 1)}"
