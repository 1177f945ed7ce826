"""Explanations at the input against closed forms, finite differences and captum."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.explain import (
    guided_backpropagation,
    input_gradients,
    integrated_gradients,
    occlusion,
    smooth_grad,
)

Deep = Callable[..., nn.Sequential]
Inputs = Callable[..., Tensor]


class Linear(nn.Module):
    """y_c = sum w_c x + b_c, for inputs of any shape."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.randn(3, *shape, dtype=torch.float64))
        self.bias = nn.Parameter(torch.randn(3, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.flatten(1).T + self.bias


@settings(max_examples=15, deadline=None)
@given(sides=st.lists(st.integers(1, 6), min_size=1, max_size=3), batch=st.integers(1, 3))
def test_all_are_known_for_a_linear_network(sides: list[int], batch: int) -> None:
    network, x = Linear(2, *sides), torch.randn(batch, 2, *sides, dtype=torch.float64)
    weight = network.weight[1].detach()
    for method in (input_gradients, smooth_grad):
        heat = method(network, x, target=1)
        torch.testing.assert_close(heat.channels, weight.expand_as(x).float())
    found = integrated_gradients(network, x, target=1, baseline=0.5).channels
    torch.testing.assert_close(found, (weight * (x - 0.5)).float())
    found = occlusion(network, x, target=1, window=1, baseline=0.5).values
    torch.testing.assert_close(found, (weight * (x - 0.5)).sum(1).float())


def test_gradients_are_those_of_finite_differences(deep: Deep, inputs: Inputs) -> None:
    network, x = deep(), inputs(1)
    heat = input_gradients(network, x, target=2)
    step = 1e-6
    for place in ((0, 3, 4), (0, 9, 0)):
        bump = torch.zeros_like(x[0])
        bump[place] = step
        change = network(x + bump)[0, 2] - network(x - bump)[0, 2]
        assert heat.channels[0][place].item() == pytest.approx(change.item() / 2 / step, rel=1e-4)


@pytest.mark.parametrize("baseline", [0.0, -0.7])
def test_integrated_gradients_are_complete(deep: Deep, inputs: Inputs, baseline: float) -> None:
    network, x = deep(), inputs()
    heat = integrated_gradients(network, x, target=2, baseline=baseline, steps=300)
    gain = network(x)[:, 2] - network(torch.full_like(x, baseline))[:, 2]
    total = heat.values.sum((1, 2))
    torch.testing.assert_close(total, gain.float(), rtol=0, atol=2e-3 * gain.abs().max().item())


def test_integrated_gradients_take_a_baseline_of_tensors(deep: Deep, inputs: Inputs) -> None:
    network, x = deep(), inputs()
    one = integrated_gradients(network, x, target=2, baseline=torch.full((1, 10, 8), 0.5))
    other = integrated_gradients(network, x, target=2, baseline=0.5)
    assert torch.equal(one.values, other.values)


def test_occlusion_is_the_mean_loss_of_the_windows_over_a_position() -> None:
    network, x = Linear(1, 5), torch.randn(1, 1, 5, dtype=torch.float64)
    heat = occlusion(network, x, target=0, window=3, stride=2)
    part = (network.weight[0] * x).detach()[0, 0]
    first, second = part[:3].sum(), part[2:].sum()
    expected = torch.stack([first, first, (first + second) / 2, second, second])
    torch.testing.assert_close(heat.values[0], expected.float())


def test_occlusion_hides_tokens_too() -> None:
    class Counting(nn.Module):
        """Logit 1 counts the tokens 7."""

        def forward(self, tokens: Tensor) -> Tensor:
            return torch.stack([(tokens == word).float().sum(1) for word in (3, 7)], 1)

    tokens = torch.tensor([[7, 3, 3, 7, 0]])
    heat = occlusion(Counting(), tokens, target=1, window=1)
    assert heat.values.tolist() == [[1.0, 0.0, 0.0, 1.0, 0.0]]


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"window": 9}, r"window \(=9\) must have sides from 1"),
        ({"window": (2, 2, 2)}, "must have sides from 1"),
        ({"window": 2, "stride": 3}, "must not be larger than window"),
        ({"stride": 0}, r"stride \(=0\) must have sides from 1"),
        ({"window": 0}, r"window \(=0\) must have sides from 1"),
        ({"window": 2.5}, r"window \(=2.5\) must have sides from 1"),
    ],
)
def test_windows_that_do_not_fit_are_refused(
    deep: Deep, inputs: Inputs, keywords: dict[str, object], words: str
) -> None:
    with pytest.raises(OptionError, match=words):
        occlusion(deep(), inputs(), **keywords)


def test_smooth_grad_is_the_mean_over_noise_that_only_the_seed_decides(
    deep: Deep, inputs: Inputs
) -> None:
    network, x = deep(), inputs()
    one = smooth_grad(network, x, target=1, samples=7, seed=3)
    assert torch.equal(smooth_grad(network, x, target=1, samples=7, seed=3).values, one.values)
    split = smooth_grad(network, x, target=1, samples=7, seed=3, batch_size=6)
    torch.testing.assert_close(split.values, one.values)
    assert not torch.equal(smooth_grad(network, x, target=1, samples=7, seed=4).values, one.values)
    plain = smooth_grad(network, x, target=1, samples=7, noise=0)
    torch.testing.assert_close(plain.values, input_gradients(network, x, target=1).values)


