"""Figures of results on deployment."""

from __future__ import annotations

import pytest
import results_known


def test_tuning_is_a_geometric_mean_and_stands_beside_the_best_form():
    seconds = {name: {"n": 9, "lowest": 1.0, "highest": 2.0} for name in ("a", "b", "eager fp32")}
    about = {"goal": "latency", "chosen": "a", "best": "b", "seconds": seconds}
    found = [
        {**about, "network": name, "times_faster": times, "chosen_against_best": 1.02}
        for name, times in (("one", 2.0), ("two", 8.0))
    ]
    rows = results_known.KNOWN["deploying"].figures({"rows": found})
    assert rows[0][:3] == ("latency: times as fast as eager, geometric mean", "4", "2")
    assert [row.figure for row in rows[1:]] == ["2", "1.02", "8", "1.02"]
    assert rows[2].what == "one, latency: its time / that of b"
    assert [row.spread for row in rows[1:3]] == ["within 0.5 to 2"] * 2


def test_what_a_trained_network_loses_is_told_with_its_interval():
    loss = {"n": 3600, "before": 80.0, "after": 79.9, "interval": [-0.1, 0.3], "points": 0.5}
    judged = [{"network": "one", "chosen": "a", "loss": loss}]
    (row,) = results_known.KNOWN["deploying_accuracy"].figures({"rows": judged})
    assert row[1:] == ("0.10 of 80.0", "3,600", "(-0.10 to 0.30)", "under 0.5")


@pytest.mark.parametrize("asked", [5.0, 3.5])
def test_files_to_labels_are_beside_what_is_asked(asked):
    it = {"network": "n", "form": "f", "times_the_usual": 7.8337, "bound": asked}
    took = {"n": 5, "lowest": 1.0, "highest": 2.0}
    rows = results_known.KNOWN["predicting"].figures(
        {"rows": [{**it, "seconds": {"ours": took, "usual": took}}]}
    )
    assert rows[0][1:] == ("7.83", "5", "within 0.5 to 2", f"at least {asked:g}")
