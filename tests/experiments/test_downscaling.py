"""The downscaling experiment on small fields: times, shifts, mirrors, and a whole run."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from convarium import data

WIND = {"rows": (0, 16), "columns": (0, 24), "times": (20, 4, 12), "choosing": (14, 2, 4)}


@pytest.fixture
def jobs(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "experiments"))
    return importlib.import_module("field_jobs")


def winds(count=40):
    """Noise over a pattern, on a circle of 24 columns."""
    random = np.random.default_rng(0)
    grid = data.Grid(np.arange(16) * 5.0 - 37.5, np.arange(24) * 15.0)
    pattern = random.normal(size=(2, 1, 16, 24))
    u, v = (pattern + 0.3 * random.normal(size=(2, count, 16, 24))).astype(np.float32)
    months = np.arange(count) % 12 + 1
    return data.fields_of_arrays({"uwnd": u, "vwnd": v}, grid, months=months)


@pytest.mark.parametrize("name", ["winds", "warming"])
def test_nothing_is_chosen_by_test_times(jobs, name):
    job, count = jobs.JOBS[name], {"winds": 132, "warming": 240}[name]
    train, validation, test = jobs.times_of(job, count, choose=False)
    chosen = np.concatenate(jobs.times_of(job, count, choose=True))
    assert train.max() < validation.min() <= validation.max() < test.min()
    assert chosen.max() <= train.max()
    assert np.array_equal(chosen, np.arange(len(chosen)))
    assert (len(test), test.max()) == (job.times[2], count - 1)


def test_a_run_measures_every_method_for_each_seed(jobs, tmp_path, monkeypatch):
    experiment = importlib.import_module("downscaling")
    small = replace(jobs.JOBS["winds"], **WIND, config={"epochs": 2})
    monkeypatch.setitem(jobs.JOBS, "winds", small)
    monkeypatch.setattr(jobs, "opened", lambda job: winds())
    out = tmp_path / "result.json"
    call = ["downscaling.py", "winds", "--seeds", "0", "1", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", call)
    assert experiment.main() == 0
    result = json.loads(out.read_text())
    for kind in ("by_cells", "by_area"):
        rows = {row["method"]: row for row in result[kind]["rows"] if row["group"] == "all"}
        assert {"delta + constraint", "places alone", "network + places, 1"} <= set(rows)
        draw = rows["a draw of it, 0"]
        assert draw["crps"] < draw["mae"]
        assert draw["conservation_error"] < 1e-5
        ours = [rows[f"network + places, {seed}"] for seed in (0, 1)]
        assert result[kind]["network + places"]["mean"] == pytest.approx(
            np.mean([row["rmse"] for row in ours]), rel=1e-3
        )
        assert max(row["conservation_error"] for row in ours) < 1e-5
        assert max(row["rmse"] for row in ours) < 0.7 * rows["bilinear + constraint"]["rmse"]
    table = experiment.table(result).splitlines()
    assert [row.split(" | ")[0] for row in table[2:]][-1] == "| mean of the seeds"
