"""Figures of fine fields against closed forms, scikit-image, SciPy and scoringrules."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from skimage.metrics import structural_similarity

from convarium.errors import DataError, OptionError
from convarium.intervals import block_bootstrap, bootstrap
from convarium.tasks import field_distributions as distributions
from convarium.tasks import field_scores as scores
from convarium.tasks import field_spectra
from convarium.tasks.field_groups import band_groups, block_of, season_groups
from convarium.tasks.field_results import FieldComparison

scoringrules = pytest.importorskip("scoringrules")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_errors_are_weighted_means_over_known_cells():
    truth, value = noise(3, 4, 5), noise(3, 4, 5, seed=1)
    truth[1, 2, 3] = np.nan
    areas = np.linspace(0.2, 1, 4).reshape(-1, 1)
    w = np.where(np.isnan(truth), 0, np.broadcast_to(areas, truth.shape))
    apart = np.nan_to_num(value - truth)
    expected = [
        math.sqrt(np.average(apart**2, weights=w)),
        np.average(np.abs(apart), weights=w),
        np.average(apart, weights=w),
    ]
    found = [f(truth, value, areas) for f in (scores.rmse, scores.mae, scores.bias)]
    assert found == pytest.approx(expected)


def test_anomaly_correlation_is_the_correlation_of_each_time():
    truth, value, usual = noise(4, 6, 7), noise(4, 6, 7, seed=1), noise(6, 7, seed=2)
    each = [
        np.corrcoef((t - usual).ravel(), (v - usual).ravel())[0, 1]
        for t, v in zip(truth, value, strict=True)
    ]
    assert scores.anomaly_correlation(truth, value, usual) == pytest.approx(np.mean(each))
    assert scores.anomaly_correlation(truth, 2 * truth - usual + 1, usual) == pytest.approx(1)


def test_structural_similarity_is_scikit_images():
    truth = np.cumsum(noise(2, 30, 25), 1)
    value = truth + 0.3 * noise(2, 30, 25, seed=1)
    span = truth.max() - truth.min()
    expected = [
        structural_similarity(
            t, v, data_range=span, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for t, v in zip(truth, value, strict=True)
    ]
    assert scores.ssim(truth, value) == pytest.approx(np.mean(expected), rel=1e-6)
    with pytest.raises(OptionError, match="11 x 11"):
        scores.ssim(truth[:, :8], value[:, :8])


@pytest.mark.parametrize("waves", [1, 4, 10])
def test_the_spectrum_of_a_wave_is_at_its_number(waves):
    columns = 2 * np.pi * np.arange(40) / 40
    field = np.broadcast_to(np.cos(waves * columns), (1, 40, 40))
    spectrum = field_spectra.radial_spectrum(field, wrap=True)
    assert spectrum.argmax() + 1 == waves
    assert spectrum[waves - 1 : waves + 1].sum() > 0.8 * spectrum.sum()


def test_a_ratio_of_spectra_is_that_of_the_squares():
    truth = noise(3, 32, 32)
    ratios, high = field_spectra.spectrum_ratio(truth, 0.5 * truth, 4)
    np.testing.assert_allclose(ratios, 0.25)
    assert high == pytest.approx(0.25)
    smooth = np.repeat(np.repeat(noise(3, 8, 8), 4, 1), 4, 2)
    assert field_spectra.spectrum_ratio(truth, smooth * 0.01, 4)[1] < 1e-3


def test_edges_that_are_never_known_do_not_count_in_spectra():
    inside = noise(3, 12, 16)
    values = np.pad(inside, ((0, 0), (2, 3), (5, 1)), constant_values=np.nan)
    found = field_spectra.radial_spectrum(values, wrap=True)  # of which the columns are no circle
    np.testing.assert_allclose(found, field_spectra.radial_spectrum(inside))
    ratios, high = field_spectra.spectrum_ratio(values, 2 * values, 2)
    assert len(ratios) == 6
    assert high == pytest.approx(4)
    assert np.isnan(scores.ssim(values[:, :12], values[:, :12]))  # each window has a gap


def test_fields_that_are_the_same_everywhere_have_rows_that_json_takes():
    truth = np.ones((8, 12, 16))
    values = {"same": truth, "other": truth + noise(8, 12, 16)}
    coarse = truth[:, ::4, ::4]
    compared = FieldComparison(truth, values, areas=None, coarse=coarse, factor=(4, 4))
    for row in compared.rows():
        json.dumps(row.to_json(), allow_nan=False)
        assert row.to_json()["conservation_error"] is None
    assert math.isnan(compared.gain("other", over="same")[0])  # of an error beside none
    assert compared.gain("same", over="same")[0] == 0


def test_quantile_errors_are_those_of_each_cell():
    truth, value = noise(200, 3, 4), 2 * noise(200, 3, 4, seed=1)
    expected = np.abs(np.quantile(value, 0.9, 0) - np.quantile(truth, 0.9, 0)).mean()
    assert scores.quantile_error(truth, value, 0.9) == pytest.approx(expected)
    truth[:, 0, 0] = np.nan
    assert scores.quantile_error(truth, truth, 0.9) == 0
    with pytest.raises(OptionError, match="level"):
        scores.quantile_error(truth, value, 1.0)


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.15])
def test_return_values_are_the_quantiles_of_the_distribution(shape):
    maxima = stats.genextreme.rvs(shape, loc=30, scale=5, size=(40_000, 2), random_state=1)
    found = scores.return_values(maxima, 50)
    assert found == pytest.approx(stats.genextreme.ppf(1 - 1 / 50, shape, 30, 5), rel=0.01)
    with pytest.raises(OptionError, match="5 years or more"):
        scores.return_values(maxima[:3], 50)


def test_conservation_is_measured_block_by_block():
    fine = noise(3, 8, 8)
    coarse = fine.reshape(3, 4, 2, 4, 2).mean((2, 4))
    assert scores.conservation_error(fine, coarse, (2, 2)) < 1e-12
    coarse[1, 2, 2] += 0.5
    assert scores.conservation_error(fine, coarse, (2, 2)) == pytest.approx(0.5 / coarse.std())
    areas = np.linspace(0.1, 1, 8)
    weighted = np.average(
        fine.reshape(3, 4, 2, 4, 2), 2, np.ones((3, 4, 2, 4, 2)) * areas.reshape(4, 2, 1, 1)
    )
    assert scores.conservation_error(fine, weighted.mean(-1), (2, 2), areas) < 1e-12


@given(mean=st.floats(-5, 5), spread=st.floats(0.01, 10), truth=st.floats(-20, 20))
def test_crps_of_normals_is_scoringrules(mean, spread, truth):
    y, m, s = (np.full((1, 1, 1), number) for number in (truth, mean, spread))
    expected = float(scoringrules.crps_normal(truth, mean, spread))
    assert distributions.crps_normal(y, m, s) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_crps_of_members_and_of_quantiles_is_scoringrules():
    truth, members = noise(4, 3, 5), noise(9, 4, 3, 5, seed=1)
    expected = scoringrules.crps_ensemble(truth, np.moveaxis(members, 0, -1)).mean()
    assert distributions.crps_members(truth, members) == pytest.approx(expected)
    levels = np.arange(1, 10) / 10
    ordered = np.sort(members, 0)
    each = scoringrules.crps_quantile(truth, np.moveaxis(ordered, 0, -1), levels)
    found = distributions.crps_quantiles(truth, ordered, levels.tolist())
    assert found == pytest.approx(np.mean(each))
    assert distributions.crps_members(truth, truth[None] + 0.5) == pytest.approx(0.5)
    with pytest.raises(OptionError, match="one a quantile"):
        distributions.crps_quantiles(truth, ordered, [0.5])


def test_ranks_are_flat_where_the_truth_is_one_of_the_members():
    everyone = noise(10, 50, 20, 20)
    flat = distributions.rank_histogram(everyone[0], everyone[1:])
    assert flat == pytest.approx(np.full(10, 0.1), abs=0.01)
    low = distributions.rank_histogram(everyone[0] - 9, everyone[1:])
    assert low[0] > 0.99
    tied = distributions.rank_histogram(np.zeros((30, 20, 20)), np.zeros((3, 30, 20, 20)))
    assert tied == pytest.approx(np.full(4, 0.25), abs=0.02)
    levels = [0.1, 0.5, 0.9]
    quantiles = np.stack([np.full((50, 20, 20), stats.norm.ppf(level)) for level in levels])
    found = distributions.rank_histogram(everyone[0], quantiles)
    assert found == pytest.approx([0.1, 0.4, 0.4, 0.1], abs=0.01)


def test_blocks_of_times_widen_the_interval_of_what_lasts():
    lasting = np.repeat(noise(20), 12)
    plain = bootstrap(lambda ids: lasting[ids].mean(), 240)
    blocks = block_bootstrap(lambda ids: lasting[ids].mean(), 240, block=12)
    assert blocks.high - blocks.low > 2 * (plain.high - plain.low)
    single = noise(400)
    ends = block_bootstrap(lambda ids: single[ids].mean(), 400, block=1)
    half = 1.96 * single.std() / 20
    assert ends.high - ends.low == pytest.approx(2 * half, rel=0.15)
    with pytest.raises(OptionError, match="block"):
        block_bootstrap(lambda ids: 0.0, 5, block=6)


def test_methods_stand_beside_each_other_with_intervals_and_groups():
    truth = np.cumsum(noise(36, 12, 24), 2)
    better, worse = truth + 0.1 * noise(36, 12, 24, seed=1), truth + 0.3 * noise(36, 12, 24, seed=2)
    coarse = truth.reshape(36, 3, 4, 6, 4).mean((2, 4))
    comparison = FieldComparison(
        truth,
        {"better": better, "worse": worse},
        areas=np.ones(12),
        coarse=coarse,
        factor=(4, 4),
        climatology=np.zeros_like(truth),
        block=6,
    )
    months = np.arange(36) % 12 + 1
    groups = {**season_groups(months), **band_groups(np.linspace(-80, 80, 12), 24)}
    rows = {(row.method, row.group): row for row in comparison.rows(groups)}
    assert len(rows) == 2 * (1 + 4 + 3)
    row = rows["better", "all"]
    assert row.rmse == pytest.approx(0.1, rel=0.05)
    assert row.rmse_interval.low < row.rmse < row.rmse_interval.high
    assert rows["worse", "all"].conservation_error > row.conservation_error > 0
    assert rows["better", "JJA"].n == 9
    tropics = np.abs(np.linspace(-80, 80, 12)) < 30
    expected = math.sqrt(np.square(better - truth)[:, tropics].mean())
    assert rows["better", "tropics"].rmse == pytest.approx(expected)
    cut = FieldComparison(
        truth[:, tropics], {"better": better[:, tropics]}, None, climatology=0 * truth[:, tropics]
    ).rows()[0]
    assert rows["better", "tropics"].anomaly_correlation == pytest.approx(cut.anomaly_correlation)
    assert row.to_json()["rmse"] == row.rmse
    assert rows["better", "tropics"].to_json()["ssim"] is None
    holes = truth.copy()
    holes[3], holes[7, :6] = np.nan, np.nan
    known = ~np.isnan(holes)
    part = FieldComparison(holes, {"better": better}, None, block=6).rows()[0]
    assert part.rmse == pytest.approx(math.sqrt(np.square(better - truth)[known].mean()))
    kept = np.where(known, truth, np.nan).reshape(36, 3, 4, 6, 4)
    sums, counts = np.nansum(kept, (2, 4)), (~np.isnan(kept)).sum((2, 4))
    own = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    for method in ({"network": truth}, {"network": np.where(known, truth, 1e3)}):
        row = FieldComparison(holes, method, None, coarse=own, factor=(4, 4), block=6).rows()[0]
        assert row.conservation_error < 1e-12
        assert row.high_waves == pytest.approx(1)
    share, interval = comparison.gain("better", "worse")
    assert interval.low < share < interval.high
    assert share == pytest.approx(2 / 3, abs=0.05)
    with pytest.raises(DataError, match="must have the truth's shape"):
        FieldComparison(truth, {"odd": truth[:2]}, None)


def test_levels_at_unequal_distances_count_by_what_lies_between():
    truth = noise(200, 20, 20)
    dense = [0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98, 0.99]
    for levels in ([0.05, 0.25, 0.5, 0.75, 0.95], dense):
        given = np.stack([np.full(truth.shape, stats.norm.ppf(level)) for level in levels])
        found = distributions.crps_quantiles(truth, given, levels)
        expected = float(scoringrules.crps_normal(truth, 0.0, 1.0).mean())
        assert found == pytest.approx(expected, rel=0.03)
    assert distributions.level_weights([0.2, 0.4, 0.6, 0.8]) == pytest.approx([0.25] * 4)


def test_blocks_of_intervals_are_a_year_of_months_and_a_month_of_days():
    months = np.arange("1990-01", "1995-01", dtype="datetime64[M]").astype("datetime64[ns]")
    days = np.arange("1990-01-01", "1991-01-01", dtype="datetime64[D]")
    hours = np.arange("1990-01-01", "1990-02-01", dtype="datetime64[6h]")
    years = np.arange("1900", "1990", dtype="datetime64[Y]")
    found = [block_of(times) for times in (months, days, hours, years, np.arange(9))]
    assert found == [12, 30, 120, 10, 12]
    cftime = pytest.importorskip("cftime")
    model = np.array([cftime.Datetime360Day(2000, 1 + k, 16) for k in range(12)])
    assert block_of(model) == 12


def test_return_errors_are_those_of_what_is_reached_once_in_ten_years():
    years = np.repeat(np.arange(1950, 1990), 12)
    truth, value = noise(480, 2, 3), 1.5 * noise(480, 2, 3, seed=1)
    truth[:, 0, 1] = np.nan
    tops = [x.reshape(40, 12, 2, 3).max(1) for x in (value, truth)]
    expected = np.abs(scores.return_values(tops[0], 10) - scores.return_values(tops[1], 10))
    expected[0, 1] = np.nan
    found = scores.return_error(truth, value, years)
    assert found == pytest.approx(np.nanmean(expected))
    assert scores.return_error(truth, truth, years) == 0
    assert math.isnan(scores.return_error(truth[:60], value[:60], years[:60]))  # of five years
