"""Draws beside fields: their figures are those of all draws at once."""

import dataclasses
import json

import numpy as np
import pytest

from convarium import tasks
from convarium.tasks import field_draws, field_scores
from convarium.tasks.field_distributions import crps_normal, member_cells, rank_histogram
from convarium.tasks.field_draws import CellDraws, PatternDraws
from convarium.tasks.field_ensembles import FieldDistribution

COUNT, ROWS, COLUMNS, DRAWN = 240, 6, 8, 12


@pytest.fixture
def truth():
    """Years of months that the fields do not know half of, with a gap."""
    random = np.random.default_rng(0)
    fields, left = random.normal(size=(2, COUNT, ROWS, COLUMNS)).astype("f4")
    whole = fields + left
    whole[:, 0, 0] = np.nan
    whole[7, 3, 3] = np.nan
    return fields, whole


@pytest.fixture
def draws(truth):
    """Draws of what is left, as large as it."""
    random = np.random.default_rng(1)
    patterns = random.normal(size=(20, ROWS, COLUMNS)).astype("f4") / np.sqrt(20)
    weights = random.normal(size=(COUNT, DRAWN, 20)).astype("f4")
    return PatternDraws(truth[0], patterns, weights)


def test_pieces_of_times_give_what_all_times_give(truth, draws, monkeypatch):
    monkeypatch.setattr(field_draws, "_AT_ONCE", 17 * DRAWN * ROWS * COLUMNS)
    every = np.stack([draws.one(m) for m in range(DRAWN)])
    expected = draws.fields + np.einsum("nmk,khw->mnhw", draws.weights, draws.patterns)
    np.testing.assert_allclose(every, expected, atol=1e-5)
    found = draws.distances(truth[1])
    np.testing.assert_allclose(found, member_cells(truth[1], expected, fair=True), atol=1e-5)
    areas = np.linspace(0, 1, ROWS).reshape(-1, 1)
    ranks = draws.ranks(truth[1], areas)
    shares = rank_histogram(truth[1], expected, areas=areas)
    assert [rank.share for rank in ranks] == pytest.approx(shares.tolist(), abs=1e-4)
    assert (ranks[0].place, ranks[-1].place) == ("below draw 1", "above draw 12")
    np.testing.assert_array_equal(draws.one(3, np.array([5, 9])), draws.one(3)[[5, 9]])


@pytest.mark.parametrize("count", [2, 3, 10])
def test_few_draws_say_what_their_distribution_is_worth(count):
    """The closed form of a normal distribution, whatever the number of draws."""
    random = np.random.default_rng(count)
    truth, members = random.normal(size=(40, 20, 20)), random.normal(size=(count, 40, 20, 20))
    expected = crps_normal(truth, 0 * truth + 0.5, 0 * truth + 2)
    found = member_cells(truth, 0.5 + 2 * members, fair=True).mean()
    assert found == pytest.approx(expected, rel=0.03)
    assert member_cells(truth, 0.5 + 2 * members).mean() > found


def test_areas_of_ranks_count_as_cells_do():
    """A row of twice the area is as two rows."""
    random = np.random.default_rng(2)
    truth, members = random.normal(size=(9, 2, 5)), random.normal(size=(4, 9, 2, 5))
    twice = [np.repeat(each, [1, 2], axis=-2) for each in (truth, members)]
    found = rank_histogram(truth, members, areas=np.array([[0.5], [1.0]]))
    np.testing.assert_allclose(found, rank_histogram(*twice))


def test_extremes_of_draws_are_the_mean_of_theirs(truth, draws):
    years = np.arange(COUNT) // 12
    comparison = tasks.FieldComparison(
        truth[1],
        {"field": truth[0], "drawn": draws.one(0)},
        areas=None,
        crps={"drawn": draws.distances(truth[1])},
        years=years,
        draws={"drawn": draws},
    )
    field, drawn, *_, first = comparison.rows({"first": (np.arange(120), None)})
    assert np.isnan([first.quantile_error, first.return_error]).all()  # and drawn once
    assert first.crps > 0
    every = [draws.one(m) for m in range(DRAWN)]
    known = ~np.isnan(truth[1]).all(0)
    for statistic, found in (
        (field_scores.cell_quantiles, drawn.quantile_error),
        (lambda y, v: field_scores.cell_returns(y, v, years), drawn.return_error),
    ):
        own = np.mean([statistic(truth[1], each) for each in every], 0)
        error = np.abs(own - statistic(truth[1], truth[1]))[known].mean()
        assert found == pytest.approx(error, rel=1e-6)
    assert drawn.quantile_error < 0.4 * field.quantile_error
    assert drawn.return_error < 0.4 * field.return_error
    assert drawn.crps < 0.8 * field.crps
    assert field.crps == pytest.approx(field.mae)
    gain, (low, high) = comparison.gain("drawn", "field", "crps")
    assert gain == pytest.approx(1 - drawn.crps / field.crps)
    assert low < gain < high


