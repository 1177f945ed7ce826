"""Layer scale and squeeze-excitation against their equations by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convarium import layers

GATES = {
    "sigmoid": lambda z: 1 / (1 + (-z).exp()),
    "hardsigmoid": lambda z: (z / 6 + 0.5).clamp(0, 1),
}
ACTIVATIONS = {"relu": lambda z: z.clamp(min=0), "silu": lambda z: z / (1 + (-z).exp())}


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_layer_scale_is_the_product_with_a_diagonal_matrix(rank):
    torch.manual_seed(0)
    scale = layers.LayerScale(5)
    nn.init.normal_(scale.gamma)
    x = torch.randn(2, 5, *[3] * rank)
    torch.testing.assert_close(scale(x), torch.einsum("cd,bd...->bc...", scale.gamma.diag(), x))


@pytest.mark.parametrize("initial", [1e-6, 0.1])
def test_layer_scale_starts_at_one_small_number_per_channel(initial):
    scale = layers.LayerScale(7, initial)
    assert [p.tolist() for p in scale.parameters()] == [[pytest.approx(initial)] * 7]


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_squeeze_and_excitation_is_the_papers_equation_by_hand(rank, activation, gate):
    torch.manual_seed(0)
    block = layers.SqueezeExcitation(rank, 6, 2, activation=activation, gate=gate).double()
    x = torch.randn(3, 6, *[4, 3, 2][:rank], dtype=torch.float64)
    p = {name: tensor.flatten(1) if "weight" in name else tensor for name, tensor in
         block.state_dict().items()}  # fmt: skip
    # eq. 2: z = mean over positions; eq. 3: s = gate(W2 act(W1 z)), here with biases; eq. 4: s x.
    z = x.flatten(2).mean(2)
    hidden = ACTIVATIONS[activation](z @ p["reduce.weight"].T + p["reduce.bias"])
    s = GATES[gate](hidden @ p["expand.weight"].T + p["expand.bias"])
    torch.testing.assert_close(block(x), x * s.view(3, 6, *[1] * rank))


def test_squeeze_and_excitation_has_two_layers_with_biases():
    block = layers.SqueezeExcitation(2, channels=8, squeezed=3)
    assert sum(p.numel() for p in block.parameters()) == 8 * 3 + 3 + 3 * 8 + 8
    assert [name for name, _ in block.named_parameters()] == [
        "reduce.weight",
        "reduce.bias",
        "expand.weight",
        "expand.bias",
    ]


def test_the_gate_sees_the_mean_only_so_the_order_of_positions_is_nothing_to_it():
    torch.manual_seed(0)
    block = layers.SqueezeExcitation(2, 4, 2).double()
    x = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    torch.testing.assert_close(block(x.flip(2, 3)), block(x).flip(2, 3))


@pytest.mark.parametrize(("gate", "weight"), [("sigmoid", 0.5), ("hardsigmoid", 0.5)])
def test_a_gate_without_weights_is_one_half(gate, weight):
    block = layers.SqueezeExcitation(1, 4, 2, gate=gate)
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(2, 4, 5)
    torch.testing.assert_close(block(x), weight * x)


def test_the_gradient_passes_through_the_map_and_through_the_gate():
    torch.manual_seed(0)
    block = layers.SqueezeExcitation(1, 3, 2, activation="silu").double()
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, x)
    scale = layers.LayerScale(3, 0.3).double()
    assert torch.autograd.gradcheck(scale, x)
    assert torch.autograd.gradcheck(lambda g: F.mse_loss(x * g.view(-1, 1), x), scale.gamma)
