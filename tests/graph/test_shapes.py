"""Short cuts give the shapes, types and steps in memory that torch gives, or refuse as it does."""

import hypothesis.strategies as st
import pytest
import torch
from hand_made import Forward
from hypothesis import given, settings
from torch import nn
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves

from convarium.errors import ShapeError
from convarium.graph import trace


def seen(result):
    """Of each tensor: shape, type, and the steps in memory that a view could see."""
    return [
        (tuple(y.shape), y.dtype, [s for n, s in zip(y.shape, y.stride(), strict=True) if n > 1])
        for y in tree_leaves(result)
    ]


def run(call, shape):
    """What torch gives on the CPU, or None where it refuses."""
    try:
        return seen(call(torch.ones(shape)))
    except (RuntimeError, IndexError, ValueError):
        return None


def traced(call, shape):
    """What a trace gives, or None where it refuses."""
    told = []

    def forward(_, x):
        told.append(seen(call(x)))
        return x

    try:
        trace(Forward(forward), shape)
    except ShapeError:
        return None
    return told[0]


def laid(x, order):
    """The same numbers in another order in memory."""
    if order == "channels last" and x.ndim in (4, 5):
        last = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
        return x.contiguous(memory_format=last)
    if order == "turned" and x.ndim > 1:
        return x.transpose(1, -1).contiguous().transpose(1, -1)
    if order == "every second":
        return torch.cat([x, x], -1)[..., ::2]
    if order == "part" and x.ndim > 1:
        return torch.cat([x, x], 1)[:, : x.shape[1]]
    return x[:1].expand(x.shape) if order == "repeated" else x


plain = st.sampled_from(["", "channels last"])
orders = plain | st.sampled_from(["turned", "part", "every second", "repeated"])
types = st.sampled_from([torch.float32] * 3 + [torch.float64, torch.bfloat16])
any_type = st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.int64])
small = st.integers(1, 3)


def axes(rank, least, most):
    """One number an axis, or one for all; now and then too many."""
    number = st.integers(least, most)
    lengths = st.sampled_from([rank] * 8 + [1] * 4 + [rank + 1])
    return lengths.flatmap(lambda n: st.lists(number, min_size=n, max_size=n))


def sizes(rank, most=6, least=1):
    """Of a batch of maps."""
    return st.lists(st.integers(least, most), min_size=rank, max_size=rank).map(tuple)


def wrong(value, other):
    """A valid value mostly, and else another one."""
    return st.sampled_from([value] * 9 + [other])


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_convolutions(data):
    draw, (rank, transposed) = data.draw, data.draw(st.tuples(small, st.booleans()))
    rows, columns, groups = draw(st.tuples(small, small, st.integers(1, 2)))
    inside, outside = (rows, columns) if transposed else (columns, rows)
    weight_shape = [rows * groups, columns, *draw(sizes(rank, 3))]
    weight_shape = draw(wrong(weight_shape, [n + 1 for n in weight_shape]))
    bias_size = draw(wrong(outside * groups, outside * groups + 1))
    shape = (2, inside * groups, *draw(sizes(rank)))
    dtype = draw(types)
    weight_type = draw(wrong(dtype, torch.float16))
    order, weight_order = draw(st.tuples(plain, plain)) if rank == 2 else ("", "")
    least = draw(wrong(1, 0))
    stride, dilation = draw(axes(rank, least, 3)), draw(axes(rank, 1, 2))
    padding, spread = draw(axes(rank, least - 1, 2)), draw(axes(rank, 0, 1))
    groups = draw(wrong(groups, 3 - groups))

    def call(x):
        weight = laid(torch.ones(weight_shape, dtype=weight_type), weight_order)
        bias = torch.ones(bias_size, dtype=dtype)
        given = (stride, padding, dilation, transposed, spread, groups)
        return torch.convolution(laid(x.to(dtype), order), weight, bias, *given)

    expected = run(call, shape)
    if expected and 0 in expected[0][0]:
        expected = None  # maps without positions are refused
    assert traced(call, shape) == expected


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_pools(data):
    draw = data.draw
    kind, rank = draw(st.sampled_from([("max", 1), ("max", 2), ("max", 3), ("avg", 2), ("avg", 3)]))
    shape = draw(sizes(rank + draw(st.sampled_from([1, 2, 2, 2, 0, 3]))))
    least = draw(wrong(1, 0))
    kernel, stride = draw(axes(rank, least, 4)), draw(st.none() | axes(rank, least, 3))
    padding, ceil = draw(st.tuples(axes(rank, least - 1, 2), st.booleans()))
    dtype = draw(any_type if rank > 1 else types)
    if (kind, rank, dtype) == ("avg", 3, torch.bfloat16):
        dtype = torch.float32  # the CPU has no other
    order = draw(orders) if len(shape) == rank + 2 > 3 else ""
    more = {"dilation": draw(axes(rank, least, 2))}
    if kind == "avg":
        more = {"divisor_override": draw(st.sampled_from([None, 2, 0]))}

    def call(x):
        pool = getattr(F, f"{kind}_pool{rank}d")
        x = laid(x.to(dtype), order)
        return pool(x, kernel, stride, padding, ceil_mode=ceil, **more)

    assert traced(call, shape) == run(call, shape)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_adaptive_pools(data):
    draw = data.draw
    rank = draw(st.integers(2, 3))
    shape = draw(sizes(rank + draw(st.sampled_from([1, 2, 2, 2, 0, 3]))))
    positions, dtype, order = draw(st.tuples(axes(rank, draw(wrong(1, -1)), 4), any_type, orders))

    def call(x):
        return getattr(F, f"adaptive_avg_pool{rank}d")(laid(x.to(dtype), order), positions)

    assert traced(call, shape) == run(call, shape)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_norms(data):
    draw = data.draw
    shape = draw(st.integers(1, 5).flatmap(lambda n: sizes(n, 4, least=2)))
    dtype, order, training = draw(st.tuples(any_type, orders, st.booleans()))
    kinds = st.none() | st.sampled_from([dtype, dtype, dtype, torch.float32, torch.float64])
    given = draw(st.tuples(kinds, kinds, kinds, kinds))
    layers = draw(st.booleans())
    inside = shape[draw(st.integers(0, len(shape))) :] if layers else shape[1:2]
    inside = draw(wrong(inside, (5, *inside[1:])))

    def call(x):
        x = laid(x.to(dtype), order)
        weight, bias, *running = (
            None if kind is None else torch.ones(inside, dtype=kind) for kind in given
        )
        if layers:
            return F.layer_norm(x, inside, weight, bias)
        return F.batch_norm(x, *running, weight, bias, training)

    assert traced(call, shape) == run(call, shape)


