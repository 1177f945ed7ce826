"""Peaks of all kinds of convolutions, at all places of a network, against torch's allocator."""

import itertools
import random

import pytest
import torch
from hand_made import Forward
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from convarium.measure import cost

KINDS = {
    1: (nn.Conv1d, nn.ConvTranspose1d),
    2: (nn.Conv2d, nn.ConvTranspose2d),
    3: (nn.Conv3d, nn.ConvTranspose3d),
}
POSITIONS = {1: 2200, 2: 46, 3: 13}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Mean(nn.Module):
    def forward(self, x):
        return x.flatten(2).mean(2)


def placed(conv, place):
    """A network with a convolution as its first layer, behind frozen ones, between others."""
    one = KINDS[len(conv.kernel_size)][0](4, conv.in_channels, 1)
    frozen = one.requires_grad_(place == "between")
    return nn.Sequential(
        *{
            "alone": (conv,),
            "first": (conv, Mean()),
            "behind frozen": (frozen, nn.ReLU(), conv, Mean()),
            "last behind frozen": (frozen, nn.ReLU(), conv),
            "between": (frozen, nn.ReLU(), conv, nn.ReLU(), Mean()),
        }[place]
    )


PLACES = ("alone", "first", "behind frozen", "last behind frozen", "between")


def cases(rank, transposed):
    """Of all kernels, strides, gaps, biases, groups and places some, each with other channels."""
    rng = random.Random(10 * rank + transposed)
    found = [*itertools.product((2 * transposed + 1, 3, 5), (1, 2), (1, 2), PLACES)]
    for k, stride, dilation, place in rng.sample(found, 40):
        channels = rng.choice([(8, 8), (16, 16), (3, 32), (64, 16), (24, 48), (32, 64), (64, 256)])
        groups = 4 if rng.random() < 0.25 and min(channels) > 3 and not transposed else 1
        channels, groups = rng.choice([(channels, groups)] * 3 + [((48, 48), 48)])
        gaps = dilation if k > 1 and stride == 1 and not transposed else 1
        options = {"stride": stride, "dilation": gaps, "groups": groups, "bias": rng.random() < 0.6}
        conv = KINDS[rank][transposed](*channels, k, padding=gaps * (k // 2), **options)
        yield conv, place, rng.choice([2, 4, 8])


def most(step, model):
    """The most bytes that torch's allocator had handed out at once in a step, and the weights."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    sizes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(itertools.accumulate(sizes)) + sum(t.nbytes for t in model.parameters())


def ratios(model, x, loss=lambda out: out.square().mean()):
    """Both estimates over the real peaks: of a pass without gradients, and of a step with them."""

    def predict():
        given = x.clone()
        with torch.inference_mode():
            model(given)

    def learn():
        given = x.clone()
        out = model(given)
        loss(out).backward()

    found = cost(model, tuple(x.shape))
    real = most(predict, model), most(learn, model)
    return found.forward_bytes / real[0], found.training_bytes / real[1]


AGREE = pytest.approx((1, 1), abs=0.15)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_each_convolution_takes_what_is_told_at_each_place(rank, transposed):
    size = POSITIONS[rank] // (1 + transposed)
    off, count = [], 0
    for conv, place, samples in cases(rank, transposed):
        model = placed(conv, place)
        before = conv.in_channels if place in ("alone", "first") else 4
        x = torch.rand(samples, before, *[size] * rank)
        count += 1
        if (found := ratios(model, x)) != AGREE:
            off.append((conv, place, tuple(x.shape), found))
    assert not off
    assert count == 40


@pytest.mark.parametrize("shape", [(1, 8, 16, 16, 16), (1, 24, 9, 20, 20), (2, 8, 12, 12, 12)])
def test_one_small_volume_has_its_windows_in_memory(shape):
    conv = nn.Conv3d(shape[1], 16, 3, padding=1)
    model = nn.Sequential(conv, nn.ReLU(), nn.Conv3d(16, 4, 3))
    assert ratios(model, torch.rand(shape)) == AGREE


def test_single_positions_are_copied_where_several_threads_work():
    convs = [nn.Conv2d(20, 20, 1) for _ in range(3)]
    model, x = nn.Sequential(*convs, Mean()), torch.rand(4, 20, 50, 50)
    told = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        told.append(cost(model, tuple(x.shape)).forward_bytes)
        assert ratios(model, x) == AGREE
    assert told[0] < told[1]


def test_double_precision_has_windows_of_all_samples_in_memory():
    model = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 8, 5), Mean())
    assert ratios(model.double(), torch.rand(4, 8, 40, 40, dtype=torch.float64)) == AGREE


def test_maps_with_channels_last_are_not_copied():
    def forward(self, x):
        x = F.layer_norm(x.permute(0, 2, 3, 1), (32,)).permute(0, 3, 1, 2)
        return self.head(F.gelu(self.conv(x))).mean((2, 3))

    convs = {"conv": nn.Conv2d(32, 32, 3, padding=1), "head": nn.Conv2d(32, 8, 3)}
    assert ratios(Forward(forward, **convs), torch.rand(4, 32, 40, 40)) == AGREE


def test_a_cross_entropy_of_each_position_takes_what_is_told():
    model = nn.Conv2d(8, 16, 3, padding=1)
    x, classes = torch.rand(4, 8, 64, 64), torch.randint(16, (4, 64, 64))
    assert ratios(model, x, lambda out: F.cross_entropy(out, classes)) == AGREE


@pytest.mark.parametrize(
    ("x", "weight"),
    [((30, 40), (6, 40, 50)), ((6, 30, 40), (6, 40, 50)), ((4, 6, 30, 40), (6, 40, 50)),
     ((4, 1, 30, 40), (6, 40, 50)), ((4, 30, 40), (1, 40, 50)), ((5, 30, 40), (40, 50))],
)  # fmt: skip
def test_products_with_stacked_weights_take_what_is_told(x, weight):
    def product(self, x):
        return x @ self.weight

    def turned(self, x):
        return self.weight.transpose(-1, -2) @ x.transpose(-1, -2)

    for forward in (product, turned):
        model = Forward(forward)
        model.weight = nn.Parameter(torch.rand(weight))
        assert ratios(model, torch.rand(x)) == AGREE
