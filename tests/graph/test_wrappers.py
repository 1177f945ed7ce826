"""Wrappers are taken off, and compiled parts run as plain Python where hooks must act."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convarium.errors import OptionError
from convarium.graph import eager, unwrapped


class Doubling(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def test_wrappers_are_taken_off_in_any_order() -> None:
    network = nn.Linear(2, 2)
    assert unwrapped(network) is network
    assert unwrapped(torch.compile(nn.DataParallel(network), backend="eager")) is network
    assert unwrapped(nn.DataParallel(torch.compile(network, backend="eager"))) is network


@pytest.mark.parametrize("given", ["resnet18", torch.relu, None, nn.Linear])
def test_what_is_no_module_is_refused(given: object) -> None:
    with pytest.raises(OptionError, match=r"must be a torch\.nn\.Module"):
        unwrapped(given)  # type: ignore[arg-type]


def test_a_network_whose_child_is_called_module_is_no_wrapper() -> None:
    network = nn.ModuleDict({"module": nn.Linear(2, 2)})
    assert unwrapped(network) is network


def test_compiled_parts_run_eagerly_inside() -> None:
    compiled: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> torch.fx.GraphModule:
        compiled.append(1)
        return graph

    network = nn.Sequential(torch.compile(nn.Linear(2, 2), backend=backend), Doubling())
    network[1].compile(backend=backend)
    with eager(network):
        network(torch.ones(1, 2))
    assert compiled == []
    with torch.no_grad():
        network(torch.ones(1, 2))
    assert compiled == [1, 1]
