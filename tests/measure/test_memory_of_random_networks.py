"""Peaks of networks made at random, at several batches and orders of channels, against torch."""

import itertools
import random

import pytest
import torch
from allocated import allocated
from hand_made import Forward
from torch import nn
from torch.nn import functional as F

from convarium.measure import cost

ACTS = (nn.ReLU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Tanh, nn.ELU, lambda: nn.ReLU(inplace=True))
WIDTHS = (8, 16, 24, 32, 48, 64)
SIZES = {1: (1000, 2000), 2: (32, 48, 64), 3: (12, 16)}
LARGE = 1_000_000  # bytes, from which on each estimate has to be near


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def dense(body):
    return Forward(lambda self, x: torch.cat([x, self.body(x)], 1), body=body)


def residual(body):
    return Forward(lambda self, x: x + self.body(x), body=body)


def squeezed(conv, width):
    def forward(self, x):
        mean = x.mean(tuple(range(2, x.ndim)), keepdim=True)
        return x * torch.sigmoid(self.up(F.relu(self.down(mean))))

    return Forward(forward, down=conv(width, width // 4, 1), up=conv(width // 4, width, 1))


def layers(rng, rank, width):
    """Kinds of layers after some channels, each with the channels that it gives."""
    conv, turned, norm, most, mean = (
        getattr(nn, f"{kind}{rank}d")
        for kind in ("Conv", "ConvTranspose", "BatchNorm", "MaxPool", "AvgPool")
    )
    after, k, act = rng.choice(WIDTHS), rng.choice([3, 3, 5]), rng.choice(ACTS)
    groups = rng.choice([2, 4, 8])
    mode = rng.choice(["nearest", {1: "linear", 2: "bilinear", 3: "trilinear"}[rank]])
    inside = norm(width), act(), conv(width, 16, 3, padding=1)
    found = {
        "conv": ((conv(width, after, k, padding=1), norm(after), act()), after),
        "stride": ((conv(width, after, 3, 2, 1), act()), after),
        "gaps": ((conv(width, after, 3, padding=2, dilation=2), act()), after),
        "point": ((conv(width, after, 1), act()), after),
        "pool": ((most(2),), width),
        "mean": ((mean(2),), width),
        "dropout": ((nn.Dropout(0.3),), width),
        "dense": ((dense(nn.Sequential(*inside)),), width + 16),
    }
    if rank < 3:
        found["up"] = (nn.Upsample(scale_factor=2, mode=mode),), width
        found["turned"] = (turned(width, after, rng.choice([2, 4]), 2), act()), after
    if width % 8 == 0:
        last = conv(width, width, 3, padding=1)
        found["residual"] = (residual(nn.Sequential(last, norm(width), act())),), width
        found["squeezed"] = (squeezed(conv, width),), width
        found["groups"] = (conv(width, 2 * width, 3, padding=1, groups=groups), act()), 2 * width
        single = conv(width, width, k, rng.choice([1, 2]), 2, groups=width, bias=False)
        found["depthwise"] = (single, norm(width), act()), width
        found["norm"] = (nn.GroupNorm(4, width),), width
    return found


def made(seed):
    """A network and the shape of a sample."""
    rng = random.Random(seed)
    rank, width, parts = rng.choice([1, 2, 2, 2, 3]), 3, []
    for _ in range(rng.randint(2, 6)):
        found = layers(rng, rank, width)
        more, width = found[rng.choice([*found])]
        parts += more
    if rng.random() < 0.6 or not any(True for part in parts for _ in part.parameters()):
        pool = getattr(nn, f"AdaptiveAvgPool{rank}d")(1)
        parts += [pool, nn.Flatten(), nn.Linear(width, 10)]
    return nn.Sequential(*parts), (3, *[rng.choice(SIZES[rank])] * rank)


def channels_last(model, shape):
    """The model with another order of its weights, if its input has 4 or 5 dimensions."""
    order = {4: torch.channels_last, 5: torch.channels_last_3d}.get(len(shape))
    return model if order is None else model.to(memory_format=order)


def errors(model, shape, least=LARGE):
    """How far both estimates are off, of peaks that are not small."""
    found, x = cost(model, shape), torch.rand(shape)
    told = found.forward_bytes, found.training_bytes
    real = allocated(model, x, False), allocated(model, x, True)
    return [abs(a / b - 1) for a, b in zip(told, real, strict=True) if b > least]


def share_off(seeds):
    """The share of estimates that are more than 15 % off, and the worst; and how many there are."""
    off = []
    for seed in seeds:
        for last in (False, True):
            for samples in (1, 2, 4):
                model, shape = made(seed)
                model = channels_last(model, (samples, *shape)) if last else model
                try:
                    model(torch.rand(samples, *shape))
                except (RuntimeError, ValueError):  # maps of nothing, one value a channel
                    continue
                off += errors(model, (samples, *shape))
    return sum(error > 0.15 for error in off) / len(off), max(off), len(off)


def test_random_networks_take_what_is_told():
    share, worst, count = share_off(range(4, 20))
    assert share == 0, worst
    assert count > 100


@pytest.mark.long
def test_many_random_networks_take_what_is_told():
    share, worst, count = share_off(range(400))
    assert share < 0.01
    assert worst < 0.5
    assert count > 2000


def plane(*sizes, k=3):
    pairs = itertools.pairwise(sizes)
    parts = [part for a, b in pairs for part in (nn.Conv2d(a, b, k, padding=k // 2), nn.ReLU())]
    return nn.Sequential(*parts)


def volume(channels):
    return nn.Conv3d(channels, channels, 3, padding=1, bias=False)


CASES = {
    "one small sample": (plane(16, 16), (1, 16, 32, 32)),
    "one small sample of many channels": (plane(64, 64), (1, 64, 16, 16)),
    "one small map": (plane(128, 128), (1, 128, 8, 8)),
    "one series": (nn.Conv1d(3, 32, 3), (1, 3, 4000)),
    "weights with channels last": (channels_last(plane(3, 32, 32), range(4)), (1, 3, 64, 64)),
    "indices of a series": (nn.Sequential(nn.Conv1d(32, 32, 3), nn.MaxPool1d(2, 1)), (4, 32, 4000)),
    "small maps, interpolated": (
        nn.Sequential(nn.Conv2d(3, 35, 1), nn.Upsample(scale_factor=2, mode="bilinear")),
        (2, 3, 32, 32),
    ),
    "colours, interpolated": (
        nn.Sequential(nn.Upsample(scale_factor=4, mode="bilinear"), nn.Conv2d(3, 8, 1)),
        (1, 3, 96, 96),
    ),
    "a volume of one position": (volume(256), (4, 256, 1, 1, 1)),
    "a slice of a gradient": (
        nn.Sequential(dense(nn.Conv2d(3, 32, 3, padding=1)), nn.AdaptiveAvgPool2d(1)),
        (2, 3, 96, 96),
    ),
    "norm of groups, channels last": (
        channels_last(nn.Sequential(*plane(3, 32), nn.GroupNorm(4, 32), plane(32, 32)), range(4)),
        (2, 3, 48, 48),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_kernels_with_room_of_their_own_take_what_is_told(name):
    model, shape = CASES[name]
    assert max(errors(model, shape, least=0)) < 0.15


@pytest.mark.parametrize("seed", range(6))
def test_one_trace_tells_the_peaks_of_each_batch(seed):
    model, shape = made(seed)
    model = channels_last(model, (1, *shape)) if seed % 2 else model
    traced = {samples: cost(model, (samples, *shape)) for samples in (1, 2, 7, 16, 40)}
    for found in traced.values():
        for samples, true in traced.items():
            told = found.at_batch(samples)
            assert told == {key: getattr(true, key) for key in told}
