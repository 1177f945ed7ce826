"""Fields with gates against gradients: from the first input that moves a position to the last.

Everything is positive, so that nothing cancels, and no layer leaves gaps between its inputs.
"""

import hypothesis.strategies as st
import pytest
import torch
from hand_made import Forward
from hypothesis import given
from torch import nn

from convarium.measure import receptive_field

N = 24  # inputs


def extents(network: nn.Module) -> list[int]:
    """Of each position of the map, the inputs from the first to the last with a gradient."""
    x = torch.rand(1, 2, N, dtype=torch.float64).add_(0.5).requires_grad_()
    y = network(x).sum((0, 1))
    each = torch.eye(len(y), dtype=torch.float64)
    (gradients,) = torch.autograd.grad(y, x, each, is_grads_batched=True)
    moved = [(g != 0).nonzero()[:, 0].tolist() for g in gradients.sum((1, 2))]
    return [found[-1] - found[0] + 1 if found else 0 for found in moved]


def positive(*layers: nn.Module) -> nn.Sequential:
    network = nn.Sequential(*layers).double()
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    return network


def conv(k: int, s: int = 1, p: int = 0) -> nn.Conv1d:
    return nn.Conv1d(2, 2, k, s, p)


def gated(x: torch.Tensor, first: int, length: int) -> torch.Tensor:
    """Scaled by the mean of some positions."""
    first = min(first, x.shape[2] - 1)
    return x * x[..., first : first + length].mean(2, keepdim=True)


def halves(x: torch.Tensor, at: int, both: bool) -> torch.Tensor:
    """Two parts, each scaled by its own mean, or only the first of them."""
    at = max(min(at, x.shape[2] - 1), 1)
    one, other = x[..., :at], x[..., at:]
    one = one * one.mean(2, keepdim=True)
    return torch.cat([one, other * other.mean(2, keepdim=True) if both else other], 2)


@st.composite
def layers(draw):
    kind = draw(st.sampled_from(["conv", "conv", "up", "part", "halves", "cut", "flip", "sums"]))
    k, s, p = draw(st.integers(1, 5)), draw(st.integers(1, 2)), draw(st.integers(0, 2))
    first, length = draw(st.integers(0, 16)), draw(st.integers(1, 6))
    if kind == "conv":
        return lambda: conv(k, min(s, k), min(p, k - 1))
    call = {
        "part": lambda x: gated(x, first, length),
        "halves": lambda x: halves(x, first, both=length > 3),
        "cut": lambda x: x[..., s : x.shape[2] - p],
        "flip": lambda x: x.flip(2),
        "sums": lambda x: x.cumsum(2),
        "up": lambda x: x.repeat_interleave(s, 2),
    }[kind]
    return lambda: Forward(lambda self, x: call(x))


@given(st.lists(layers(), min_size=1, max_size=5))
def test_the_field_with_gates_is_the_longest_that_the_gradient_reaches(made):
    network = positive(*[make() for make in made])
    try:
        seen = extents(network)
    except (RuntimeError, IndexError):  # nothing is left of the map
        return
    field = receptive_field(network, (1, 2, N))
    assert field.status == "exact"
    assert field.size_with_gates == (max(*field.size, *seen),)
    if field.gates_see_all:
        assert set(seen) == {N}


@pytest.mark.parametrize(
    ("first", "length", "wanted"),
    [(0, 4, N), (10, 4, 14), (N - 4, 4, N), (0, N, N), (11, 1, 13)],
)
def test_a_gate_that_sees_a_part_lengthens_the_field_to_it(first, length, wanted):
    model = positive(Forward(lambda self, x: gated(x, first, length)))
    field = receptive_field(model, (1, 2, N))
    assert (field.size, field.size_with_gates) == ((1,), (wanted,))
    assert max(extents(model)) == wanted
    assert field.gates_see_all is (length == N)
    assert ("depends on all" in field.sentence()) is (length == N)


def test_two_halves_with_gates_of_their_own_see_half_each():
    model = positive(conv(3, p=1), Forward(lambda self, x: halves(x, N // 2, both=True)))
    field = receptive_field(model, (1, 2, N))
    assert field.size_with_gates == (N // 2 + 1,) == (max(extents(model)),)
    assert "depends on all" not in field.sentence()
    after = receptive_field(positive(*model, conv(3, p=1)), (1, 2, N))
    assert after.size_with_gates == (N,)  # the two positions in the middle see both


def test_each_axis_has_gates_of_its_own():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), Forward(lambda self, x: x * x.mean(2, keepdim=True).sigmoid())
    )
    field = receptive_field(model, (1, 1, 20, 30))
    assert (field.size, field.size_with_gates) == ((3, 3), (20, 3))
    assert "sees up to 20 x 3 inputs" in field.sentence()


def test_a_gate_made_of_padding_alone_is_none():
    model = positive(conv(1, p=3), Forward(lambda self, x: gated(x, 0, 2)))
    field = receptive_field(model, (1, 2, N))
    assert field.size_with_gates == (1,) == (max(extents(model)),)


@pytest.mark.parametrize(
    "around",
    [
        Forward(lambda self, x: x.roll(5, 2)),
        nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular"),
        nn.Sequential(nn.AvgPool1d(2), Forward(lambda self, x: x.roll(-3, 2))),
    ],
)
def test_what_goes_around_the_ends_is_inside_the_input(around):
    gates = receptive_field(nn.Sequential(around, nn.InstanceNorm1d(2)), (1, 2, N))
    assert gates.size_with_gates == (N,)
    pooled = receptive_field(nn.Sequential(around, nn.AdaptiveAvgPool1d(1)), (1, 2, N))
    assert pooled.output_size == (N,)


def test_a_rolled_part_lies_where_it_came_from():
    model = positive(Forward(lambda self, x: x.roll(5, 2)), Forward(lambda self, x: gated(x, 0, 3)))
    assert receptive_field(model, (1, 2, N)).size_with_gates == (max(extents(model)),)


def test_a_part_without_positions_is_no_gate():
    model = Forward(lambda self, x: x + x[..., N:].sum(2, keepdim=True))
    field = receptive_field(model, (1, 2, N))
    assert (field.size, field.size_with_gates) == ((1,), (1,))
