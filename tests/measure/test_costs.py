"""Costs against torch's counter, closed forms, and memory that torch's allocator hands out."""

import math

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

import convarium.models as models
from convarium.errors import OptionError, ShapeError
from convarium.measure import cost, output_shape

SMALLEST = [rows[0] for rows in (models.list_models(p) for p in (
    "convnet", "lenet5", "alexnet", "vgg*", "resnet1*", "densenet*", "squeezenet*", "mobilenet_v1",
    "mobilenet_v2", "mobilenet_v3*", "mnasnet*", "efficientnet*", "convnext*", "resnetv2*",
))]  # fmt: skip


@pytest.mark.parametrize("name", SMALLEST)
def test_multiply_adds_are_half_of_torchs_flops(name):
    with torch.device("meta"):
        model = models.create(name).eval()
        x = torch.empty(2, model.in_channels, *model.input_size)
    found = cost(model, tuple(x.shape))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    assert found.flops == 2 * found.macs == counter.get_total_flops()
    assert found.parameters == sum(p.numel() for p in set(model.parameters()))
    assert sum(row.macs for row in found.rows) == found.macs
    assert sum(row.parameters for row in found.rows) == found.parameters
    assert sum(row.activation_bytes for row in found.rows) == found.activation_bytes


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_convolution_and_its_transpose_cost_what_the_formula_says(rank):
    conv, transposed = (
        getattr(nn, f"{kind}{rank}d")(8, 12, 3, stride=2, groups=4)
        for kind in ("Conv", "ConvTranspose")
    )
    side = 9
    after = (side - 3) // 2 + 1
    assert cost(conv, (2, 8, *[side] * rank)).macs == 2 * after**rank * 12 * 3**rank * 8 // 4
    assert cost(transposed, (2, 8, *[side] * rank)).macs == 2 * side**rank * 8 * 3**rank * 12 // 4


class Functional(nn.Module):
    """Products without layers, and a weight that is used twice."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(5, 4))
        self.frozen = nn.Parameter(torch.zeros(7), requires_grad=False)

    def forward(self, x):
        y = nn.functional.linear(x, self.weight)
        return y @ self.weight + (x @ x.transpose(1, 2)) @ x


def test_functions_and_tied_weights_are_counted():
    found = cost(Functional(), (3, 6, 4))
    products = 2 * 3 * 6 * 4 * 5 + 2 * 3 * 6 * 6 * 4
    assert found.macs == products
    assert found.parameters == 20
    assert found.parameter_bytes == 4 * 27
    shared = nn.Conv1d(4, 4, 1)
    twice = cost(nn.Sequential(shared, shared), (1, 4, 10))
    assert (twice.parameters, twice.macs) == (20, 2 * 160)
    assert [row.parameters for row in twice.rows] == [20, 0]


def allocated(model, x, training):
    """The most bytes that torch's allocator had handed out at once."""
    model.train(training)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        copy = x.clone()
        if training:
            model(copy).square().mean().backward()
        else:
            with torch.inference_mode():
                model(copy)
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most + sum(t.nbytes for t in [*model.parameters(), *model.buffers()])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "name",
    ["resnet18", "resnetv2_50", "vgg11", "densenet121", "mobilenet_v2", "efficientnet_b0",
     "squeezenet1_1", "convnext_atto", "mobilenet_v3_small"],
)  # fmt: skip
def test_the_peak_is_within_15_percent_of_the_real_one(name, training):
    model = models.create(name)
    x = torch.rand(4 if name.startswith("convnext") else 2, 3, 160, 160)
    found = cost(model, tuple(x.shape))
    estimate = found.training_bytes if training else found.forward_bytes
    assert estimate == pytest.approx(allocated(model, x, training), rel=0.15)


@pytest.mark.parametrize("name", ["lenet5", "resnet20_cifar", "densenet_bc_100_12"])
def test_costs_of_another_batch_are_those_of_a_trace_of_it(name):
    model = models.create(name)
    shape = (model.in_channels, *model.input_size)
    one = cost(model, (1, *shape))
    for batch in (1, 2, 7, 64):
        other = cost(model, (batch, *shape))
        found = one.at_batch(batch)
        assert found == {key: getattr(other, key) for key in found}


def test_the_largest_batch_fits_and_one_more_does_not():
    found = cost(models.create("resnet20_cifar"), (1, 3, 32, 32))
    memory = 300_000_000
    for training in (True, False):
        most = found.largest_batch(memory, training=training, optimizer=2)
        key = "training_bytes" if training else "forward_bytes"
        state = 2 * 4 * found.parameters if training else 0
        assert found.at_batch(most)[key] + state <= memory < found.at_batch(most + 1)[key] + state
    assert found.largest_batch(found.parameter_bytes) == 0
    with pytest.raises(OptionError, match="memory"):
        found.largest_batch(-1)
    with pytest.raises(OptionError, match="batch"):
        found.at_batch(0)


def test_a_wrong_shape_is_told():
    with pytest.raises(ShapeError, match="whole shape"):
        cost(nn.Conv2d(3, 4, 3), (3, 8))


def test_the_shape_of_the_output_follows_the_formula():
    for k, s, p, d in [(3, 1, 0, 1), (5, 2, 1, 1), (4, 3, 2, 2), (2, 2, 0, 3)]:
        layer = nn.Conv2d(1, 6, k, s, p, d)
        n = [math.floor((m + 2 * p - d * (k - 1) - 1) / s) + 1 for m in (23, 30)]
        assert output_shape(layer, (2, 1, 23, 30)) == (2, 6, *n)
