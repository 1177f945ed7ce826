"""Grad-CAM's relatives against their papers' formulas, written out for one sample at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.explain import (
    eigen_cam,
    finer_cam,
    fuse,
    grad_cam,
    grad_cam_plus_plus,
    hires_cam,
    layer_cam,
    xgrad_cam,
)

Deep = Callable[..., nn.Sequential]
Inputs = Callable[..., Tensor]
Nets = Callable[..., nn.Sequential]


def close(found: Tensor, expected: Tensor) -> None:
    largest = expected.abs().max().item()
    torch.testing.assert_close(found, expected.float(), rtol=0, atol=1e-6 * largest)


@settings(max_examples=20, deadline=None)
@given(
    rank=st.integers(1, 3),
    batch=st.integers(1, 3),
    sides=st.lists(st.integers(2, 6), min_size=3, max_size=3),
    maps=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_three_methods_are_one_for_conv_gap_linear(
    conv_gap_linear: Nets, rank: int, batch: int, sides: list[int], maps: int, seed: int
) -> None:
    """With the same gradient at all positions, HiResCAM = XGrad-CAM = Grad-CAM."""
    network = conv_gap_linear(rank, maps=maps, seed=seed)
    x = torch.randn(batch, 2, *sides[:rank], dtype=torch.float64)
    expected = grad_cam(network, x, target=1)
    for method in (hires_cam, xgrad_cam):
        found = method(network, x, target=1)
        torch.testing.assert_close(found.values, expected.values, rtol=1e-5, atol=1e-9)
        assert found.status == expected.status


def maps_and_gradients(network: nn.Sequential, x: Tensor, target: int) -> tuple[Tensor, Tensor]:
    """Of layer "1", by autograd on a plain graph."""
    maps = network[:2](x).detach().requires_grad_()
    network[2:](maps)[:, target].sum().backward(inputs=[maps])
    return maps.detach(), maps.grad


def test_grad_cam_plus_plus_is_equation_19(deep: Deep, inputs: Inputs) -> None:
    network, x = deep(), inputs()
    maps, gradients = maps_and_gradients(network, x, 2)
    expected = torch.zeros_like(maps[:, 0])
    for b in range(len(maps)):
        for a, g in zip(maps[b].numpy(), gradients[b].numpy(), strict=True):
            below = 2 * g**2 + g**3 * a.sum()
            share = np.divide(g**2, below, out=np.zeros_like(g), where=below != 0)
            weight = (share * np.maximum(g, 0)).sum()
            expected[b] += torch.from_numpy(weight * a)
    found = grad_cam_plus_plus(network, x, target=2, layer="1")
    assert found.layer == "1"
    close(found.values, expected)


def test_grad_cam_plus_plus_takes_nothing_over_nothing_as_nothing() -> None:
    class Half(nn.Module):
        """The score sees the left half of the map only."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x)[..., :2].sum((2, 3))

    heat = grad_cam_plus_plus(Half(), torch.ones(1, 1, 4, 4))
    assert heat.values.isfinite().all()
    assert heat.status == ("fine",)


@pytest.mark.parametrize("tiny", [1e-18, 1e-30])
def test_small_gradients_keep_their_weight_in_grad_cam_plus_plus(tiny: float) -> None:
    """In float32 the square of 1e-30 is 0; the quotient is not."""
    network = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False))
    nn.init.ones_(network[0].weight)
    x = torch.ones(1, 1, 2, 2)
    heat = grad_cam_plus_plus(network, x, layer="0", target=lambda out: out.sum((1, 2, 3)) * tiny)
    torch.testing.assert_close(heat.values, torch.full((1, 2, 2), 4 * tiny / 2), rtol=1e-5, atol=0)


def test_hires_layer_and_xgrad_cam_by_hand(deep: Deep, inputs: Inputs) -> None:
    network, x = deep(), inputs()
    maps, gradients = maps_and_gradients(network, x, 3)
    keywords = {"target": 3, "layer": "1"}
    close(hires_cam(network, x, **keywords).values, (gradients * maps).sum(1))
    close(layer_cam(network, x, **keywords).values, (gradients.clamp(min=0) * maps).sum(1))
    shares = maps / maps.sum((2, 3), keepdim=True)
    weights = (shares * gradients).sum((2, 3), keepdim=True)
    found = xgrad_cam(network, x, **keywords)
    assert found.target == (3,) * len(x)
    close(found.values, (weights * maps).sum(1))
    close(found.values.sum((1, 2)), (gradients * maps).sum((1, 2, 3)))


def test_xgrad_cam_of_a_dead_map_is_nothing() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    nn.init.zeros_(network[0].weight)
    nn.init.constant_(network[0].bias, -1.0)
    heat = xgrad_cam(network, torch.ones(1, 1, 2, 2), layer="1")
    assert torch.equal(heat.values, torch.zeros(1, 2, 2))


