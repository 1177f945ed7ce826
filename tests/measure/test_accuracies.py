"""Published numbers: the nearest is told; more data and much larger pictures do not count."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import convarium
from convarium.measure.accuracies import accuracy, counts, pretrained
from convarium.models import weights

IMAGES = (1, 3, 224, 224)


def sized(side: int) -> tuple[int, ...]:
    return (1, 3, side, side)


def rows(network: str) -> list[dict[str, str]]:
    with open(Path(weights.PATH), encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["network"] == network]


def test_the_number_is_that_of_the_nearest_size():
    """torchvision's ResNet-50 at 224 has 80.858 %, timm's at 288 has 81.214 %."""
    found = accuracy("resnet50", {}, IMAGES)
    assert (found.percent, found.size, found.data) == (80.858, 224, "ImageNet-1k")
    assert "torchvision" in found.source
    assert accuracy("resnet50", {}, sized(320)).percent == 81.214
    assert accuracy("resnet50", {}, sized(100)).percent == 80.858


def test_weights_that_saw_more_than_imagenet_are_left_out():
    """tf_ns_jft_in1k of EfficientNet-B0 at 224 reaches 78.67 % after 300 million other images."""
    assert max(float(row["accuracy"]) for row in rows("efficientnet_b0")) == 78.67
    assert accuracy("efficientnet_b0", {}, IMAGES).percent == 77.694


@pytest.mark.parametrize(
    ("name", "side", "expected"),
    [
        ("resnet50", 224, True),
        ("resnet50", 64, True),
        ("efficientnet_b2", 224, True),  # at 288
        ("efficientnet_b4", 224, False),  # at 380
        ("efficientnet_b4", 300, True),
        ("efficientnet_b7", 400, False),  # at 600
        ("efficientnet_b7", 450, True),
        ("resnet20_cifar", 28, True),
    ],
)
def test_numbers_of_much_larger_pictures_do_not_count(name, side, expected):
    found = accuracy(name, {}, sized(side))
    assert found is not None
    assert counts(found, sized(side)) is expected


def test_none_for_what_nobody_published():
    assert accuracy("resnet10", {}, IMAGES) is None
    assert accuracy("resnet50", {"stem": "cifar"}, sized(32)) is None
    assert accuracy("resnet20_cifar", {}, IMAGES) is None
    assert accuracy("resnet50", {}, (1, 3, 224)) is None
    assert accuracy("mobilenet_v2", {"width_multiplier": 0.6}, IMAGES) is None
    assert not counts(None, IMAGES)


def test_narrow_networks_have_their_papers_numbers():
    found = accuracy("mobilenet_v1", {"width_multiplier": 0.5}, IMAGES)
    assert (found.percent, found.source) == (63.7, "Howard et al. 2017, table 6")


def test_every_name_of_the_tables_is_one_of_the_catalogue():
    for name in convarium.list_models():
        for side in (32, 224):
            found = accuracy(name, {}, sized(side))
            assert found is None or 40 < found.percent < 100
    known = [name for name in convarium.list_models() if accuracy(name, {}, sized(32))]
    assert len(known) == 17  # He 2015: 5, He 2016: 3, Zagoruyko 2016: 3, Huang 2016: 6


def test_weights_to_start_from_fit_the_network_as_it_is():
    assert pretrained("resnet18", {}, IMAGES)
    assert not pretrained("resnet18", {"stem": "cifar"}, sized(32))
    assert not pretrained("resnet18", {}, (1, 3, 224))
    assert not pretrained("resnet10", {}, IMAGES)
