"""Fields of tensors that are written into part by part, against gradients.

Weights and inputs are positive, so that nothing cancels. Every position of both axes is compared.
"""

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hand_made import Forward
from hypothesis import assume, given, settings
from torch import nn
from torch.nn import functional

from convarium.graph import trace
from convarium.measure import receptive_field
from convarium.measure.rules.following import follow_graph

SHAPE = (1, 2, 7, 9)


def moved(y, x):
    """Of each position, along each axis, the first and the last input that move it, or None."""
    each = torch.eye(y[0, 0].numel(), dtype=y.dtype).unflatten(1, y.shape[2:])
    (gradients,) = torch.autograd.grad(y.sum((0, 1)), x, each, is_grads_batched=True)
    for there in (gradients.abs() > 1e-9).flatten(1, 2).any(1):
        places = there.nonzero()
        yield (
            [*zip(places.min(0).values.tolist(), places.max(0).values.tolist(), strict=True)]
            if (len(places))
            else None
        )


def checked(model, shape=SHAPE):
    """Positions whose field is exactly what the gradient says, after a check that none is larger.

    Positions that read padding are only checked to lie in the field.
    """
    for parameter in model.double().parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    x = torch.rand(shape, dtype=torch.float64).add_(0.5).requires_grad_()
    y = model(x)
    graph = trace(model, shape)
    state, equal = follow_graph(graph).get(graph.outputs[0].number), 0
    if state is None:
        assert not any(moved(y, x))
        return 0
    assert not state.unknown
    for place, seen in zip(itertools.product(*map(range, y.shape[2:])), moved(y, x), strict=True):
        at = [np.array([0 if r.dim is None else place[r.dim - 2]]) for r in state.reaches]
        reaches = zip(state.reaches, at, strict=True)
        told = [tuple(int(end[0]) for end in r.at(i)) for r, i in reaches]
        inner = [a <= lo <= hi <= b for (lo, hi), (a, b) in zip(told, state.seen, strict=True)]
        if seen is None:
            empty = any(lo > hi for lo, hi in told)
            assert empty or state.bound or not all(inner), (place, told)
            continue
        for (lo, hi), (first, last) in zip(told, seen, strict=True):
            assert lo <= first <= last <= hi, (place, told, seen)
        if not state.bound and all(inner):
            assert told == seen, (place, told, seen)
            equal += 1
    return equal


def zeros(x):
    return torch.zeros(x.shape, dtype=x.dtype, device=x.device)


def rows(self, x):
    y = self.one(x)
    y[:, :, 1:-1] = self.tall(x)[:, :, 1:-1]
    return y


def rows_by_scatter(self, x):
    return torch.slice_scatter(self.one(x), self.tall(x)[:, :, 2:5], 2, 2, 5)


def a_row_by_scatter(self, x):
    return torch.select_scatter(self.one(x), self.tall(x)[:, :, 2], 2, 4)


def numbered(self, x):
    y = self.one(x)
    y[:, :, torch.tensor([0, 5, 3])] = x[:, :, torch.tensor([1, 2, 4])]
    return y


def copied_by_number(self, x):
    return self.one(x).index_copy(2, torch.tensor([6, 1]), self.tall(x)[:, :, :2])


def emptied_by_number(self, x):
    return self.wide(x).index_fill(3, torch.tensor([0, 8]), 0.0)


def in_turn(self, x):
    y = zeros(x)
    y[:, :, ::2] = self.tall(x)[:, :, ::2]
    y[:, :, 1::2] = self.one(x)[:, :, 1::2]
    return y


def one_by_one(self, x):
    y = torch.zeros_like(x)
    for i in range(x.shape[2]):
        y[:, :, i] = x[:, :, i] * 2
    return y


def stuffed(self, x):
    y = x.new_zeros(1, 2, 2 * x.shape[2], 3 * x.shape[3])
    y[:, :, 1::2, ::3] = self.square(x)
    return self.square(y)


def padded(self, x):
    y = x.new_zeros(1, 2, 12, 15)
    y[:, :, 1:8, 2:11] = self.one(x)
    return self.square(y)


def some_channels(self, x):
    y = x.clone()
    y[:, :1] = self.square(x)[:, 1:]
    return self.one(y)


def borders_emptied(self, x):
    y = self.square(x)
    y[..., 0] = 0
    y[..., -1] = 1.0
    return y


def added_to(self, x):
    y = self.one(x)
    y[:, :, 2:] += self.tall(x)[:, :, 2:]
    return y


def through_other_orders(self, x):
    y = self.one(x)
    y.permute(0, 2, 3, 1)[:, 3] = self.tall(x).permute(0, 2, 3, 1)[:, 3]
    y.transpose(2, 3).copy_(self.tall(x).transpose(2, 3))
    return y


def all_of_it_by_another_shape(self, x):
    y = self.one(x)
    y.flatten(2).copy_(self.square(x).flatten(2))
    return self.tall(y)


def older_views(self, x):
    y = self.tall(x)
    top, bottom, flat = y[:, :, :3], y[:, :, 3:], y.flatten(2)
    y[:, :, 3:] = x[:, :, 3:]
    return torch.cat([top, bottom, flat.unflatten(2, (7, 9))], 2)


def emptied_and_filled(self, x):
    y = self.tall(x)
    y.zero_()
    y += self.one(x)
    return self.square(y)