@pytest.mark.parametrize("classes", [2, 3, 9])
def test_finer_cam_is_a_difference_of_grad_cams(conv_gap_linear: Nets, classes: int) -> None:
    network = conv_gap_linear(2, classes=classes)
    x = torch.randn(3, 2, 5, 4, dtype=torch.float64)
    heat = finer_cam(network, x, target=[0, 1, 1])
    logits = network(x).detach().numpy()
    for row, target in enumerate([0, 1, 1]):
        one = x[row : row + 1]
        order = sorted(range(classes), key=lambda d: abs(logits[row, d] - logits[row, target]))
        rivals = [d for d in order if d != target][:3]
        expected = grad_cam(network, one, target=target).values
        for d in rivals:
            expected = expected - 0.6 / len(rivals) * grad_cam(network, one, target=d).values
        torch.testing.assert_close(heat.values[row], expected[0], rtol=1e-4, atol=1e-7)
        score = logits[row, target] - 0.6 * logits[row, rivals].mean()
        assert heat.logit[row].item() == pytest.approx(score, rel=1e-5)


def test_finer_cam_needs_another_class(conv_gap_linear: Nets) -> None:
    x = torch.ones(1, 2, 5, 4, dtype=torch.float64)
    with pytest.raises(OptionError, match="the model has one class; use grad_cam"):
        finer_cam(conv_gap_linear(2, classes=1), x)
    with pytest.raises(OptionError, match="compares classes; give a class index"):
        finer_cam(conv_gap_linear(2), x, target=lambda logits: logits[:, 0])


def test_eigen_cam_against_numpy(deep: Deep, inputs: Inputs) -> None:
    network, x = deep(), inputs()
    maps = network[:2](x).detach()
    heat = eigen_cam(network, x, layer="1")
    for row, values in zip(maps, heat.values, strict=True):
        table = row.flatten(1).T.numpy()
        table = table - table.mean(0)
        principal = table @ np.linalg.svd(table)[2][0]
        found = values.flatten().double().numpy()
        assert np.allclose(np.abs(found), np.abs(principal), atol=1e-6)
        assert abs(found @ principal) == pytest.approx(principal @ principal, rel=1e-5)
        assert np.corrcoef(found, row.abs().sum(0).flatten())[0, 1] > 0


def test_eigen_cam_is_high_where_the_layer_answers(conv_gap_linear: Nets) -> None:
    network = conv_gap_linear(2)
    for sign in (1.0, -1.0):
        x = torch.zeros(1, 2, 8, 8, dtype=torch.float64)
        x[..., 2:4, 5:7] = 5.0 * sign
        shown = eigen_cam(network, x).values[0]
        answers = network[:2](x).abs().sum(1)[0]
        assert shown.flatten()[answers.argmax()] > 0


def test_eigen_cam_does_not_ask_for_a_class(deep: Deep, inputs: Inputs) -> None:
    network, x = deep(), inputs()
    one, other = (eigen_cam(network, x, target=target, layer="1") for target in (0, 4))
    assert torch.equal(one.values, other.values)
    assert (one.target, other.target) == ((0, 0, 0), (4, 4, 4))


def test_fuse_is_the_mean_of_maps_of_the_same_height(deep: Deep, inputs: Inputs) -> None:
    network, x = deep(), inputs()
    heats = [layer_cam(network, x, target=1, layer=layer) for layer in ("1", "4")]
    fused = fuse(heats)
    expected = torch.zeros(3, 10, 8)
    for heat in heats:
        maps = nn.functional.interpolate(heat.values[:, None], (10, 8), mode="bilinear")[:, 0]
        expected += maps / maps.abs().amax((1, 2), keepdim=True) / 2
    torch.testing.assert_close(fused.values, expected)
    assert (fused.layer, fused.method, fused.target) == ("1 + 4", "fuse", (1, 1, 1))
    assert fuse(heats, 5).values.shape == (3, 5, 5)


def test_fuse_leaves_out_maps_that_say_nothing(deep: Deep, inputs: Inputs) -> None:
    network, x = deep(), inputs()
    map_of_layer = grad_cam(network, x, target=1, layer="1")
    flat = grad_cam(network, x, target=1, layer="5")
    assert flat.status == ("no spatial extent",) * 3
    torch.testing.assert_close(fuse([flat, map_of_layer]).values, fuse([map_of_layer]).values)
    assert fuse([flat, map_of_layer]).status == map_of_layer.status
    assert fuse([flat]).status == flat.status


def test_fuse_refuses_maps_that_do_not_belong_together(deep: Deep, inputs: Inputs) -> None:
    network, x = deep(), inputs()
    one = grad_cam(network, x, target=1, layer="1")
    with pytest.raises(OptionError, match="at least one"):
        fuse([])
    for other in (
        grad_cam(network, x, target=2, layer="1"),
        grad_cam(network, x[:2], target=1, layer="1"),
    ):
        with pytest.raises(OptionError, match="same samples, targets"):
            fuse([one, other])
