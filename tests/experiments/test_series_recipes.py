"""Ways of training few series: what is drawn, what is answered, and what is summed up."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from sequences import write_pair

from convarium import data


@pytest.fixture
def experiment(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "experiments"))
    return importlib.import_module("series_recipes")


def test_as_many_of_each_class_are_drawn_and_the_others_are_answered(experiment, tmp_path):
    dataset = data.open_dataset(write_pair(tmp_path) / "Ramps_TRAIN.ts")
    some, others = experiment.drawn(dataset, 5, 3, 0, tmp_path)
    assert np.bincount(some.targets).tolist() == [5] * len(dataset.classes)
    assert len(some) + len(others) == len(dataset)
    every = {dataset.read(i).values[:, ::3].tobytes() for i in range(len(dataset))}
    told = [part.read(i).values.tobytes() for part in (some, others) for i in range(len(part))]
    assert sorted(told) == sorted(every)
    other = experiment.drawn(dataset, 5, 3, 1, tmp_path)[0]
    assert other.read(0).values.tobytes() != told[0]


def test_a_run_answers_each_other_series_and_again_the_same(experiment, tmp_path):
    dataset = data.open_dataset(write_pair(tmp_path) / "Ramps_TRAIN.ts")
    way = experiment.Way(options={"channels": [3, 4, 3], "members": 2}, epochs=0.02)
    found = experiment.one_run(dataset, way, 0, each=5)
    others = len(dataset) - 5 * len(dataset.classes)
    assert len(found["right"]) == others
    assert found["trained"] < 5 * len(dataset.classes)
    assert experiment.one_run(dataset, way, 0, each=5)["right"] == found["right"]


def test_a_way_is_compared_with_the_rule_on_the_same_draws(experiment):
    run = {"seconds": 2.0}
    rule = {**run, "way": "rule", "draw": 0, "right": "1001"}
    five = {**run, "way": "five members", "draw": 0, "right": "1100"}
    more = {**run, "way": "five members", "draw": 1, "right": "00"}
    told = experiment.summary([rule, five, more])
    assert told["rule"]["accuracy"] == 0.5
    assert (told["five members"]["n"], told["five members"]["draws"]) == (6, 2)
    assert told["five members"]["accuracy"] == pytest.approx(1 / 3)
    against = told["five members"]["against_rule"]
    assert (against["n"], against["gained"], against["lost"]) == (4, 1, 1)
    assert against["interval"][0] < 0 < against["interval"][1]
    assert "against_rule" not in told["rule"]