POINTWISE = (
    *(F.relu, F.silu, F.gelu, torch.sigmoid, torch.tanh, F.hardtanh, F.hardswish, F.hardsigmoid),
    *(F.elu, F.leaky_relu, lambda x: F.gelu(x, approximate="tanh")),
    *(lambda x: F.relu(x, inplace=True), lambda x: x.sigmoid_(), lambda x: x.tanh_()),
    *(lambda x: F.hardtanh(x, inplace=True), lambda x: F.elu(x, inplace=True)),
)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(POINTWISE), st.integers(1, 5).flatmap(lambda n: sizes(n, 4)), any_type, orders
)
def test_functions(function, shape, dtype, order):
    def call(x):
        return function(laid(x.to(dtype, copy=True), order))

    assert traced(call, shape) == run(call, shape)


BINARY = (
    *(torch.add, torch.sub, torch.mul, torch.div, torch.pow, torch.Tensor.add_, torch.Tensor.mul_),
    *(torch.Tensor.sub_, torch.Tensor.div_),
)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_operators(data):
    draw, shape = data.draw, data.draw(st.integers(1, 5).flatmap(lambda n: sizes(n, 4)))
    function, one, other = draw(st.tuples(st.sampled_from(BINARY), any_type, any_type))
    other = draw(st.sampled_from([one, one, other]))
    orders_of = draw(st.tuples(orders, orders))
    kept = draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    second = tuple(n if keep else 1 for n, keep in zip(shape, kept, strict=True))
    second = draw(st.sampled_from([shape, second, second[1:], tuple(n + 1 for n in shape)]))
    number = draw(st.sampled_from([None, None, None, None, 2, 2.5, 1j]))

    def call(x):
        y = laid(torch.ones(second, dtype=other), orders_of[1]) if number is None else number
        return function(laid(x.to(one, copy=True), orders_of[0]), y)

    assert traced(call, shape) == run(call, shape)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_joining_and_means(data):
    draw, shape = data.draw, data.draw(st.integers(1, 5).flatmap(lambda n: sizes(n, 4)))
    dtype, other, order = draw(st.tuples(any_type, any_type, orders))
    other = draw(st.sampled_from([dtype, dtype, other]))
    dims = draw(st.lists(st.integers(-len(shape), len(shape) - 1), min_size=0, max_size=3))
    dims = draw(wrong(dims, [len(shape)]))
    along = dims[0] if dims else 0
    joins, keep = draw(st.tuples(st.booleans(), st.booleans()))

    def call(x):
        x = laid(x.to(dtype), order)
        if not joins:
            return x.mean(dims, keepdim=keep)
        more = torch.ones([n + keep for n in shape] if other == dtype else shape, dtype=other)
        return torch.cat([x, more[:1] if along == 0 else more, x], along)

    assert traced(call, shape) == run(call, shape)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_products(data):
    draw, dtype, other = data.draw, data.draw(any_type), data.draw(any_type)
    other, third = (draw(st.sampled_from([dtype, dtype, dtype, other])) for _ in range(2))
    batch, n, m, k = draw(st.tuples(small, small, small, small))
    kind = draw(st.sampled_from(["mm", "bmm", "addmm", "linear", "matmul"]))
    stacked = draw(wrong(kind == "bmm", kind != "bmm"))
    left = (batch, n, m) if stacked else (n, m)
    right = (m, draw(wrong(k, k + 1)))
    right = draw(wrong((batch, *right) if stacked else right, (m + 1, k)))
    bias = draw(st.sampled_from([(k,), (1,), (n, k), (1, n, k), (k + 1,)]))
    one_order, other_order = draw(st.tuples(orders, orders))

    def call(x):
        x = laid(x.to(dtype), one_order)
        y = laid(torch.ones(right, dtype=other), other_order)
        if kind == "addmm":
            return torch.addmm(torch.ones(bias, dtype=third), x, y)
        if kind == "linear":
            return F.linear(x, y.transpose(-1, -2), torch.ones(bias, dtype=third))
        return getattr(torch, kind)(x, y)

    assert traced(call, left) == run(call, left)


