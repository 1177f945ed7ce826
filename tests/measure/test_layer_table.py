"""Cost and field of each layer side by side: nothing lost, nothing doubled, in order."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convarium.models as models
from convarium.cli.measured import table as lines_of
from convarium.errors import OptionError
from convarium.measure import cost, receptive_field
from convarium.measure.layer_table import layer_table


def table(model, shape):
    return layer_table(cost(model, shape), receptive_field(model, shape))


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "efficientnet_b0", "convnext_tiny"])
def test_sums_are_those_of_the_cost_and_fields_those_of_the_field(name):
    with torch.device("meta"):
        model = models.create(name)
    whole, field = cost(model, (2, 3, 96, 96)), receptive_field(model, (2, 3, 96, 96))
    rows = layer_table(whole, field)
    assert sum(row.parameters for row in rows) == whole.parameters
    assert sum(row.macs for row in rows) == whole.macs
    assert sum(row.activation_bytes for row in rows) == whole.activation_bytes
    seen = {row.layer: row.size for row in rows if row.size}  # nothing is called twice
    exact = [row for row in field.rows if row.status == "exact"]
    assert {layer.split(":")[0] for layer in seen} == {row.layer.split(":")[0] for row in exact}
    for layer, size in seen.items():
        mine = [row.size for row in exact if row.layer in (layer, f"{layer}:permute")]
        assert size == mine[-1]
    assert all(row.shape[0] == 2 for row in rows)


def test_layers_by_hand():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 2),
    )  # fmt: skip
    rows = table(model, (3, 1, 9, 11))
    assert [(r.layer, r.kind, r.shape, r.parameters, r.macs, r.size, r.stride) for r in rows] == [
        ("0", "Conv2d", (3, 4, 4, 5), 40, 3 * 9 * 4 * 20, (3, 3), (2, 2)),
        ("1", "ReLU", (3, 4, 4, 5), 0, 0, (3, 3), (2, 2)),
        ("2", "AdaptiveAvgPool2d", (3, 4, 1, 1), 0, 0, (), ()),
        ("3", "Flatten", (3, 4), 0, 0, (), ()),
        ("4", "Linear", (3, 2), 10, 3 * 8, (), ()),
    ]
    assert [row.status for row in rows] == ["exact", "exact", "whole input", "", "whole input"]


class Own(nn.Module):
    """A layer that computes by functions of its own, and is used twice."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 2, 3))

    def forward(self, x):
        return F.conv1d(F.conv1d(x, self.weight, padding=1), self.weight, padding=1)


class Reused(nn.Module):
    def __init__(self):
        super().__init__()
        self.own, self.conv = Own(), nn.Conv1d(2, 2, 5, padding=2)

    def forward(self, x):
        x = F.relu_(self.conv(self.own(x)))
        return self.own(self.conv(x)) + 1


def test_reused_layers_have_the_field_of_each_call():
    rows = table(Reused(), (1, 2, 40))
    assert [(row.layer, row.parameters, row.size) for row in rows] == [
        ("own", 12, (5,)),
        ("conv", 22, (9,)),
        (":relu_", 0, (9,)),
        ("conv", 0, (13,)),
        ("own", 0, (17,)),
        (":add", 0, (17,)),
    ]


def test_what_cannot_be_followed_keeps_its_cost():
    class Sorted(nn.Module):
        def forward(self, x):
            return x.sort(2).values

    rows = table(nn.Sequential(Sorted(), nn.Conv1d(1, 1, 3)), (1, 1, 9))
    assert [(row.layer, row.macs, row.size) for row in rows] == [("0", 0, ()), ("1", 21, ())]
    assert {row.status for row in rows} == {"unknown: sort"}


def test_two_shapes_are_not_joined():
    model = nn.Conv1d(1, 1, 3)
    with pytest.raises(OptionError, match="same shape"):
        layer_table(cost(model, (1, 1, 9)), receptive_field(model, (1, 1, 10)))
    row = layer_table(cost(model, (4, 1, 9)), receptive_field(model, (1, 1, 9)))[0]
    assert row.shape == (4, 1, 7)
    assert row.to_json()["macs"] == 4 * 21


class Idle(nn.Module):
    """Layers that nobody calls beside one that is, and a function without a row."""

    def __init__(self):
        super().__init__()
        self.conv, self.idle = nn.Conv1d(2, 4, 3), nn.Linear(3, 3)
        self.inside = nn.Sequential(nn.Linear(1, 1))

    def forward(self, x):
        return self.conv(x).permute(0, 2, 1)


def test_layers_that_are_never_called_come_last():
    rows = table(Idle(), (2, 2, 9))
    assert [(row.layer, row.shape, row.parameters, row.size) for row in rows] == [
        ("conv", (2, 4, 7), 28, (3,)),
        (":permute", (2, 7, 4), 0, (3,)),
        ("idle", (), 12, ()),
        ("inside.0", (), 2, ()),
    ]
    lines = lines_of(rows)
    assert len(lines) == 1 + len(rows)
    assert lines[-2].split() == ["idle", "Linear", "12"]


class LowRank(nn.Module):
    """A convolution whose weight is worked out of weights."""

    def __init__(self):
        super().__init__()
        self.weight, self.left = nn.Parameter(torch.ones(4, 6)), nn.Parameter(torch.ones(4, 1))
        self.right = nn.Parameter(torch.ones(1, 6))

    def forward(self, x):
        return F.conv1d(x, (self.weight + self.left @ self.right).view(4, 2, 3))


def test_products_of_weights_are_part_of_their_layer():
    rows = table(nn.Sequential(LowRank(), nn.Conv1d(4, 2, 3)), (1, 2, 9))
    assert [(row.layer, row.parameters, row.macs, row.size) for row in rows] == [
        ("0", 34, 4 * 6 + 7 * 4 * 6, (3,)),
        ("1", 26, 5 * 2 * 12, (5,)),
    ]
