"""Ablation-CAM and Score-CAM against their formulas, one network call a change."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.explain import ablation_cam, grad_cam, score_cam

Deep = Callable[..., nn.Sequential]
Inputs = Callable[..., Tensor]
Nets = Callable[..., nn.Sequential]


def without_each_map(network: nn.Module, layer: nn.Module, x: Tensor, target: int) -> Tensor:
    """y - y(A_k = 0) by a hook and a whole pass for each channel: (B, C)."""
    kept: list[Tensor] = []
    with layer.register_forward_hook(lambda m, i, out: kept.append(out.detach().clone())):
        whole = network(x)[:, target]
    differences = []
    for k in range(kept[0].shape[1]):
        maps = kept[0].clone()
        maps[:, k] = 0
        with layer.register_forward_hook(lambda m, i, out, given=maps: given):
            differences.append(whole - network(x)[:, target])
    return torch.stack(differences, 1).detach(), kept[0]


def expected_ablation(network: nn.Module, layer: nn.Module, x: Tensor, target: int) -> Tensor:
    weights, maps = without_each_map(network, layer, x, target)
    return (weights[:, :, None, None] * maps).sum(1)


@pytest.mark.parametrize("batch_size", [1, 4, 7, 32])
@pytest.mark.parametrize("layer", ["1", "2", "4"])
def test_ablation_cam_takes_out_each_map(
    deep: Deep, inputs: Inputs, layer: str, batch_size: int
) -> None:
    network, x = deep(), inputs(3)
    heat = ablation_cam(network, x, target=2, layer=layer, batch_size=batch_size)
    expected = expected_ablation(network, network[int(layer)], x, 2)
    torch.testing.assert_close(heat.values, expected.float(), rtol=1e-5, atol=1e-7)


def test_ablation_cam_of_conv_gap_linear_is_known(conv_gap_linear: Nets) -> None:
    """Without map k the logit loses v_k mean(A_k), so that w_k is Z times Grad-CAM's per mean."""
    network = conv_gap_linear(2)
    x = torch.randn(3, 2, 5, 4, dtype=torch.float64)
    heat = ablation_cam(network, x, target=1)
    maps = network[:2](x).detach()
    weights = network[4].weight[1].detach() * maps.mean((2, 3))
    torch.testing.assert_close(heat.values, torch.einsum("bk,bkhw->bhw", weights, maps).float())


def test_a_negative_logit_does_not_turn_the_sign(conv_gap_linear: Nets) -> None:
    network = conv_gap_linear(2)
    x = torch.randn(2, 2, 5, 4, dtype=torch.float64)
    expected = ablation_cam(network, x, target=0)
    nn.init.constant_(network[4].bias, -100.0)
    heat = ablation_cam(network, x, target=0)
    assert (heat.logit < 0).all()
    torch.testing.assert_close(heat.values, expected.values)


class Wild(nn.Module):
    """What lies behind the layer decides by values, writes elsewhere, or reads Python's numbers."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 4, 3)
        self.head = nn.Linear(4, 3)
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        beside = torch.zeros(len(x), 4, dtype=x.dtype)
        maps = self.conv(x)
        pooled = maps.mean((2, 3))
        if self.kind == "decides" and pooled[0, 0] != 0:
            pooled = pooled * 2
        if self.kind == "writes":
            beside += pooled
            pooled = beside
        if self.kind == "numpy":
            pooled = pooled + torch.from_numpy(maps.detach().numpy().max((2, 3)))
        if self.kind == "in place":
            maps.relu_()
            pooled = maps.flatten(2).amax(2).mul_(3)
        if self.kind == "lists":
            pooled = torch.cat([part * n for n, part in enumerate(pooled.split(1, 1), 1)], 1)
        return self.head(pooled)


@pytest.mark.parametrize("kind", ["plain", "decides", "writes", "numpy", "in place", "lists"])
def test_ablation_cam_follows_whatever_lies_behind_the_layer(kind: str) -> None:
    network, x = Wild(kind).double(), torch.randn(2, 1, 6, 6, dtype=torch.float64)
    alone = {"batch_size": 2} if kind == "decides" else {}  # the first sample decides for all
    heat = ablation_cam(network, x, target=1, layer="conv", **alone)
    expected = expected_ablation(network, network.conv, x, 1)
    torch.testing.assert_close(heat.values, expected.float(), rtol=1e-5, atol=1e-7)


class Counting(nn.Module):
    """Counts the samples that it sees."""

    seen = 0

    def forward(self, x: Tensor) -> Tensor:
        Counting.seen += len(x)
        return x


def test_only_the_part_behind_the_layer_runs_again() -> None:
    parts = nn.Conv2d(1, 64, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2)
    Counting.seen = 0
    ablation_cam(nn.Sequential(Counting(), *parts), torch.randn(2, 1, 6, 6), layer="1")
    assert Counting.seen == 2 + 32 + 32  # whether it is affine, the tape, its check


HEADS = {
    "linear": (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(6, 3)),
    "convolution": (nn.Conv2d(6, 3, 1), nn.AvgPool2d((3, 4)), nn.Flatten()),
    "dense": (nn.Flatten(), nn.Linear(72, 4), nn.Linear(4, 3)),
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_what_is_affine_behind_the_layer_takes_one_pass(head: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    behind = (part.double() for part in HEADS[head])
    network = nn.Sequential(Counting(), nn.Conv2d(1, 6, 3).double(), nn.ReLU(), *behind).eval()
    x = torch.randn(2, 1, 5, 6, dtype=torch.float64)
    expected = expected_ablation(network, network[2], x, 1).float()
    Counting.seen = 0
    heat = ablation_cam(network.to(dtype), x.to(dtype), target=1, layer="2")
    assert Counting.seen == 4  # the tape, its check
    tolerance = 1e-6 if dtype == torch.float64 else 0.03
    largest = expected.abs().max().item()
    torch.testing.assert_close(heat.values, expected, rtol=0, atol=tolerance * largest)


class Nearly(nn.Module):
    """Behind the maps all is affine, or nearly so."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head, self.kind = nn.Conv2d(1, 4, 3), nn.Linear(4, 3), kind

    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv(x)
        pooled = maps.mean((2, 3))
        if self.kind == "product":
            pooled = pooled * maps.sum((2, 3))
        if self.kind == "rounded":
            pooled = pooled.mul(8).to(torch.int32).to(x.dtype)
        if self.kind == "added":
            pooled = pooled.add_(pooled, alpha=0.5) + x.mean()
        if self.kind == "divided":
            pooled = 1 / (3 + pooled)
        return self.head(pooled)


