"""Operations with rules of their own against gradients: patches, turns, sums on the way, resizing.

Weights and inputs are positive, so that nothing cancels. Both axes are checked at every position.
"""

import itertools

import numpy as np
import pytest
import torch
from hand_made import Forward
from torch import Tensor, nn
from torch.nn import functional

from convarium.graph import trace
from convarium.measure import receptive_field
from convarium.measure.rules.following import follow_graph

SHAPE = (1, 2, 9, 12)


def call(function) -> nn.Module:
    return Forward(lambda self, x: function(x))


def moved(y: Tensor, x: Tensor) -> list[list[tuple[int, int] | None]]:
    """Of each position, along each axis, the first and the last input that move it."""
    each = torch.eye(y[0, 0].numel(), dtype=y.dtype).unflatten(1, y.shape[2:])
    (gradients,) = torch.autograd.grad(y.sum((0, 1)), x, each, is_grads_batched=True)
    found = []
    for there in (gradients.abs() > 1e-9).flatten(1, 2).any(1):
        lines = [there.movedim(axis, 0).flatten(1).any(1) for axis in range(there.ndim)]
        places = [line.nonzero()[:, 0].tolist() for line in lines]
        found.append([(along[0], along[-1]) if along else None for along in places])
    return found


def equal_fields(model: nn.Module, shape: tuple[int, ...] = SHAPE) -> int:
    """How many positions of an axis have the very field that the gradient says.

    Everywhere the inputs with a gradient lie in the field; they must be all of it where that lies
    in the input.
    """
    for parameter in model.double().parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    x = torch.rand(shape, dtype=torch.float64).add_(0.5).requires_grad_()
    y = model(x)
    graph = trace(model, shape)
    (output,) = graph.outputs
    state = follow_graph(graph)[output.number]
    assert not state.unknown
    assert sorted(reach.dim for reach in state.reaches) == [*range(2, len(shape))]
    ends = [reach.at(np.arange(output.shape[reach.dim])) for reach in state.reaches]
    equal = 0
    places = itertools.product(*map(range, y.shape[2:]))
    for place, seen in zip(places, moved(y, x), strict=True):
        for reach, (low, high), n, along in zip(state.reaches, ends, shape[2:], seen, strict=True):
            i = place[reach.dim - 2]
            assert along is None or low[i] <= along[0] <= along[1] <= high[i], place
            inside = low[i] >= 0 and high[i] < n and not state.bound
            assert not inside or along == (low[i], high[i]), place
            equal += inside
    return equal


def tokens(x: Tensor) -> Tensor:
    """Patches of 3 by unfolding both axes, each a row of numbers."""
    patches = x.unfold(2, 3, 2).unfold(3, 3, 3).permute(0, 2, 3, 1, 4, 5)
    return patches.flatten(3)


EXACT = {
    "windows, averaged": lambda: call(lambda x: x.unfold(2, 3, 2).mean(-1)),
    "windows along both axes": lambda: call(
        lambda x: x.unfold(-2, 2, 1).unfold(3, 4, 2).sum((-1, -2))
    ),
    "windows of one": lambda: call(lambda x: x.unfold(3, 1, 3)[..., 0]),
    "patches by windows": lambda: nn.Sequential(
        call(tokens), nn.Linear(18, 4), call(lambda x: x.permute(0, 3, 1, 2))
    ),
    "unfold and dense": lambda: nn.Sequential(
        nn.Unfold(3, dilation=2, padding=1, stride=2),
        call(lambda x: x.transpose(1, 2)),
        nn.Linear(18, 5),
        call(lambda x: x.transpose(1, 2).unflatten(2, (4, 5))),
    ),
    "unfold before a convolution": lambda: nn.Sequential(
        nn.Unfold((2, 3), stride=(1, 2)),
        nn.Conv1d(12, 2, 1),
        call(lambda x: x.unflatten(2, (8, 5))),
        nn.Conv2d(2, 2, 3, padding=1),
    ),
    "dense and fold": lambda: nn.Sequential(
        nn.Conv2d(2, 3 * 6, 3, padding=1),
        call(lambda x: x.flatten(2)),
        nn.Fold((18, 36), (2, 3), stride=(2, 3)),
    ),
    "fold with overlaps": lambda: nn.Sequential(
        nn.Conv2d(2, 9, 1), call(lambda x: x.flatten(2)), nn.Fold((9, 12), 3, padding=1)
    ),
    "sum on the way": lambda: call(lambda x: x.cumsum(2)),
    "sum on the way back": lambda: nn.Sequential(
        nn.Conv2d(2, 2, 3, padding=1), call(lambda x: x.flip(3).cumsum(-1).flip(3))
    ),
    "sum on the way, then windows": lambda: nn.Sequential(
        call(lambda x: x.cumsum(2)), nn.AvgPool2d(3, 2, 1), nn.Conv2d(2, 2, 3, padding=1)
    ),
    "product on the way": lambda: call(lambda x: x.cumprod(3)),
    "logarithm of sums": lambda: call(lambda x: x.logcumsumexp(2)),
    "sum of channels on the way": lambda: nn.Sequential(
        call(lambda x: x.cumsum(1)), nn.Conv2d(2, 1, 3)
    ),
    **{
        f"{k} quarter turns": lambda k=k: nn.Sequential(
            nn.Conv2d(2, 2, (2, 3), (1, 2)), call(lambda x: torch.rot90(x, k, (2, 3)))
        )
        for k in (0, 1, 2, 3, -1)
    },
    "a turn the other way round": lambda: call(lambda x: x.rot90(1, (-1, -2))),
}