def written_while_kept(self, x):
    y = self.one(x)
    before = y * 1
    y[:, :, 0] = x[:, :, 5]
    return y + before


EXACT = [
    *(rows_by_scatter, numbered, copied_by_number, emptied_by_number, one_by_one, stuffed, padded),
    *(some_channels, borders_emptied, all_of_it_by_another_shape, emptied_and_filled, in_turn),
    *(rows, a_row_by_scatter, added_to, through_other_orders, older_views, written_while_kept),
]


def model_of(forward):
    return Forward(
        forward,
        one=nn.Conv2d(2, 2, 1),
        tall=nn.Conv2d(2, 2, (3, 1), padding=(1, 0)),
        wide=nn.Conv2d(2, 2, (1, 3), padding=(0, 1)),
        square=nn.Conv2d(2, 2, 3, padding=1),
    )


@pytest.mark.parametrize("forward", EXACT)
def test_what_is_written_is_followed(forward):
    assert checked(model_of(forward)) > 9
    assert receptive_field(model_of(forward), SHAPE).status == "exact"


def test_a_middle_with_another_field_than_its_border_is_a_bound():
    def forward(self, x):
        y = x.clone()
        y[..., 1:-1, 1:-1] = self.square(x)[..., 1:-1, 1:-1]
        return y

    field = receptive_field(model_of(forward), SHAPE)
    checked(model_of(forward))
    assert (field.size, field.status, field.layer) == ((3, 3), "bound", ":write")


def test_layers_keep_their_own_rows():
    field = receptive_field(model_of(rows), SHAPE)
    told = {row.layer: row.size for row in field.rows}
    assert (told["one"], told["tall"], told[":write"]) == ((1, 1), (3, 1), (3, 1))


@st.composite
def slices(draw, n):
    """Some positions of n, one at least, in order."""
    first = draw(st.integers(0, n - 1))
    return slice(first, draw(st.integers(first + 1, n)), draw(st.integers(1, 3)))


@st.composite
def steps(draw):
    """A write: from which layer, where, and to what axes."""
    layer = draw(st.sampled_from(["one", "tall", "wide", "square", "zero", "add"]))
    whole = slice(None)
    channels = draw(st.sampled_from([whole, whole, whole, slice(0, 1), slice(1, 2)]))
    height = draw(st.one_of(st.just(whole), slices(7), st.integers(0, 6)))
    width = draw(st.one_of(st.just(whole), slices(9)))
    return layer, (slice(None), channels, height, width)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(["input", "zeros", "one"]), st.lists(steps(), min_size=1, max_size=4))
def test_any_writes_are_in_the_field(begin, writes):
    def forward(self, x):
        y = {"input": lambda: x * 2, "zeros": lambda: zeros(x), "one": lambda: self.one(x)}[begin]()
        for layer, place in writes:
            if layer == "zero":
                y[place] = 0
            elif layer == "add":
                y[place] += self.square(x)[place]
            else:
                y[place] = getattr(self, layer)(y.clone() if layer == "wide" else x)[place]
        return y

    model = model_of(forward).requires_grad_(False)
    assume(model(torch.ones(SHAPE, requires_grad=True)).requires_grad)
    assert checked(model) >= 0  # no position reads more than its field


@st.composite
def pools(draw):
    n = draw(st.integers(3, 20))
    k = draw(st.integers(1, min(n - 1, 4)))
    return n, k, draw(st.integers(1, n - k))


@settings(max_examples=60, deadline=None)
@given(pools(), st.integers(0, 99))
def test_fractional_pools_read_what_some_draw_reads(sizes, seed):
    n, k, m = sizes
    generator = torch.Generator().manual_seed(seed)
    draws = 300
    x = torch.rand(draws, 1, n, n, dtype=torch.float64, generator=generator)
    samples = torch.rand(draws, 1, 2, dtype=torch.float64, generator=generator)
    _, index = functional.fractional_max_pool2d(
        x, k, output_size=m, return_indices=True, _random_samples=samples
    )
    columns = index[:, 0] % n
    model = nn.FractionalMaxPool2d(k, output_size=m)
    graph = trace(model, (1, 1, n, n))
    state = follow_graph(graph)[graph.outputs[0].number]
    lo, hi = state.reaches[1].at(np.arange(m))
    least, most = columns.amin((0, 1)).numpy(), columns.amax((0, 1)).numpy()
    assert (lo <= least).all()
    assert (most <= hi).all()
    assert state.bound == bool(m > 1 and (n - k) % (m - 1))
    if not state.bound:
        assert (hi - lo + 1 == k).all()
        assert (lo == least).all()
        assert (hi == most).all()
    assert ((hi - lo + 1 == k) | (hi - lo == k)).all()


def test_fractional_pools_of_volumes_and_after_layers():
    model = nn.Sequential(nn.Conv3d(1, 1, 3), nn.FractionalMaxPool3d(2, output_size=4))
    field = receptive_field(model, (1, 1, 10, 10, 10))
    assert (field.size, field.status) == ((4, 4, 4), "exact")
    model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.FractionalMaxPool2d(2, output_ratio=0.6))
    field = receptive_field(model, (1, 1, 20, 20))
    assert (field.size, field.status) == ((5, 5), "bound")
