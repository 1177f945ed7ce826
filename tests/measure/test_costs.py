"""Costs against torch's counter and closed forms."""

import math
import warnings

import pytest
import torch
from hand_made import Forward
from torch import nn
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


def counted(model, *shapes):
    """Half of what torch's counter says, without memory or numbers."""
    model = model.to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*(torch.empty(shape, device="meta") for shape in shapes))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.LSTM(16, 16), (5, 2, 16)),
        (nn.LSTM(8, 16, 2, batch_first=True, bidirectional=True), (3, 5, 8)),
        (nn.GRU(16, 12, batch_first=True), (3, 5, 16)),
        (nn.RNN(6, 4, batch_first=True), (3, 5, 6)),
        (nn.GRUCell(8, 16), (3, 8)),
        (nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), (2, 5, 16)),
    ],
)
def test_products_of_first_states_are_counted(model, shape):
    found = cost(model, shape)
    assert found.macs == counted(model, shape)
    assert sum(row.macs for row in found.rows) == found.macs
    assert sum(row.parameters for row in found.rows) == found.parameters


class LowRank(nn.Module):
    """A weight that is worked out of weights, and queries that are the same for each sample."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(32, 16))
        self.left, self.right = nn.Parameter(torch.zeros(32, 4)), nn.Parameter(torch.zeros(4, 16))
        self.queries, self.map = nn.Parameter(torch.zeros(7, 16)), nn.Linear(16, 32)

    def forward(self, x):
        y = nn.functional.linear(x, self.weight + self.left @ self.right)
        return self.map(self.queries.expand(len(x), -1, -1)) @ y.unsqueeze(2)


def test_products_of_weights_are_counted_once_and_grow_with_the_batch_or_not():
    one, grown = cost(LowRank(), (2, 16)), cost(LowRank(), (10, 16))
    assert one.constant_macs == 32 * 4 * 16
    assert one.macs == one.constant_macs + 2 * (16 * 32 + 7 * 16 * 32 + 7 * 32)
    assert one.at_batch(10)["macs"] == grown.macs
    assert sum(row.macs for row in one.rows) == one.macs


def test_products_with_a_vector_are_counted():
    def products(self, x):
        return torch.mv(x, torch.ones(4)), torch.dot(x[0], x[1])

    assert cost(Forward(products), (3, 4)).macs == 3 * 4 + 4


def old_weight_norm(module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(module)


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.idle = nn.Conv1d(3, 4, 3), nn.Conv1d(3, 4, 3)
        self.tied = nn.Conv1d(3, 4, 3)
        self.tied.weight, self.scale = self.used.weight, nn.Parameter(torch.zeros(5))

    def forward(self, x):
        return self.used(x)


@pytest.mark.parametrize(
    ("model", "shape", "idle"),
    [
        (Unused(), (2, 3, 9), {"": 5, "idle": 40, "tied": 4}),
        (nn.Sequential(old_weight_norm(nn.Conv1d(3, 4, 3)), nn.ReLU()), (2, 3, 9), {}),
        (nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 4, 3)), (2, 3, 9), {}),
        (nn.utils.parametrizations.orthogonal(nn.Linear(4, 4)), (2, 4), {}),
        (
            Forward(lambda self, x: self.layer(x, x, x)[0], layer=nn.MultiheadAttention(8, 2)),
            (5, 2, 8),
            {"layer.out_proj": 72},
        ),
    ],
)
def test_every_parameter_is_in_one_row(model, shape, idle):
    found = cost(model, shape)
    assert found.parameters == sum(p.numel() for p in set(model.parameters()))
    assert sum(row.parameters for row in found.rows) == found.parameters
    last = {row.layer: row.parameters for row in found.rows if not row.shape}
    assert last == idle
    for row in found.rows[len(found.rows) - len(idle) :]:
        assert row.kind == type(model.get_submodule(row.layer)).__name__
        assert (row.macs, row.activation_bytes) == (0, 0)


def test_texts_and_several_inputs():
    text = nn.Sequential(nn.Embedding(50, 8), nn.Flatten(), nn.Linear(48, 3))
    found = cost(text, (2, 6))
    assert (found.macs, found.parameters) == (2 * 48 * 3, 400 + 147)
    assert found.at_batch(5)["macs"] == cost(text, (5, 6)).macs

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = nn.Linear(4, 6), nn.Linear(3, 6)

        def forward(self, x, y):
            return self.one(x) * self.other(y)

    found, grown = cost(Two(), [(2, 4), (2, 3)]), cost(Two(), [(10, 4), (10, 3)])
    assert found.input_shape == ((2, 4), (2, 3))
    assert found.at_batch(10) == {key: getattr(grown, key) for key in found.at_batch(10)}
    most = found.largest_batch(10_000)
    assert found.at_batch(most)["training_bytes"] + 4 * found.parameters <= 10_000
    assert output_shape(Two(), [(2, 4), (2, 3)]) == (2, 6)
    assert cost(text, [(2, 6)]).input_shape == (2, 6)


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
    for optimizer in (-1, "adam"):
        with pytest.raises(OptionError, match="optimizer"):
            found.largest_batch(memory, optimizer=optimizer)
    assert cost(nn.Identity(), (1, 3, 16, 16)).forward_bytes == 4 * 3 * 16 * 16


def test_a_wrong_shape_is_told():
    with pytest.raises(ShapeError, match="whole shape"):
        cost(nn.Conv2d(3, 4, 3), (3, 8))
    for wrong in (5, None, [], [(1, 2), 5]):
        with pytest.raises(ShapeError, match="input_shape"):
            cost(nn.Conv2d(3, 4, 3), wrong)
        with pytest.raises(ShapeError, match="input_shape"):
            output_shape(nn.Conv2d(3, 4, 3), wrong)


def test_the_shape_of_the_output_follows_the_formula():
    for k, s, p, d in [(3, 1, 0, 1), (5, 2, 1, 1), (4, 3, 2, 2), (2, 2, 0, 3)]:
        layer = nn.Conv2d(1, 6, k, s, p, d)
        n = [math.floor((m + 2 * p - d * (k - 1) - 1) / s) + 1 for m in (23, 30)]
        assert output_shape(layer, (2, 1, 23, 30)) == (2, 6, *n)
