"""Fields against gradients: an input is in the field if and only if the output moves with it.

Weights are positive and maxima are averages, so that nothing cancels; then the inputs with a
gradient are those that a position can depend on. They lie in the field everywhere, and are all of
it where no window leaves the input.
"""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from convarium import models
from convarium.graph import trace
from convarium.measure.field import receptive_field
from convarium.measure.rules.following import follow_graph

C = 4  # channels of every map


class Fn(nn.Module):
    """A functional call."""

    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, x):
        return self.call(x)


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)


class Dense(nn.Module):
    def __init__(self, inner, mix):
        super().__init__()
        self.inner, self.mix = inner, mix

    def forward(self, x):
        return self.mix(torch.cat([x, self.inner(x)], 1))


def shuffled(x):
    """Pixel shuffle along one axis, by views."""
    b, c, n = x.shape
    y = x.reshape(b, c // 2, 2, n).permute(0, 1, 3, 2).reshape(b, c // 2, 2 * n)
    return torch.cat([y, y], 1)


small = st.integers(1, 3)


@st.composite
def layers(draw):
    """One layer on (B, C, n), about as long afterwards, or shorter or longer by a whole factor."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    k, s, d = draw(st.integers(1, 5)), draw(small), draw(small)
    p, q = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    return kind, k, s, d, p, q


def conv(k, s, d, p, groups=1, mode="zeros", channels=C):
    return nn.Conv1d(channels, C, k, s, p, d, groups=groups, padding_mode=mode)


KINDS = {
    "conv": lambda k, s, d, p, q: conv(k, s, d, p),
    "depthwise": lambda k, s, d, p, q: conv(k, s, d, p, groups=C),
    "circular": lambda k, s, d, p, q: conv(k, s, d, p, mode="circular"),
    "reflect": lambda k, s, d, p, q: conv(k, s, d, p, mode="reflect"),
    "transposed": lambda k, s, d, p, q: nn.ConvTranspose1d(C, C, k + s, s, p, dilation=d),
    "average": lambda k, s, d, p, q: nn.AvgPool1d(k, s, k // 2),
    "causal": lambda k, s, d, p, q: nn.Sequential(
        nn.ConstantPad1d((d * (k - 1), 0), 0.0), conv(k, 1, d, 0)
    ),
    "crop": lambda k, s, d, p, q: Fn(lambda x: x[:, :, p : x.shape[2] - q]),
    "every second": lambda k, s, d, p, q: Fn(lambda x: x[..., p::2]),
    "nearest": lambda k, s, d, p, q: nn.Upsample(scale_factor=s),
    "linear": lambda k, s, d, p, q: nn.Upsample(scale_factor=s, mode="linear"),
    "half": lambda k, s, d, p, q: Fn(
        lambda x: nn.functional.interpolate(x, size=x.shape[2] // 2 * 3 // 2, mode="linear")
    ),
    "adaptive": lambda k, s, d, p, q: Fn(
        lambda x: nn.functional.adaptive_avg_pool1d(x, max(x.shape[2] // (s + 1), 8))
    ),
    "residual": lambda k, s, d, p, q: Residual(conv(2 * k - 1, 1, d, d * (k - 1))),
    "dense": lambda k, s, d, p, q: Dense(
        conv(2 * k - 1, 1, d, d * (k - 1)), conv(1, 1, 1, 0, channels=2 * C)
    ),
    "repeated": lambda k, s, d, p, q: Fn(lambda x: x.repeat_interleave(s, 2)),
    "ends doubled": lambda k, s, d, p, q: Fn(
        lambda x: torch.cat([x[..., p : p + 1], x, x[..., -1:]], 2)
    ),
    "shifted sum": lambda k, s, d, p, q: Fn(lambda x: x[..., p:] + x[..., : x.shape[2] - p]),
    "replicate": lambda k, s, d, p, q: Fn(lambda x: nn.functional.pad(x, (p, q), mode="replicate")),
    "uneven transposed": lambda k, s, d, p, q: nn.ConvTranspose1d(
        C, C, k + s, s, p, output_padding=s - 1
    ),
    "tokens": lambda k, s, d, p, q: nn.Sequential(
        Fn(lambda x: x.transpose(1, 2)), nn.Linear(C, C), Fn(lambda x: x.transpose(1, 2))
    ),
    "ceil": lambda k, s, d, p, q: nn.AvgPool1d(k, s, k // 2, ceil_mode=True),
    "flip": lambda k, s, d, p, q: Fn(lambda x: x.flip(2)),
    "shuffle": lambda k, s, d, p, q: Fn(shuffled),
    "gate": lambda k, s, d, p, q: Fn(lambda x: x * x.detach().mean(2, keepdim=True).sigmoid()),
}


def build(specs):
    network = nn.Sequential(*[KINDS[kind](*numbers) for kind, *numbers in specs]).double()
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    return network


def reached(network, n, i):
    """The inputs with a gradient of output position i."""
    x = torch.rand(1, C, n, dtype=torch.float64).add_(0.5).requires_grad_()
    y = network(x)
    y[..., i].sum().backward()
    return (x.grad != 0).any(1)[0].nonzero()[:, 0].tolist()


WRAPPED = {"circular", "reflect", "replicate"}  # near a border they read the other side, or inside


@settings(max_examples=150, deadline=None)
@given(st.lists(layers(), min_size=1, max_size=5))
def test_the_field_is_what_the_gradient_reaches(specs):
    n = 420
    network = build(specs)
    try:
        length = network(torch.zeros(1, C, n, dtype=torch.float64)).shape[2]
    except RuntimeError:
        return
    if length > 6000:
        return
    graph = trace(network, (1, C, n))
    state = follow_graph(graph)[graph.outputs[0].number]
    field = receptive_field(network, (1, C, n))
    assert not state.unknown
    assert field.status in ("exact", "bound")
    wraps = any(kind in WRAPPED for kind, *_ in specs)
    middle = length // 2
    for i in {0, 1, length // 3, middle, middle + 1, middle + 2, length - 1} & {*range(length)}:
        moved = reached(network, n, i)
        lo, hi = (int(end[0]) for end in state.reaches[0].at(np.array([i])))
        inside = lo > 60 and hi < n - 61
        if not moved or (wraps and not inside):
            continue
        assert lo <= moved[0] <= moved[-1] <= hi, (i, specs)
        if inside and field.status == "exact":
            assert (moved[0], moved[-1]) == (lo, hi), (i, specs)
    assert field.shape == (1, C, length)


@pytest.mark.parametrize(("length", "seen"), [(40, 13), (9, 9)])
def test_the_last_step_of_a_tcn_sees_what_its_output_moves_with(length, seen):
    network = models.create("tcn", channels=[3, 3], num_classes=2, norm="none").double().eval()
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    x = torch.rand(1, 1, length, dtype=torch.float64, requires_grad=True)
    network(x).sum().backward()
    moved = x.grad[0, 0].nonzero()[:, 0]
    assert (int(moved[0]), int(moved[-1])) == (length - seen, length - 1)
    field = receptive_field(network, (1, 1, length))
    assert (field.layer, field.size, field.output_size) == ("stage2.0.act3", (13,), (seen,))
    every = models.create("tcn", channels=[3, 3], readout="every")
    assert receptive_field(every, (1, 1, length)).output_size == ()
