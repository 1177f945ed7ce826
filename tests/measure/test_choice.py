"""`choose`: limits by independent counts, papers' order, kept latencies, and what is nearest."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import convarium
from convarium.errors import OptionError, ShapeError, UnknownModelError
from convarium.measure.choice import choose
from convarium.measure.chosen import Choices, pareto_front
from convarium.models import Variant, registry
from convarium.models.contract import Classifier, Stage

SMALL = (1, 3, 16, 16)
CIFAR = "resnet??_cifar"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Facts and latencies that these tests share."""
    return tmp_path_factory.mktemp("measured")


def names(choices: Choices) -> list[str]:
    return [row.name for row in choices.rows]


VALUES = st.sampled_from([1.0, 2.0, 3.0, 4.0, math.inf, -math.inf, math.nan])


@given(st.lists(st.tuples(VALUES, VALUES), max_size=12))
def test_the_front_is_that_of_brute_force(points):
    def better(one: tuple[float, float], other: tuple[float, float]) -> bool:
        return one != other and one[0] <= other[0] and one[1] >= other[1]

    expected = {i for i, own in enumerate(points) if not any(better(p, own) for p in points)}
    expected -= {i for i, own in enumerate(points) if any(map(math.isnan, own))}
    front = pareto_front(points)
    assert set(front) == expected
    assert len(front) == len(expected)
    assert [points[i][0] for i in front] == sorted(points[i][0] for i in front)
    assert pareto_front(np.reshape(points, (-1, 2))) == front


def test_the_order_is_that_of_the_papers_accuracy(folder):
    """He et al. 2015, table 6: more layers, fewer errors (8.75, 7.51, 7.17 and 6.97 %)."""
    found = choose(input_shape=SMALL, pattern=CIFAR, cache=folder)
    assert [(row.name, row.accuracy) for row in found.rows] == [
        ("resnet56_cifar", 93.03),
        ("resnet44_cifar", 92.83),
        ("resnet32_cifar", 92.49),
        ("resnet20_cifar", 91.25),
    ]
    assert {row.accuracy_source for row in found.rows} == {"He et al. 2015, table 6"}
    on_front = [row.label for row in found.rows if row.on_front]
    assert sorted(on_front) == sorted(found.front)
    assert found.rows[0].on_front  # the most accurate always is
    assert json.loads(json.dumps(found.to_json()))["rows"][0]["name"] == "resnet56_cifar"


def test_rows_can_be_built_and_are_what_they_say(folder):
    found = choose(input_shape=(2, 1, 16, 16), pattern="resnet1[08]", num_classes=7, cache=folder)
    assert "resnet18" in names(found)
    for row in found.rows:
        keywords = {"num_classes": 7, "in_channels": 1, "spatial_dims": 2}
        network = convarium.create(row.name, **row.options, **keywords).eval()
        assert row.parameters == sum(p.numel() for p in network.parameters())
        assert network(torch.zeros(2, 1, 16, 16)).shape == (2, 7)
        assert row.latency_ms > 0
        weights = 4e-6 * row.parameters
        assert weights < row.memory_mb < weights + 10


@pytest.mark.parametrize(
    ("limits", "left"),
    [  # parameters 269,722, 464,154, 658,586 and 853,018; MACs grow with the depth
        ({"max_parameters": 500_000}, [32, 20]),
        ({"max_parameters": 464_154}, [32, 20]),
        ({"max_parameters": 464_153}, [20]),
        (
            {"min_field": 82},
            [56, 44, 32],
        ),  # 1 + 2 (1 + 2n) + 4 (2n) - 2 + 8 (2n) - 4: n = 3 gives 81
        ({"min_field": 81}, [56, 44, 32, 20]),
        ({"max_parameters": 500_000, "min_field": 82}, [32]),
    ],
)
def test_limits_are_respected(limits, left, folder):
    found = choose(input_shape=SMALL, pattern=CIFAR, cache=folder, **limits)
    assert names(found) == [f"resnet{depth}_cifar" for depth in left]
    assert found.limits == limits


def test_macs_memory_and_time_are_limits_too(folder):
    everything = choose(input_shape=SMALL, pattern=CIFAR, cache=folder).rows
    for limit, values in {
        "max_macs": [row.macs for row in everything],
        "max_memory_mb": [row.memory_mb for row in everything],
        "max_ms": [row.latency_ms for row in everything],
    }.items():
        allowed = sorted(values)[1]
        found = choose(input_shape=SMALL, pattern=CIFAR, cache=folder, **{limit: allowed})
        expected = [row.name for row, v in zip(everything, values, strict=True) if v <= allowed]
        assert names(found) == expected


