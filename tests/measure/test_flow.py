"""Gradient flow against closed forms and against autograd's own way, and no trace afterwards."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hand_made import state_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

import convarium
from convarium.errors import OptionError
from convarium.layers import Blocks
from convarium.measure.flow import gradient_flow


def total(output: Tensor, _: Any) -> Tensor:
    return output.sum()


@settings(max_examples=30)
@given(sizes=st.tuples(*[st.integers(1, 6)] * 4), scale=st.floats(0.1, 10), seed=st.integers(0, 99))
def test_two_linear_layers_have_the_gradients_of_the_matrix_product(
    sizes: tuple[int, int, int, int], scale: float, seed: int
) -> None:
    """L = c sum(W2 W1 X): dL/dW2 = c 1 (W1 X)^T, dL/dW1 = c W2^T 1 X^T, dL/d(W1 X) = c W2^T 1."""
    batch, inputs, hidden, outputs = sizes
    random = np.random.default_rng(seed)
    one, two = random.normal(size=(hidden, inputs)), random.normal(size=(outputs, hidden))
    x = random.normal(size=(batch, inputs))
    network = nn.Sequential(
        nn.Linear(inputs, hidden, bias=False), nn.Linear(hidden, outputs, bias=False)
    ).double()
    for layer, weight in zip(network, (one, two), strict=True):
        layer.weight.data = torch.from_numpy(weight)
    flow = gradient_flow(network, torch.from_numpy(x), loss=lambda y, _: scale * y.sum())
    ones = np.ones((outputs, batch))
    back = two.T @ ones
    first, second = flow.rows
    assert first.weight_gradient == pytest.approx(scale * np.linalg.norm(back @ x))
    assert second.weight_gradient == pytest.approx(scale * np.linalg.norm(ones @ (x @ one.T)))
    assert first.output_gradient == pytest.approx(scale * np.sqrt((back**2).mean()))
    assert second.output_gradient == pytest.approx(scale)
    assert second.ratio == pytest.approx(scale / first.output_gradient)
    assert flow.loss == pytest.approx(scale * (two @ one @ x.T).sum())


def test_a_chain_shrinks_the_gradient_by_its_factor_at_each_layer() -> None:
    chain = nn.Sequential(*(nn.Conv1d(1, 1, 1, bias=False) for _ in range(6)))
    for layer in chain:
        nn.init.constant_(layer.weight, 0.5)
    flow = gradient_flow(chain, torch.ones(2, 1, 5), loss=total)
    assert [row.output_gradient for row in flow.rows] == [0.5**k for k in (5, 4, 3, 2, 1, 0)]
    assert [row.ratio for row in flow.rows] == [2.0**k for k in range(6)]


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Conv1d(1, 1, 1, bias=False)
        nn.init.zeros_(self.branch.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


def test_through_residual_blocks_that_start_as_identity_the_gradient_passes_unshrunk() -> None:
    flow = gradient_flow(
        nn.Sequential(*(Residual() for _ in range(9))), torch.ones(1, 1, 4), loss=total
    )
    assert {row.output_gradient for row in flow.rows} == {1.0}
    assert {row.weight_gradient for row in flow.rows} == {4.0}


def small(inplace: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=inplace),
        nn.Conv2d(4, 3, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(3, 5),
    )


X = torch.randn(6, 2, 8, 8, generator=torch.Generator().manual_seed(1))
Y = torch.tensor([0, 4, 2, 2, 1, 3])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("inplace", [False, True])
def test_gradients_are_those_of_a_plain_backward_pass(training: bool, inplace: bool) -> None:
    flow = gradient_flow(small(inplace), X, Y, training=training)
    network, outputs = small().train(training), {}
    y = X
    for name, layer in network.named_children():
        y = layer(y)
        y.retain_grad()
        outputs[name] = y
    functional.cross_entropy(y, Y).backward()
    assert [row.layer for row in flow.rows] == ["0", "1", "2", "3", "6"]
    for row in flow.rows:
        expected = outputs[row.layer].grad.square().mean().sqrt()
        assert row.output_gradient == pytest.approx(float(expected), rel=1e-5)
        assert row.shape == tuple(outputs[row.layer].shape)
        weight = getattr(network[int(row.layer)], "weight", None)
        if weight is None:
            assert row.weight_gradient is None
        else:
            assert row.weight_gradient == pytest.approx(float(weight.grad.norm()), rel=1e-5)


def test_without_a_target_the_mean_logit_of_the_predicted_class_is_differentiated() -> None:
    network, x = nn.Linear(3, 4), torch.randn(5, 3)
    flow = gradient_flow(network, x)
    assert flow.loss == pytest.approx(network(x).max(1).values.mean().item())
    assert flow.rows[0].output_gradient == pytest.approx(math.sqrt(5 * (1 / 5) ** 2 / 20))


def test_targets_may_be_shares_of_classes() -> None:
    network, x = nn.Linear(3, 4), torch.randn(5, 3)
    classes = torch.tensor([0, 3, 1, 1, 2])
    shares = functional.one_hot(classes, 4).float()
    assert gradient_flow(network, x, shares).loss == pytest.approx(
        gradient_flow(network, x, classes.tolist()).loss
    )


def test_dead_units_are_counted_over_all_samples_and_positions() -> None:
    conv = nn.Conv2d(1, 4, 1)
    nn.init.ones_(conv.weight)
    conv.bias.data = torch.tensor([-100.0, 0.0, -100.0, -1.5])
    x = torch.zeros(3, 1, 2, 2)
    x[2, 0, 1, 1] = 2.0  # one position of one sample keeps the last unit alive
    network = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(16, 4), nn.ReLU6(), nn.Tanh())
    nn.init.zeros_(network[3].weight)
    network[3].bias.data = torch.tensor([-1.0, 7.0, 0.0, 1.0])
    flow = gradient_flow(network, x)
    relu, relu6, tanh = (flow.rows[k] for k in (1, 3, 4))
    assert (relu.units, relu.dead) == (4, 0.5)
    assert (relu6.units, relu6.dead) == (4, 0.5)
    assert (tanh.units, tanh.dead) == (None, None)
    assert flow.dead == 0.5
    assert gradient_flow(nn.Sequential(nn.Linear(1, 2)), torch.ones(1, 1)).dead is None


def test_a_dead_layer_stops_the_gradient() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    nn.init.constant_(network[1].bias, -100.0)
    flow = gradient_flow(network, torch.ones(4, 2))
    assert [row.weight_gradient for row in flow.rows[:2]] == [0.0, 0.0]
    assert flow.rows[3].output_gradient > 0
    assert [row.ratio for row in flow.rows] == [None] * 4


def test_shared_weights_have_one_gradient_told_at_each_use() -> None:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 3.0)
    flow = gradient_flow(nn.Sequential(layer, layer), torch.tensor([[2.0]]), loss=total)
    assert [row.call for row in flow.rows] == [1, 2]
    assert [row.weight_gradient for row in flow.rows] == [12.0, 12.0]  # d(2 w^2)/dw = 4 w
    assert [row.output_gradient for row in flow.rows] == [3.0, 1.0]


def test_parametrised_weights_are_told_at_their_layer() -> None:
    layer = parametrizations.weight_norm(nn.Linear(2, 1))
    flow = gradient_flow(nn.Sequential(layer), torch.tensor([[3.0, 4.0]]), loss=total)
    assert [row.layer for row in flow.rows] == ["0"]
    layer(torch.tensor([[3.0, 4.0]])).sum().backward()
    inside = layer.parametrizations.weight
    expected = math.hypot(inside.original0.grad.norm(), inside.original1.grad.norm())
    assert flow.rows[0].weight_gradient == pytest.approx(expected)


def test_recomputed_blocks_are_told_once() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 2, 1), Blocks(small()[:3], nn.Conv2d(4, 3, 3)), nn.Flatten()
    )
    plain = gradient_flow(network, X, loss=total, training=True)
    network[1].recompute = True
    recomputed = gradient_flow(network, X, loss=total, training=True)
    assert plain == recomputed
    assert len(plain.rows) == 5


def test_what_the_loss_does_not_depend_on_has_no_gradient() -> None:
    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.aside, self.quiet = (nn.Linear(2, 2) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            self.aside(x)
            with torch.no_grad():
                self.quiet(x)
            return self.used(x)

    rows = {row.layer: row for row in gradient_flow(Detached(), torch.ones(1, 2)).rows}
    assert (rows["aside"].weight_gradient, rows["aside"].output_gradient) == (0.0, 0.0)
    assert (rows["quiet"].weight_gradient, rows["quiet"].output_gradient) == (0.0, None)
    assert rows["used"].weight_gradient > 0


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_frozen_networks_and_any_gradient_mode_give_the_same(mode: Any) -> None:
    expected = gradient_flow(small(), X, Y)
    frozen = small().requires_grad_(False)
    with mode():
        assert gradient_flow(frozen, X, Y) == expected
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


def test_weights_made_in_inference_mode_have_gradients_too() -> None:
    with torch.inference_mode():
        network = small()
    assert gradient_flow(network, X, Y) == gradient_flow(small(), X, Y)
    assert all(parameter.is_inference() for parameter in network.parameters())


def test_token_ids_are_inputs_too() -> None:
    network = nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Linear(12, 2))
    flow = gradient_flow(network, torch.tensor([[0, 1, 2, 6]]))
    assert [row.kind for row in flow.rows] == ["Embedding", "Linear"]


def test_a_real_network_has_a_row_for_every_layer_with_weights() -> None:
    torch.manual_seed(0)
    network = convarium.create("resnet20_cifar")
    flow = gradient_flow(network, torch.randn(4, 3, 32, 32), torch.arange(4), training=True)
    named = {name for name, module in network.named_modules() if "weight" in module._parameters}
    assert {row.layer for row in flow.rows if row.weight_gradient is not None} == named
    assert flow.rows[0].ratio == 1.0


class Tokens(nn.Module):
    """A block with weights of its own, in a list and as attributes, and a layer inside."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([2.0, 3.0]))
        self.bias = nn.Parameter(torch.ones(2))
        self.shifts = nn.ParameterList([torch.zeros(2), torch.ones(2)])
        self.inner = nn.Linear(2, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x) + self.shifts[0] + 2 * self.shifts[1]
        return self.scale * y + self.bias


