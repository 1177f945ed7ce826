"""Short cuts give the shapes and types that torch gives."""

import hypothesis.strategies as st
import torch
from hand_made import Forward
from hypothesis import given, settings
from torch import nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from convarium.graph import trace
from convarium.graph.shapes import SHORT_CUTS, broadcast

small = st.integers(1, 4)


def agree(call, shape):
    """Whether a trace and a run give the same shapes and types, or both refuse."""
    x = torch.zeros(shape)
    try:
        expected = tree_map(lambda y: (tuple(y.shape), y.dtype), call(x))
    except (RuntimeError, IndexError):
        expected = None
    if isinstance(expected, tuple) and 0 in expected[0]:
        expected = None  # a map without positions is refused
    try:
        outputs = trace(Forward(lambda _, x: call(x)), shape).outputs
    except ValueError:
        outputs = None
    if expected is None or outputs is None:
        return expected is outputs
    expected = (
        expected
        if isinstance(expected[0], tuple)
        and len(expected[0]) == 2
        and not isinstance(expected[0][0], int)
        else [expected]
    )
    return [(value.shape, value.dtype) for value in outputs] == [*expected]


@settings(max_examples=120, deadline=None)
@given(
    st.integers(1, 3),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    st.tuples(small, small, st.integers(0, 3), small),
    st.booleans(),
)
def test_convolutions(rank, sides, numbers, transposed):
    k, s, p, d = numbers
    kind = f"Conv{'Transpose' if transposed else ''}{rank}d"
    layer = getattr(nn, kind)(2, 4, k, stride=s, padding=p, dilation=d, groups=2)
    assert agree(layer, (2, 2, *sides[:rank]))


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 3),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    st.tuples(small, small, st.integers(0, 2), st.integers(1, 2)),
    st.booleans(),
    st.booleans(),
)
def test_pools(rank, sides, numbers, ceil, average):
    k, s, p, d = numbers
    if average:
        pool = getattr(nn, f"AvgPool{rank}d")(k, s, min(p, k // 2), ceil_mode=ceil)
    else:
        pool = getattr(nn, f"MaxPool{rank}d")(k, s, min(p, k // 2), d, ceil_mode=ceil)
    assert agree(pool, (2, 3, *sides[:rank]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.lists(st.integers(1, 3), max_size=4))
def test_broadcasting(one, other):
    try:
        expected = torch.broadcast_shapes(one, other)
    except RuntimeError:
        expected = None
    assert broadcast(one, other) == expected
    other_tensor = torch.ones(other)
    assert agree(lambda x: x * other_tensor, tuple(one))


CALLS = {
    "relu": F.relu,
    "relu in place": lambda x: F.relu(x * 1, inplace=True),
    "gelu": F.gelu,
    "double times float": lambda x: x.double() * x,
    "integers": lambda x: x.long() + 2,
    "divided integers": lambda x: x.long() / 2,
    "mean": lambda x: x.mean((0, 2)),
    "mean kept": lambda x: x.mean(-1, keepdim=True),
    "mean of all": lambda x: x.mean(),
    "mean in double": lambda x: x.mean(1, dtype=torch.float64),
    "joined": lambda x: torch.cat([x, x[:, :1], x], 1),
    "joined types": lambda x: torch.cat([x, x.double()], 0),
    "joined wrongly": lambda x: torch.cat([x, x[:, :, :1]], 1),
    "linear": lambda x: F.linear(x, torch.ones(5, 6), torch.ones(5)),
    "linear of another size": lambda x: F.linear(x, torch.ones(5, 7)),
    "product": lambda x: x @ x.transpose(1, 2),
    "wrong product": lambda x: x @ x,
    "layer norm": lambda x: F.layer_norm(x, (6,)),
    "layer norm of two": lambda x: F.layer_norm(x, (5, 6)),
    "wrong layer norm": lambda x: F.layer_norm(x, (5,)),
    "batch norm": lambda x: F.batch_norm(x, torch.ones(5), torch.ones(5)),
    "batch norm of a batch": lambda x: F.batch_norm(x, None, None, training=True),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, (2, 3)),
    "elu": F.elu,
    "mean of a dimension that is not there": lambda x: x.mean((2, 3)),
    "joined along what is not there": lambda x: torch.cat([x, x], 3),
    "mean of integers": lambda x: x.long().mean(),
    "products of other batches": lambda x: torch.bmm(x, torch.ones(3, 6, 2)),
    "product of three dimensions": lambda x: torch.mm(x, torch.ones(6, 2)),
    "layer norm with another weight": lambda x: F.layer_norm(x, (6,), torch.ones(5)),
    "leaky": lambda x: F.leaky_relu(x, 0.2),
    "hardswish": F.hardswish,
}


def test_calls_of_every_kind():
    wrong = [name for name, call in CALLS.items() if not agree(call, (4, 5, 6))]
    assert wrong == []


def test_there_is_a_short_cut_for_what_is_frequent():
    assert {"convolution", "native_batch_norm", "relu", "add", "cat"} <= set(SHORT_CUTS)