def test_a_latency_that_was_kept_is_not_measured_again(tmp_path):
    first = choose(input_shape=SMALL, pattern="resnet20_cifar", cache=tmp_path)
    (path,) = tmp_path.glob("latency-*.json")
    kept = json.loads(path.read_text())
    kept["value"]["median_ms"] = 123456.5
    path.write_text(json.dumps(kept))
    again = choose(input_shape=SMALL, pattern="resnet20_cifar", cache=tmp_path)
    assert again.rows[0].latency_ms == 123456.5
    with_more = choose(input_shape=SMALL, pattern="resnet20_cifar", cache=tmp_path, threads=2)
    assert with_more.rows[0].latency_ms < 10_000
    assert with_more.threads == 2
    fresh = choose(input_shape=SMALL, pattern="resnet20_cifar", cache=tmp_path, fresh=True)
    assert fresh.rows[0].latency_ms < 10_000
    assert json.loads(path.read_text())["value"]["median_ms"] == fresh.rows[0].latency_ms
    assert first.rows[0].parameters == fresh.rows[0].parameters


@pytest.mark.parametrize("value", ["text", {}, {"median_ms": -1, "p90_ms": 1, "n": 1}, [1, 2]])
def test_a_kept_value_that_is_no_time_does_not_count(tmp_path, value):
    choose(input_shape=SMALL, pattern="resnet20_cifar", cache=tmp_path)
    for path in tmp_path.iterdir():
        kept = json.loads(path.read_text())
        path.write_text(json.dumps(kept | {"value": value}))
    row = choose(input_shape=SMALL, pattern="resnet20_cifar", cache=tmp_path).rows[0]
    assert row.parameters == 269_722
    assert 0 < row.latency_ms < 10_000


