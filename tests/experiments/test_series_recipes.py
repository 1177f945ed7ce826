"""Ways of training few series: folds inside the training part, and what is summed up."""

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


def test_every_training_series_is_answered_once_and_no_test_series(experiment, tmp_path):
    dataset = data.open_dataset(write_pair(tmp_path) / "Ramps_TRAIN.ts")
    way = experiment.Way(options={"channels": [3, 4, 3], "members": 2}, epochs=0.02, batch=2)
    found = [experiment.one_fold(dataset, way, 3, fold, 0) for fold in range(3)]
    answered = [int(i) for each in found for i in each["right"]]
    assert sorted(answered) == np.flatnonzero(dataset.given == 0).tolist()
    again = experiment.one_fold(dataset, way, 3, 1, 0)
    assert again["right"] == found[1]["right"]


def test_a_way_is_compared_with_the_rule_on_the_same_series(experiment):
    rule = {"name": "a", "way": "rule", "seed": 0, "fold": 0, "right": {"1": True, "2": False}}
    five = {"name": "a", "way": "five", "seed": 0, "fold": 0, "right": {"1": True, "2": True}}
    more = {"name": "b", "way": "five", "seed": 0, "fold": 0, "right": {"1": False}}
    told = experiment.summary([rule, five, more])
    assert told["rule"]["all"]["accuracy"] == 0.5
    assert told["five"]["all"]["n"] == 3
    assert told["five"]["b"]["accuracy"] == 0
    against = told["five"]["against_rule"]
    assert (against["n"], against["gained"], against["lost"]) == (2, 1, 0)
    assert against["interval"][0] < 0.5 < against["interval"][1]
    assert "against_rule" not in told["rule"]
