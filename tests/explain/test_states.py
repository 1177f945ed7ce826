"""A layer that was found in the graph is found once, as long as the network stays as it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convarium.explain import grad_cam
from convarium.explain.looking import Look, looking
from convarium.explain.states import state_of


class Switched(nn.Module):
    """Two convolutions, of which a switch says whether the second one runs."""

    short = False

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3)
        self.head = nn.Linear(2, 2)
        self.options: dict[str, Any] = {"skip": [False]}
        self.skips = False

    def forward(self, x: Tensor) -> Tensor:
        maps = self.first(x)
        if not (self.short or self.skips or self.options["skip"][0]):
            maps = self.second(maps)
        return self.head(maps.mean((2, 3)))


X = torch.randn(2, 1, 8, 8)


def layer(network: nn.Module, x: Tensor = X, **words: Any) -> str:
    return grad_cam(network, x, **words).layer


def test_the_graph_is_followed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network, followed = Switched(), []
    follow = Look.followed
    monkeypatch.setattr(Look, "followed", lambda *each: followed.append(each) or follow(*each))
    assert [layer(network) for _ in range(3)] == ["second"] * 3
    assert len(followed) == 1
    layer(network, X[:1])
    layer(network, X[:1], target=lambda logits: logits[:, 0])
    layer(network, X[:1], forward=lambda x: network(x))
    assert len(followed) == 4


@pytest.mark.parametrize("way", ["attribute", "nested", "class", "module", "forward", "hook"])
def test_a_changed_network_gets_no_old_answer(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Switched()
    assert layer(network) == "second"
    if way == "attribute":
        network.skips = True
    elif way == "nested":
        network.options["skip"][0] = True
    elif way == "class":
        monkeypatch.setattr(Switched, "short", True)
    elif way == "module":
        network.second = nn.AdaptiveAvgPool2d(1)
    elif way == "forward":
        short = nn.Sequential(network.first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), network.head)
        monkeypatch.setattr(Switched, "forward", lambda self, x: short(x))
    else:
        network.second.register_forward_hook(lambda m, i, out: out.mean((2, 3), keepdim=True))
    assert layer(network) == "first"


def test_a_state_holds_nothing_alive_and_does_not_guess() -> None:
    network = Switched()
    with looking(network, X) as look:
        assert state_of(look) == state_of(look)
        network.options["else"] = object()
        assert state_of(look) is None