def test_weights_of_a_block_have_a_row_behind_its_layers() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Tokens(), nn.Linear(2, 1, bias=False))
    x = torch.randn(5, 2)
    flow = gradient_flow(model, x, loss=lambda y, _: (y**2).sum())
    assert [row.layer for row in flow.rows] == ["0.inner", "0", "1"]
    own = [model[0].scale, *model[0].shifts]
    gradients = torch.autograd.grad((model(x) ** 2).sum(), own)
    norm = torch.cat(gradients).norm().item()
    assert flow.rows[1].weight_gradient == pytest.approx(norm)
    assert flow.rows[0].shape == flow.rows[1].shape == (5, 2)
    middle = model[0](x).detach().requires_grad_()
    (gradient,) = torch.autograd.grad((model[1](middle) ** 2).sum(), middle)
    assert flow.rows[1].output_gradient == pytest.approx(gradient.square().mean().sqrt().item())
    alone = gradient_flow(model[0], x, loss=lambda y, _: y.sum())
    assert [row.layer for row in alone.rows] == ["inner", ""]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gradient_flow(nn.Conv1d(1, 1, 1), torch.ones(1, 1, 2)), r"returns \(1, 1, 2\)"),
        (lambda: gradient_flow(nn.Linear(1, 2), torch.ones(2, 1), [0, 2]), "a class from 0 to 1"),
        (lambda: gradient_flow(nn.Linear(1, 2), torch.ones(2, 1), [0]), "for each of 2 samples"),
        (
            lambda: gradient_flow(nn.Linear(1, 2), torch.ones(2, 1), loss=lambda y, _: y),
            "one number",
        ),
        (
            lambda: gradient_flow(
                nn.Linear(1, 2), torch.ones(2, 1), loss=lambda y, _: y.detach().sum()
            ),
            "leave out detach",
        ),
        (lambda: gradient_flow(nn.Flatten(), torch.ones(1, 1)), "no layer with weights"),
    ],
)
def test_losses_that_cannot_be_differentiated_are_refused(call: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        call()


def fail(*_: Any) -> Tensor:
    raise RuntimeError("inside the loss")


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("loss", [None, fail])
def test_nothing_changes_also_when_the_loss_raises(training: bool, loss: Any) -> None:
    model = nn.Sequential(small(), nn.Dropout(0.3))
    model(X).sum().backward()
    model[0][1].eval()
    model[0][0].bias.requires_grad_(False)
    model[0][0].register_full_backward_hook(lambda *_: None)
    before = state_of(model)
    if loss is None:
        gradient_flow(model, X, Y, training=training)
    else:
        with pytest.raises(OptionError, match=r"loss \(=.*inside the loss"):
            gradient_flow(model, X, Y, loss=loss, training=training)
    assert state_of(model) == before


def test_the_result_is_json() -> None:
    told = gradient_flow(small(), X, Y).to_json()
    assert told["rows"][0]["layer"] == "0"
    assert told["dead"] == 0.0