class Sleeper(Classifier):
    """Sleeps for a known time."""

    def __init__(
        self, *, spatial_dims: int = 2, in_channels: int = 3, num_classes: int = 10, ms: int = 40
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, in_channels=in_channels)
        self.stem = torch.nn.Conv2d(in_channels, 4, 3, padding=1)
        self.final = torch.nn.Identity()
        self.part = torch.nn.Identity()
        self.stages = (Stage("part", 4, 1),)
        self.neck = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        self.build_head(4, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        time.sleep(0 if x.is_meta else self.config["ms"] / 1e3)
        return super().forward_features(x)


@pytest.fixture
def sleepers(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {f"sleeper{ms}": Variant(f"sleeper{ms}", Sleeper, {"ms": ms}, "ours") for ms in (8, 40)}
    monkeypatch.setattr(registry, "_rows", registry._rows | rows)


@pytest.mark.usefixtures("sleepers")
def test_the_time_is_that_of_a_pass_and_networks_of_users_are_asked_too():
    found = choose(input_shape=SMALL, pattern="sleeper*", cache=False)
    times = {row.name: row.latency_ms for row in found.rows}
    assert 8 <= times["sleeper8"] < 30
    assert 40 <= times["sleeper40"] < 70
    fast = choose(input_shape=SMALL, pattern="sleeper*", max_ms=30, cache=False)
    assert names(fast) == ["sleeper8"]


@pytest.mark.usefixtures("sleepers")
def test_where_nothing_satisfies_the_nearest_is_told():
    found = choose(input_shape=SMALL, pattern="sleeper*", max_ms=4, cache=False)
    assert found.rows == found.front == ()
    assert found.nearest.name == "sleeper8"
    (miss,) = found.missed
    assert (miss.limit, miss.allowed, miss.found) == ("max_ms", 4, found.nearest.latency_ms)
    assert miss.ratio == pytest.approx(found.nearest.latency_ms / 4)
    words = found.sentence()
    assert words.startswith("Nothing satisfies this; the nearest is sleeper8: ")
    assert "max_ms=4" in words
    assert json.loads(json.dumps(found.to_json()))["satisfied"] is False


def test_the_nearest_by_limits_without_a_clock(folder):
    found = choose(input_shape=SMALL, pattern=CIFAR, max_parameters=134_861, cache=folder)
    assert found.nearest.name == "resnet20_cifar"
    assert found.sentence() == (
        "Nothing satisfies this; the nearest is resnet20_cifar: "
        "269,722 parameters where max_parameters=134,861 (100 % more)."
    )


def test_small_images_get_small_stems_and_large_ones_do_not(folder):
    small = choose(input_shape=SMALL, pattern="resnet*8", cache=folder)
    assert set(names(small)) == {"resnet8", "resnet18", "resnetblur18"}
    for row in small.rows:
        own = registry.find(row.name).keywords.get("stem")
        assert row.options.get("stem", own) == "cifar"
    large = choose(input_shape=(1, 3, 64, 64), pattern="resnet*8", cache=folder)
    assert set(names(large)) == {"resnet18", "resnetblur18"}
    assert all(row.options == {} for row in large.rows)
    assert large.unfit == ("resnet8",)


def test_plain_nets_are_for_comparison_only(folder):
    with pytest.raises(ShapeError, match="None of the networks asked"):
        choose(input_shape=SMALL, pattern="plain*", cache=folder)


def test_edge_asks_for_narrow_networks_within_its_own_limits(folder):
    found = choose(input_shape=(1, 3, 64, 64), target="edge", pattern="mobilenet_v1", cache=folder)
    assert [row.options.get("width_multiplier", 1) for row in found.rows] == [1, 0.75, 0.5, 0.25]
    # Howard et al. 2017, table 6, and the full network's published weights.
    assert [row.accuracy for row in found.rows][1:] == [68.4, 63.7, 50.6]
    assert found.limits == {"max_macs": 300e6, "max_parameters": 5e6}
    wider = {"max_parameters": 2_000_000, "max_macs": 40e6}
    narrow = choose(
        input_shape=(1, 3, 64, 64), target="edge", pattern="mobilenet_v1", cache=folder, **wider
    )
    assert narrow.limits == wider
    assert [row.options["width_multiplier"] for row in narrow.rows] == [0.5, 0.25]


def test_few_samples_prefer_published_weights_then_densenets(folder):
    options: dict[str, Any] = {"small_data": True, "cache": folder}
    weights = choose(input_shape=(1, 3, 64, 64), pattern="resnet1[08]", **options)
    assert names(weights) == ["resnet18", "resnet10"]  # though resnet10 has fewer parameters
    dense = choose(input_shape=SMALL, pattern="*[24]0_[c1]*", **options)
    assert names(dense) == ["densenet_40_12", "resnet20_cifar"]  # though it has more


def test_signals_are_ranked_and_what_they_lack_is_said(folder):
    found = choose(input_shape=(1, 6, 300), target="sequence", pattern="resnet1[08]", cache=folder)
    assert names(found) == ["resnet18", "resnet10"]  # the first one's field covers the input
    assert found.notes[0] == "None of the 2 networks is causal: each output sees later inputs too."
    assert any("No accuracy is published" in note for note in found.notes)
    assert found.front == ()
    assert all(row.accuracy is None for row in found.rows)
    assert [row.field for row in found.rows] == [(435,), (195,)]  # as in two dimensions


def test_what_is_not_causal_does_not_satisfy_who_needs_that(folder):
    found = choose(
        input_shape=(1, 6, 300), target="sequence", causal=True, pattern="resnet1[08]", cache=folder
    )
    assert names(found) == []
    assert found.nearest is not None
    assert "not causal" in found.missed[0].words()


def test_long_context_asks_for_a_field_that_covers_the_input(folder):
    options: dict[str, Any] = {"pattern": "resnet1[08]", "cache": folder, "long_context": True}
    found = choose(input_shape=(1, 6, 300), target="sequence", **options)
    assert names(found) == ["resnet18"]  # 435; resnet10 sees 195
    given = choose(input_shape=(1, 6, 300), target="sequence", min_field=100, **options)
    assert set(names(given)) == {"resnet10", "resnet18"}


def test_n_limits_how_many_are_measured(folder):
    found = choose(input_shape=SMALL, pattern=CIFAR, n=2, cache=folder)
    assert len(found.rows) == 2
    assert any(note.startswith("2 more meet the limits") for note in found.notes)


def test_no_random_number_is_used_up():
    state = torch.get_rng_state()
    choose(input_shape=SMALL, pattern="resnet20_cifar", cache=False)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"target": "phone"}, OptionError, "target .* must be one of server, mobile"),
        ({"target": "mobil"}, OptionError, "Did you mean 'mobile'"),
        ({"task": "text"}, OptionError, "task .* must be one of series, images, volumes"),
        ({"task": "series"}, ShapeError, "input_shape"),
        ({"target": "sequence"}, ShapeError, "input_shape"),
        ({"input_shape": (1, 3)}, ShapeError, "input_shape"),
        ({"input_shape": (3, 16, 16, -1)}, ShapeError, "whole shape, batch included"),
        ({"input_shape": (1, 3, 2, 2)}, ShapeError, "give larger ones"),
        ({"max_ms": 0}, OptionError, "max_ms .* above 0"),
        ({"max_parameters": "5M"}, OptionError, "max_parameters .* above 0"),
        ({"max_macs": float("nan")}, OptionError, "max_macs"),
        ({"n": 0}, OptionError, r"n \(=0\)"),
        ({"threads": 0}, OptionError, "threads"),
        ({"pattern": "renset20_cifar"}, UnknownModelError, "resnet20_cifar"),
        ({"num_classes": -3}, OptionError, "num_classes"),
        ({"cache": ""}, OptionError, "cache"),
    ],
)
def test_bad_input_is_one_sentence(options, error, words):
    given = {"input_shape": SMALL, "pattern": "resnet20_cifar", "cache": False}
    with pytest.raises(error, match=words):
        choose(**given | options)