def test_smooth_grad_of_a_square_is_known() -> None:
    """The gradient of sum x^2 / 2 is x, and the noise has mean 0 and the asked deviation."""
    x = torch.randn(1, 1, 400, dtype=torch.float64)
    found = smooth_grad(
        nn.Identity(), x, target=lambda out: (out**2).sum((1, 2)) / 2, samples=100, noise=0.2
    )
    mean_noise = (found.values - x[:, 0].float()).numpy()
    expected = 0.2 * (x.max() - x.min()).item() / 10
    assert mean_noise.std() == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(
    ("method", "keywords", "words"),
    [
        (smooth_grad, {"samples": 0}, r"samples \(=0\) must be a whole number of 1 or more"),
        (smooth_grad, {"noise": -0.1}, r"noise \(=-0.1\) must be 0 or more"),
        (smooth_grad, {"batch_size": 0}, r"batch_size \(=0\) must be a whole number"),
        (integrated_gradients, {"steps": 0}, r"steps \(=0\) must be a whole number"),
        (integrated_gradients, {"baseline": torch.zeros(7)}, r"baseline \(=\(7,\)\) must be a"),
        (smooth_grad, {"noise": "a"}, r"noise \(='a'\) must be 0 or more"),
        (occlusion, {"baseline": "blur"}, r"baseline \(='blur'\) must be a finite number"),
        (integrated_gradients, {"baseline": "blur"}, r"baseline \(='blur'\) must be a number"),
        (integrated_gradients, {"batch_size": 0}, r"batch_size \(=0\) must be a whole number"),
        (occlusion, {"batch_size": 0}, r"batch_size \(=0\) must be a whole number"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(
    deep: Deep, inputs: Inputs, method: Any, keywords: dict[str, float], words: str
) -> None:
    with pytest.raises(OptionError, match=words):
        method(deep(), inputs(), **keywords)


class Rectified(nn.Module):
    """Three ReLUs: as a module, as a function, and in place."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convs = nn.ModuleList(nn.Conv2d(n, 4, 3) for n in (1, 4, 4))
        self.act = nn.ReLU()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = self.rectified(conv(x))
        return x.mean((2, 3))

    def rectified(self, x: Tensor) -> Tensor:
        if self.kind == "functions":
            return F.relu(x)
        if self.kind == "methods":
            return x.relu()
        if self.kind == "in place":
            F.relu(x, inplace=True)
            return x
        if self.kind == "underscore":
            return x.relu_()
        return self.act(x)


def guided_by_hooks(network: Rectified, x: Tensor, target: int) -> Tensor:
    """For a module that is used once at a time: the gradient that leaves it, made positive."""
    copies = nn.Sequential(*[part for conv in network.convs for part in (conv, nn.ReLU())])
    for part in copies[1::2]:
        part.register_full_backward_hook(lambda module, into, out: (into[0].clamp(min=0),))
    x = x.clone().requires_grad_()
    copies(x).mean((2, 3))[:, target].sum().backward()
    return x.grad


@pytest.mark.parametrize("kind", ["modules", "functions", "methods", "in place", "underscore"])
def test_every_relu_is_guided(kind: str) -> None:
    network, x = Rectified(kind).double(), torch.randn(2, 1, 9, 9, dtype=torch.float64)
    heat = guided_backpropagation(network, x, target=1)
    expected = guided_by_hooks(network, x, 1)
    torch.testing.assert_close(heat.channels, expected.float())
    assert not torch.equal(heat.channels, input_gradients(network, x, target=1).channels)
    assert heat.note == ""


def test_a_network_without_relu_says_that_nothing_was_guided(deep: Deep, inputs: Inputs) -> None:
    network = deep()
    network[4] = nn.GELU()
    heat = guided_backpropagation(network, inputs(), target=1)
    assert heat.note == "The network has no ReLU, so nothing was guided: this is its gradient."
    assert torch.equal(heat.values, input_gradients(network, inputs(), target=1).values)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("act", [nn.ReLU6, lambda inplace: lambda x: F.relu6(x, inplace)])
def test_relu6_is_guided_between_its_ends(act: Callable[..., Any], inplace: bool) -> None:
    network, x = Rectified("modules").double(), 20 * torch.randn(2, 1, 9, 9, dtype=torch.float64)
    rectified = act(inplace=inplace)
    network.rectified = lambda maps: rectified(maps + 0)
    heat = guided_backpropagation(network, x, target=1)
    leaf = x.clone().requires_grad_()
    maps = leaf
    for conv in network.convs:
        maps = conv(maps)
        inside = ((maps > 0) & (maps < 6)).detach()
        maps = maps.clamp(0, 6) + 0
        maps.register_hook(lambda gradient, inside=inside: gradient.relu() * inside)
    maps.mean((2, 3))[:, 1].sum().backward()
    torch.testing.assert_close(heat.channels, leaf.grad.float())
    assert heat.note == ""


def test_activations_that_are_not_guided_are_named() -> None:
    network = Rectified("modules")
    acts = iter([nn.ReLU(), nn.Hardswish(), nn.LeakyReLU()])
    network.rectified = lambda maps: next(acts)(maps)
    heat = guided_backpropagation(network, torch.randn(2, 1, 9, 9), target=1)
    assert heat.note == "Not guided, since they are no ReLUs: hardswish, leaky_relu."


def test_guided_backpropagation_agrees_with_captum(deep: Deep, inputs: Inputs) -> None:
    from captum.attr import GuidedBackprop

    network, x = deep(), inputs()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = GuidedBackprop(network).attribute(x.clone(), target=2)
    heat = guided_backpropagation(network, x, target=2)
    torch.testing.assert_close(heat.channels, expected.detach().float())


def test_a_score_that_does_not_come_from_the_input_says_so() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ones(len(x), 2)

    for method in (input_gradients, smooth_grad, integrated_gradients, guided_backpropagation):
        heat = method(Constant(), torch.randn(2, 1, 5, 5))
        assert heat.status == ("not connected",) * 2
        assert heat.values.abs().max() == 0
    assert occlusion(Constant(), torch.randn(2, 1, 5, 5)).status == ("zero gradient",) * 2
