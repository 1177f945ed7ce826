"""The families compared: depths that are in the names, fields by hand, ratios by their meaning."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

import convarium
from convarium.errors import ShapeError, UnknownModelError
from convarium.measure.families import compare_families, depth


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        *((f"resnet{n}", n) for n in (10, 18, 34, 50, 101, 152)),
        *((f"vgg{n}", n) for n in (11, 13, 16, 19)),
        *((f"densenet{n}", n) for n in (121, 161, 169, 201)),
        ("densenet264", 2 * (6 + 12 + 64 + 48) + 5),  # one more than its name says
        ("resnet20_cifar", 20),
        ("resnet110_cifar", 110),
        ("densenet_bc_100_12", 100),
        ("alexnet", 8),
        ("lenet5", 5),
    ],
)
def test_the_depth_is_the_number_in_the_name(name, layers):
    with torch.device("meta"):
        network = convarium.create(name)
    assert depth(network, (1, network.in_channels, *network.input_size)) == layers


def test_the_depth_follows_the_longest_way():
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
            self.side = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.two(self.one(x).relu()) + self.side(x)

    assert depth(Branches(), (1, 3, 4, 4)) == 2
    assert depth(nn.ReLU(), (1, 3, 4, 4)) == 0


def test_rows_of_small_networks(tmp_path):
    names = ["resnet20_cifar", "densenet_bc_100_12"]
    found = compare_families((2, 3, 32, 32), names=names, cache=tmp_path)
    first = found[0]
    # 3x3 stem, then six 3x3 a stage, each stage at twice the step: 3 + 6 x 2, + 2 + 5 x 4, ...
    assert first.fields == (15, 15 + 2 + 20, 15 + 22 + 4 + 40)
    assert [row.name for row in found] == names
    assert [row.family for row in found] == ["resnet", "densenet"]
    for row in found:
        gmacs = 2 * row.macs / 1e9
        assert row.ms_per_gmac == pytest.approx(row.latency_ms / gmacs)
        assert row.accuracy_per_million == pytest.approx(1e6 * row.accuracy / row.parameters)
        assert row.accuracy_source
        assert list(row.fields) == sorted(row.fields)
    assert json.loads(json.dumps(first.to_json()))["accuracy"] == 91.25


@pytest.mark.long
def test_every_family_has_a_row():
    found = compare_families(cache=False)
    families = [row.family for row in found]
    assert len(set(families)) == len(families)
    assert {"resnet", "densenet", "mobilenet_v2", "efficientnet", "convnext", "vgg"} < set(families)


def test_bad_input_is_one_sentence():
    with pytest.raises(UnknownModelError, match="resnet20_cifar"):
        compare_families((1, 3, 32, 32), names=["resnet2O_cifar"], cache=False)
    with pytest.raises(ShapeError, match="larger"):
        compare_families((1, 3, 2, 2), names=["resnet20_cifar"], cache=False)
    with pytest.raises(ShapeError, match="input_shape"):
        compare_families((0,), cache=False)
