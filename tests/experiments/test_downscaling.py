"""The downscaling experiment on small fields: times, shifts, mirrors, and a whole run."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from convarium import data

WIND = {"rows": (4, 20), "columns": (0, 24), "train": 24, "test": 12, "validation": (16, 2, 6)}


@pytest.fixture
def jobs(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "experiments"))
    return importlib.import_module("field_jobs")


def winds(count=40):
    """Noise over a pattern, on a circle of 24 columns."""
    random = np.random.default_rng(0)
    grid = data.Grid(np.arange(24) * 5.0 - 57.5, np.arange(24) * 15.0)
    pattern = random.normal(size=(2, 1, 24, 24))
    u, v = (pattern + 0.3 * random.normal(size=(2, count, 24, 24))).astype(np.float32)
    months = np.arange(count) % 12 + 1
    return data.fields_of_arrays({"uwnd": u, "vwnd": v}, grid, months=months)


def small(jobs, **changes):
    shifts = ((0, 0), (2, 3))
    network = {"name": "espcn", "start": "coarse", "channels": [8], "kernel_sizes": [3, 3]}
    quick = {"network": network, "shifts": shifts, "steps": 20, "batch": 4, "penalty": 1.0}
    return replace(jobs.JOBS["winds"], **(WIND | quick | changes))


@pytest.mark.parametrize("name", ["winds", "warming"])
def test_nothing_is_chosen_by_test_times(jobs, name):
    experiment = importlib.import_module("downscaling")
    job, count = jobs.JOBS[name], {"winds": 132, "warming": 240}[name]
    train, test = experiment.chosen_times(job, count, choose=False)
    chosen, validation = experiment.chosen_times(job, count, choose=True)
    assert chosen.max() < validation.min()
    assert validation.max() <= train.max() < test.min()
    assert (len(test), test.max()) == (job.test, count - 1)


def test_shifted_fields_are_the_same_fields_elsewhere(jobs):
    job, whole = small(jobs), winds()
    scene = jobs.set_scene(job, whole, np.arange(24))
    assert len(scene.others) == 4
    plain, shifted, mirrored, both = (pairs.fine.read([3])[0] for pairs in scene.others)
    first = whole.read([3])[0]
    np.testing.assert_array_equal(plain, first[:, 4:20])
    np.testing.assert_array_equal(shifted, np.roll(first, -3, -1)[:, 6:22])
    for one, other in ((plain, mirrored), (shifted, both)):
        np.testing.assert_array_equal(other[0], one[0, ::-1])
        np.testing.assert_array_equal(other[1], -one[1, ::-1])
    assert scene.others[2].fine.months[3] == 10
    latitudes = [pairs.static[-1, :, 0] for pairs in scene.others]
    np.testing.assert_allclose(latitudes[2], -latitudes[0][::-1])
    part = small(jobs, columns=(0, 20))
    region = whole.cut(slice(0, 24), slice(0, 21))
    cut = jobs.set_scene(part, region, np.arange(24)).others[1].fine.read([3])[0]
    np.testing.assert_array_equal(cut, first[:, 6:18, 3:19])


def test_a_run_measures_every_method_for_each_seed(jobs, tmp_path, monkeypatch):
    experiment = importlib.import_module("downscaling")
    monkeypatch.setitem(jobs.JOBS, "winds", small(jobs))
    monkeypatch.setattr(jobs, "opened", lambda job: winds())
    out = tmp_path / "result.json"
    call = ["downscaling.py", "winds", "--seeds", "0", "1", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", call)
    assert experiment.main() == 0
    result = json.loads(out.read_text())
    for kind in ("by_cells", "by_area"):
        rows = {row["method"]: row for row in result[kind]["rows"] if row["group"] == "all"}
        assert {"delta + constraint", "places alone", "network + places, 1"} <= set(rows)
        ours = [rows[f"network + places, {seed}"] for seed in (0, 1)]
        assert result[kind]["network + places"]["mean"] == pytest.approx(
            np.mean([row["rmse"] for row in ours]), rel=1e-3
        )
        assert max(row["conservation_error"] for row in ours) < 1e-5
        assert max(row["rmse"] for row in ours) < 0.7 * rows["bilinear + constraint"]["rmse"]
    table = experiment.table(result).splitlines()
    assert [row.split(" | ")[0] for row in table[2:]][-1] == "| mean of the seeds"