@pytest.mark.parametrize("kind", ["product", "rounded", "added", "divided"])
def test_what_only_looks_affine_is_not_taken_for_it(kind: str) -> None:
    network, x = Nearly(kind).double(), torch.randn(2, 1, 6, 6, dtype=torch.float64)
    heat = ablation_cam(network, x, target=1, layer="conv")
    expected = expected_ablation(network, network.conv, x, 1)
    torch.testing.assert_close(heat.values, expected.float(), rtol=1e-5, atol=1e-7)


def test_a_layer_without_gradient_can_still_be_ablated(deep: Deep, inputs: Inputs) -> None:
    class Stepping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = deep()[:2]

        def forward(self, x: Tensor) -> Tensor:
            return (self.body(x) > 0).double().mean(3).flatten(1)

    assert grad_cam(Stepping(), inputs(), layer="body.1").status == ("not connected",) * 3
    heat = ablation_cam(Stepping(), inputs(), target=1, layer="body.1")
    assert "fine" in heat.status
    assert heat.values.abs().max() > 0


def test_status_says_where_nothing_moves_the_score() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for method in (ablation_cam, score_cam):
        heat = method(
            network, torch.ones(1, 1, 6, 6), layer="0", target=lambda out: out.sum(1) * 0 + 1
        )
        assert heat.status == ("zero gradient",)


@pytest.mark.parametrize("baseline", [0.0, -1.5])
def test_score_cam_weighs_what_each_map_lets_through(
    deep: Deep, inputs: Inputs, baseline: float
) -> None:
    network, x = deep(), inputs(2)
    heat = score_cam(network, x, target=3, layer="1", baseline=baseline, batch_size=5)
    maps = network[:2](x).detach()
    hidden = network(torch.full_like(x[:1], baseline))[0, 3].detach()
    for row in range(2):
        gains = []
        for k in range(maps.shape[1]):
            mask = F.interpolate(maps[row, k][None, None], (10, 8), mode="bilinear")
            mask = (mask - mask.min()) / (mask.max() - mask.min())
            seen = x[row : row + 1] * mask + baseline * (1 - mask)
            gains.append(network(seen)[0, 3].detach() - hidden)
        weights = torch.stack(gains).softmax(0)
        expected = torch.einsum("k,khw->hw", weights, maps[row])
        torch.testing.assert_close(heat.values[row], expected.float(), rtol=1e-5, atol=1e-7)


def test_score_cam_of_one_map_is_that_map() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)).double()
    x = torch.randn(1, 1, 6, 6, dtype=torch.float64)
    heat = score_cam(network, x, layer="1", target=0)
    torch.testing.assert_close(heat.values, network[:2](x)[:, 0].detach().float())
    assert heat.status == ("fine",)
    with pytest.raises(OptionError, match=r"baseline \(='mean'\) must be a finite number"):
        score_cam(network, x, layer="1", baseline="mean")


def test_score_cam_sees_nothing_through_a_constant_map(conv_gap_linear: Nets) -> None:
    network = conv_gap_linear(1)
    nn.init.zeros_(network[0].weight)
    heat = score_cam(network, torch.randn(2, 2, 6, dtype=torch.float64), target=0)
    assert heat.values.isfinite().all()
    assert heat.status == ("zero gradient",) * 2


def test_batch_size_is_one_or_more(deep: Deep, inputs: Inputs) -> None:
    for method in (ablation_cam, score_cam):
        with pytest.raises(OptionError, match=r"batch_size \(=0\) must be a whole number of 1"):
            method(deep(), inputs(), layer="1", batch_size=0)


@pytest.mark.parametrize("way", ["masked", "nonzero", "sorted"])
def test_sizes_that_depend_on_the_maps_are_no_error(way: str, inputs: Inputs) -> None:
    """What is above 0 is kept; how many that are differs without a map."""

    class Kept(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(1, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([self.kept(y) for y in self.body(x)])

        def kept(self, y: Tensor) -> Tensor:
            v = y[y > 0]
            if way == "nonzero":
                v = y[tuple((y > 0).nonzero().T)]
            if way == "sorted":
                v = y.flatten().unique()
            v = v.view(v.shape[0], 1)
            return torch.cat([v.sum(0), v.mean(0)])

    torch.manual_seed(0)
    network, x = Kept().double(), inputs()
    heat = ablation_cam(network, x, target=1, layer="body")
    expected = expected_ablation(network, network.body, x, 1)
    torch.testing.assert_close(heat.values, expected.float(), rtol=1e-5, atol=1e-7)
