"""Ways of training few series: what is drawn, what is answered, and what is summed up."""

from __future__ import annotations

import importlib
import json

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
    rules = [{**run, "way": "rule", "draw": k, "right": r} for k, r in enumerate(("1001", "1111"))]
    more = [{**run, "way": "more", "draw": k, "right": r} for k, r in enumerate(("1101", "1111"))]
    told = experiment.summary([*rules, *more, {**more[0], "draw": 2, "right": "0000"}])
    assert told["rule"]["accuracy"]["mean"] == 0.75
    assert (told["more"]["accuracy"]["n"], told["more"]["accuracy"]["lowest"]) == (3, 0)
    assert told["more"]["against_rule"]["mean"] == 0.125
    low, high = told["more"]["against_rule"]["interval"]  # Student's, of two: t = 12.706
    assert (low, high) == pytest.approx((0.125 - 12.706 * 0.125, 0.125 + 12.706 * 0.125), rel=1e-4)
    assert "against_rule" not in told["rule"]


def test_runs_of_another_rule_are_not_mixed_in(experiment, tmp_path, monkeypatch):
    kept = {"way": "rule", "draw": 0, "right": "1", "seconds": 1.0, "asked": {"model": "other"}}
    (tmp_path / "told.json").write_text(json.dumps({"runs": [kept]}))
    monkeypatch.setattr(experiment, "archive", lambda: write_pair(tmp_path / "Ramps").parent)
    monkeypatch.setattr(experiment, "NAME", "Ramps")
    monkeypatch.setattr("sys.argv", ["-", "--ways", "rule", "--out", str(tmp_path / "told.json")])
    with pytest.raises(SystemExit, match="has rule of other settings"):
        experiment.main()