@pytest.mark.parametrize("name", EXACT)
def test_the_field_is_what_the_gradient_reaches(name):
    assert equal_fields(EXACT[name]())


def test_unfold_then_fold_reads_no_neighbours_and_is_told_as_a_bound():
    model = nn.Sequential(nn.Unfold(3, padding=1), nn.Fold((9, 12), 3, padding=1))
    assert equal_fields(model) == 0
    assert receptive_field(model, SHAPE).status == "bound"


def test_elements_of_windows_are_told_as_a_bound():
    field = receptive_field(call(lambda x: x.unfold(2, 3, 1)), SHAPE)
    assert (field.size, field.status) == ((3, 1), "bound")


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("size", [(24, 30), (8, 6), (9, 7), (48, 45), (25, 31)])
def test_antialiased_resizing(mode, aligned, size):
    given = {"mode": mode, "antialias": True, "align_corners": aligned}
    resized = call(lambda x: functional.interpolate(x, size, **given))
    assert equal_fields(resized, (1, 1, 24, 30))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("factor", [0.3, 0.5, 0.77, 1.0, 1.5])
def test_antialiased_resizing_by_a_factor(mode, factor):
    given = {"scale_factor": factor, "mode": mode, "antialias": True}
    for again in (None, True):
        resized = call(
            lambda x, again=again: functional.interpolate(x, recompute_scale_factor=again, **given)
        )
        assert equal_fields(resized, (1, 1, 24, 30))


def sources(n: int, resized) -> list[list[int]]:
    """What torch's results hold of an input that counts from 0."""
    counted = resized(torch.arange(n, dtype=torch.get_default_dtype()).expand(1, 2, n))
    return [y[0, 1].int().tolist() for y in counted]


def followed(n: int, resized) -> list[list[int]]:
    """What they read by the rules."""
    graph = trace(call(resized), (1, 2, n))
    states = follow_graph(graph)
    found = []
    for output in graph.outputs:
        lo, hi = states[output.number].reaches[0].at(np.arange(output.shape[2]))
        assert (lo == hi).all()
        found.append(lo.tolist())
    return found


@pytest.fixture(params=[torch.float32, torch.float64])
def numbers(request):
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield
    torch.set_default_dtype(before)


LARGE = (97, 160, 224, 299, 331, 512, 600, 1023)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_nearest_positions_are_torch_s_own(mode, numbers):
    for n in (*range(1, 65), *LARGE):
        wanted = range(1, 65) if n <= 64 else LARGE

        def resized(x, wanted=wanted):
            return [functional.interpolate(x, m, mode=mode) for m in wanted]

        assert followed(n, resized) == sources(n, resized), n


FACTORS = (0.1, 0.3, 1 / 3, 0.5, 0.6, 2 / 3, 0.7, 0.9, 1.0, 1.1, 1.3, 1.5, 1.7, 2.0, 2.3, 3.0, 3.7)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("again", [None, True])
def test_nearest_positions_by_a_factor_are_torch_s_own(mode, again, numbers):
    for n in (*range(10, 65), *LARGE):

        def resized(x):
            given = {"mode": mode, "recompute_scale_factor": again}
            return [functional.interpolate(x, scale_factor=f, **given) for f in FACTORS]

        assert followed(n, resized) == sources(n, resized), n


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_nearest_positions_of_pictures_and_volumes(mode, numbers):
    sizes = (2, 3, 17, 41, 43, 47, 55, 97, 160)
    for n, others in itertools.product(sizes, [(4,), (90,), (2, 3)]):

        def resized(x, others=others):
            y = x.reshape(1, 2, *[1] * len(others), -1).expand(-1, -1, *others, -1).contiguous()
            several = [functional.interpolate(y, (*others, m), mode=mode) for m in sizes]
            return [z.flatten(2, -2)[:, :, 0] for z in several]

        assert followed(n, resized) == sources(n, resized), (n, others)


@pytest.mark.parametrize(
    ("around", "shape"),
    [
        (lambda conv, x: conv(x.flatten(2)).reshape(x.shape), (1, 2, 6, 6)),
        (lambda conv, x: conv(x.reshape(4, 2, 6)).reshape(1, 2, -1), (1, 2, 24)),
    ],
)
def test_places_told_apart_after_they_were_merged_are_a_bound(around, shape):
    model = Forward(lambda self, x: around(self.conv, x), conv=nn.Conv1d(2, 2, 3, padding=1))
    field = receptive_field(model, shape)
    x = torch.rand(shape, requires_grad=True)
    nn.init.ones_(model.conv.weight)
    model(x)[..., *(n // 2 for n in shape[2:])].sum().backward()
    seen = x.grad.abs().sum((0, 1)).nonzero()
    true = (seen.max(0).values - seen.min(0).values + 1).tolist()
    assert field.status == "bound"
    assert all(map(int.__le__, true, field.size))
