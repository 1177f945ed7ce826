"""What needs no training reaches on real fields, to the last digit that docs/grids.md gives."""

import os
from pathlib import Path

import numpy as np
import pytest

from convarium import data, tasks
from convarium.tasks.field_scores import rmse

pytest.importorskip("xarray")
pytestmark = pytest.mark.long


def fields(name, variable):
    """One variable of a file that `make data` brings; without it the test is skipped."""
    cache = os.environ.get("CONVARIUM_DATA", str(Path.home() / ".cache" / "convarium"))
    path = Path(cache).expanduser() / name
    if not path.exists():
        pytest.skip(f"no {path}; run: make data")
    return data.open_fields(path, [variable])


def navy():
    return fields("ferret-datasets/monthly_navy_winds.cdf", "uwnd")


def scenario():
    return fields("iris-sample-data/A1B_north_america.nc", "air_temperature")


def figures(pairs, ids, climatology=None, *, wrap, areas=None):
    """The rounded RMSE of each method."""
    truth = pairs.read(ids)[1]
    found = tasks.baseline_fields(pairs, ids, climatology, wrap=wrap)
    return {name: round(rmse(truth, value, areas), 3) for name, value in found.items()}


def delta(pairs, train):
    return data.fit_climatology(
        pairs.read(train)[1], pairs.fine.months[train], pairs.factor, pairs.areas
    )


def test_all_months_of_the_navy_winds():
    winds = navy()
    assert (len(winds), winds.grid.shape, winds.grid.wraps) == (132, (73, 144), True)
    assert winds.months.tolist() == [*range(1, 13)] * 11
    pairs = data.perfect_pairs(winds.cut(rows=slice(0, 72)), 4, winds.names)
    found = figures(pairs, np.arange(132), wrap=False)
    expected = {"nearest": 1.738, "bilinear": 1.428, "bilinear + constraint": 1.221}
    assert {name: found[name] for name in expected} == expected


def test_the_last_months_of_the_navy_winds():
    pairs = data.perfect_pairs(navy().cut(rows=slice(4, 68)), 4, ["UWND"])
    train, test = np.arange(100), np.arange(108, 132)
    found = figures(pairs, test, delta(pairs, train), wrap=True)
    expected = {"bilinear": 1.414, "bilinear + constraint": 1.188, "delta + constraint": 0.983}
    assert {name: found[name] for name in expected} == expected
    by_area = data.perfect_pairs(pairs.fine, 4, ["UWND"], weighted=True)
    areas = by_area.areas.reshape(-1, 1)
    weighted = figures(by_area, test, delta(by_area, train), wrap=True, areas=areas)
    expected = {"bilinear": 1.336, "bilinear + constraint": 1.112, "delta + constraint": 0.943}
    assert {name: weighted[name] for name in expected} == expected


def test_the_years_of_the_scenario():
    warming = scenario()
    assert (len(warming), warming.grid.shape) == (240, (37, 49))
    part = warming.cut(slice(0, 36), slice(0, 48))
    pairs = data.perfect_pairs(part, 4, warming.names)
    found = figures(pairs, np.arange(240), wrap=False)
    expected = {"nearest": 1.631, "bilinear": 1.138, "bilinear + constraint": 0.982}
    assert {name: found[name] for name in expected} == expected
    found = figures(pairs, np.arange(180, 240), delta(pairs, np.arange(160)), wrap=False)
    assert found["bilinear + constraint"] == 0.950
    assert found["delta + constraint"] == 0.278