def test_figures_that_are_means_have_intervals(truth, draws):
    """Of a figure that is the same at each time both ends are it; means lie between theirs."""
    usual = np.zeros_like(truth[0])
    given = {"field": truth[0], "off": truth[1] + 0.5}
    comparison = tasks.FieldComparison(
        truth[1], given, areas=None, factor=(2, 2), climatology=usual, block=12
    )
    groups = {"first": (np.arange(120), None)}
    field, off, *others = comparison.rows(groups)
    assert set(field.intervals) == {"mae", "bias", "anomaly_correlation", "high_waves"}
    for name, (low, high) in field.intervals.items():
        assert low < getattr(field, name) < high
    assert off.intervals["bias"] == pytest.approx((0.5, 0.5))
    assert off.intervals["mae"] == pytest.approx((0.5, 0.5))
    assert [row.intervals for row in others] == [{}, {}]
    assert field.to_json()["intervals"]["mae"] == field.intervals["mae"]


def test_figures_of_a_desert_go_into_json():
    """It rains at one time of 24: most draws of times have no fine waves to be compared with."""
    rain = np.zeros((24, ROWS, COLUMNS), "f4")
    rain[5] = np.random.default_rng(3).gamma(1.0, size=(ROWS, COLUMNS))
    (row,) = tasks.FieldComparison(rain, {"own": 0.9 * rain}, None, factor=(2, 2), block=6).rows()
    assert 0 < row.high_waves < 1
    told = json.loads(json.dumps(row.to_json(), allow_nan=False))
    assert told["intervals"]["high_waves"] is None
    assert told["rmse_interval"] == list(row.rmse_interval)


def test_cells_are_drawn_from_their_distributions():
    shape = (400, 4, 5)
    normal = FieldDistribution("normal", np.stack([np.full(shape, 3.0), np.full(shape, 0.5)]))
    draws = CellDraws(normal, 3, "a")
    assert draws.one(0).mean() == pytest.approx(3, abs=0.02)
    assert draws.one(0).std() == pytest.approx(0.5, rel=0.03)
    np.testing.assert_array_equal(draws.one(0), draws.one(0))
    assert not (draws.one(0) == draws.one(1)).any()
    rain = dataclasses.replace(draws, bounded=True)
    np.testing.assert_array_equal(rain.one(2), draws.one(2))  # which are far above 0
    low = FieldDistribution("normal", np.stack([np.full(shape, 0.1), np.full(shape, 0.5)]))
    assert dataclasses.replace(rain, distribution=low).one(2).min() == 0
    truth = np.full(shape, 3.2)
    given = {"normal": truth, "drawn": draws.one(0)}
    comparison = tasks.FieldComparison(
        truth, given, None, crps={"drawn": draws.distances(truth)}, draws={"drawn": draws}
    )
    row = comparison.rows()[1]
    assert np.isnan([row.rmse, row.mae, row.ssim, row.high_waves, *row.rmse_interval]).all()
    assert row.crps == pytest.approx(draws.distances(truth).mean())
    assert row.quantile_error > 0
    levels, ends = (0.1, 0.5, 0.8), (-1.0, 0.0, 4.0)
    quantiles = FieldDistribution("quantiles", np.stack([np.full(shape, q) for q in ends]), levels)
    found = CellDraws(quantiles, 2, "b").one(1)
    assert (found.min(), found.max()) == (-1, 4)
    shares = [(found <= end).mean() for end in (-1.0, -0.5, 0.0, 2.0, 3.9999)]
    assert shares == pytest.approx([0.1, 0.3, 0.5, 0.65, 0.8], abs=0.02)
