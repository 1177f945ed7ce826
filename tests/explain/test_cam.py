"""Grad-CAM against independent truth: theory, finite differences, a derivation by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from convarium.explain import grad_cam

Deep = Callable[..., nn.Sequential]
Inputs = Callable[..., Tensor]


@settings(max_examples=25)
@given(
    rank=st.integers(1, 3),
    batch=st.integers(1, 4),
    sides=st.lists(st.integers(1, 7), min_size=3, max_size=3),
    maps=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_conv_gap_linear_gives_class_activation_map(
    conv_gap_linear: Deep, rank: int, batch: int, sides: list[int], maps: int, seed: int
) -> None:
    """Raw Grad-CAM = CAM / Z, and the map sums to the logit without its bias (any shape)."""
    network = conv_gap_linear(rank, maps=maps, seed=seed)
    x = torch.randn(batch, 2, *sides[:rank], dtype=torch.float64)
    target = [(seed + row) % 3 for row in range(batch)]
    heat = grad_cam(network, x, target=target, layer="1")
    maps_of_layer = network[:2](x)
    linear = network[4]
    positions = maps_of_layer[0, 0].numel()
    cam = torch.einsum("bk,bk...->b...", linear.weight[target], maps_of_layer) / positions
    assert heat.values.shape == (batch, *sides[:rank])
    torch.testing.assert_close(heat.values, cam.float())
    above_bias = network(x)[range(batch), target] - linear.bias[target]
    torch.testing.assert_close(heat.values.flatten(1).sum(1), above_bias.float())
    assert heat.target == tuple(target)
    assert heat.layer == "1"


def test_weights_are_those_of_finite_differences(deep: Deep, inputs: Inputs) -> None:
    """Raising a whole map by e changes the logit by e times the sum of its gradient = e Z w_k."""
    network, x = deep(), inputs(1)
    maps, rest = network[:2](x).detach(), network[2:]
    target, step = 3, 1e-6
    differences = []
    for k in range(maps.shape[1]):
        bump = torch.zeros_like(maps)
        bump[:, k] = step
        change = rest(maps + bump)[0, target] - rest(maps - bump)[0, target]
        differences.append(change / (2 * step * maps[0, 0].numel()))
    expected = torch.einsum("k,bkhw->bhw", torch.stack(differences), maps)
    heat = grad_cam(network, x, target=target, layer="1")
    torch.testing.assert_close(heat.values, expected.float(), rtol=1e-5, atol=1e-7)


def by_hand(network: nn.Sequential, x: Tensor, target: list[int], split: int) -> Tensor:
    """Equations 1 and 2, one sample at a time, with autograd on a plain graph."""
    maps = []
    for row, label in enumerate(target):
        activation = network[:split](x[row : row + 1]).detach().clone().requires_grad_()
        network[split:](activation.clone())[0, label].backward(inputs=[activation])
        weights = activation.grad.mean((2, 3), keepdim=True)
        maps.append((weights * activation.detach()).sum(1))
    return torch.cat(maps)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-6), (torch.float32, 1e-5), (torch.bfloat16, 3e-2)],
)
def test_agrees_with_the_derivation_by_hand(
    deep: Deep, inputs: Inputs, dtype: torch.dtype, tolerance: float
) -> None:
    target = [4, 0, 2]
    heat = grad_cam(deep(dtype), inputs(dtype=dtype), target=target, layer="1")
    expected = by_hand(deep(), inputs(), target, split=2).float()
    assert heat.values.dtype == torch.float32
    assert heat.logit.dtype == torch.float32
    largest = expected.abs().max().item()
    torch.testing.assert_close(heat.values, expected, rtol=0, atol=tolerance * largest)


def test_batches_equal_singles_each_with_its_own_target(deep: Deep, inputs: Inputs) -> None:
    network, x = deep(), inputs(4)
    target = [1, 3, 3, 0]
    together = grad_cam(network, x, target=target, layer="1")
    for row in range(4):
        alone = grad_cam(network, x[row : row + 1], target=target[row], layer="1")
        torch.testing.assert_close(together.values[row], alone.values[0], rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(together.logit[row], alone.logit[0])


def test_target_none_is_the_predicted_class(deep: Deep, inputs: Inputs) -> None:
    network, x = deep(), inputs(6)
    heat = grad_cam(network, x, layer="1")
    predicted = network(x).argmax(1)
    assert heat.target == tuple(predicted.tolist())
    torch.testing.assert_close(heat.logit, network(x).amax(1).float())


def test_targets_may_be_a_tensor_or_a_callable(deep: Deep, inputs: Inputs) -> None:
    network, x = deep(), inputs()
    listed = grad_cam(network, x, target=[0, 1, 2], layer="1")
    tensor = grad_cam(network, x, target=torch.tensor([0, 1, 2]), layer="1")
    called = grad_cam(network, x, target=lambda logits: logits[range(3), range(3)] * 2.0, layer="1")
    assert torch.equal(listed.values, tensor.values)
    torch.testing.assert_close(called.values, 2 * listed.values)
    assert called.target is None
    torch.testing.assert_close(called.logit, 2 * listed.logit)


def test_a_callable_may_read_any_kind_of_output(deep: Deep, inputs: Inputs) -> None:
    class Answering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = deep()

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"logits": self.body(x)}

    heat = grad_cam(Answering(), inputs(), target=lambda out: out["logits"][:, 2], layer="body.1")
    expected = grad_cam(deep(), inputs(), target=2, layer="1")
    assert torch.equal(heat.values, expected.values)


def test_display_matches_the_published_recipe(deep: Deep, inputs: Inputs) -> None:
    heat = grad_cam(deep(), inputs(), target=1, layer="1")
    positive = heat.values.relu().unsqueeze(1)
    expected = F.interpolate(positive, (10, 8), mode="bilinear", align_corners=False).squeeze(1)
    expected = expected / expected.amax((1, 2), keepdim=True)
    torch.testing.assert_close(heat.display(), expected)