def convolved(x, size=4, kind=torch.float32, **more):
    """Through a convolution whose bias may be wrong."""
    return F.conv1d(x, torch.ones(4, 5, 3), torch.ones(size, dtype=kind), **more)


CALLS = {
    "convolution": convolved,
    "convolution with a bias of another type": lambda x: convolved(x, kind=torch.float64),
    "convolution with a bias of another size": lambda x: convolved(x, 3),
    "convolution without a distance": lambda x: convolved(x, dilation=0),
    "batch norm of one number a channel": lambda x: F.batch_norm(
        x[:1, :, :1], None, None, training=True
    ),
    "dropout": lambda x: F.dropout(x, training=True),
    "new tensors": lambda x: [torch.empty_like(x.mT), torch.zeros_like(x, dtype=torch.float64)],
    "sum of one and twice a number": lambda x: torch.add(x, 1, alpha=2),
    "rounded": lambda x: torch.div(x, x, rounding_mode="floor"),
    "twice the other": lambda x: torch.add(x, x, alpha=2),
    "mean of all": lambda x: x.mean(),
    "mean in double": lambda x: x.mean(1, dtype=torch.float64),
    "mean of integers": lambda x: x.long().mean(),
    "gelu of integers": lambda x: F.gelu(x.long()),
    "gelu by another name": lambda x: F.gelu(x, approximate="sigmoid"),
    "layer norm of nothing": lambda x: F.layer_norm(x, ()),
    "max pool of two dimensions": lambda x: F.max_pool2d(x[0], 2),
    "max pool of five": lambda x: F.max_pool2d(x[None, None], 2),
    "padding above half of the kernel": lambda x: F.max_pool2d(x, 2, padding=2),
    "product in another type": lambda x: torch.mm(x[0], x[0].T, out_dtype=torch.float64),
    "what a part of an input is added to": lambda x: x[1:].add_(x[:-1] + 1),
    "joined numbers": lambda x: torch.cat([x.mean(), x.mean()]),
    "in place on a repeated input": lambda x: F.relu(x[:1].expand(3, -1, -1), inplace=True),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_of_every_kind(name):
    assert traced(CALLS[name], (4, 5, 6)) == run(CALLS[name], (4, 5, 6))


VIEWS = {
    "after a convolution": nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
    "after a norm and a pool": nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.Conv2d(4, 4, 1)
    ),
    "after a transposed convolution": nn.Sequential(nn.ConvTranspose2d(3, 4, 3)),
    "after depthwise and pointwise ones": nn.Sequential(
        nn.Conv2d(3, 6, 3, groups=3), nn.Conv2d(6, 5, 1), nn.Hardswish(), nn.AvgPool2d(2)
    ),
    "after the last positions": nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1)),
}


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", VIEWS)
def test_views_fail_where_they_fail_in_a_run(name, last, double):
    layers = VIEWS[name].eval().double() if double else VIEWS[name].eval().float()
    order = torch.channels_last if last else torch.contiguous_format

    def call(x):
        return layers.to(memory_format=order)(x.to(next(layers.parameters()))).view(len(x), -1)

    expected = run(call, (2, 3, 8, 8))
    assert (expected is None) is (last and name != "after the last positions")
    assert traced(call, (2, 3, 8, 8)) == expected
