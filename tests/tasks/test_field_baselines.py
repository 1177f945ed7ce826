"""Methods without training: their formulas, and fields with gaps."""

import dataclasses

import numpy as np
import pytest
import torch

from convarium import data, tasks
from convarium.data.grids.fitting import climatology_of
from convarium.data.grids.pairs import FieldPairs
from convarium.data.grids.quantile_maps import fit_quantile_maps
from convarium.data.grids.signs import never_negative
from convarium.layers import block_mean
from convarium.tasks.field_scores import rmse

INTERPOLATED = ("nearest", "bilinear", "bicubic")


def seas(count=36):
    """Warm water of each month with a fine pattern, and land without values."""
    grid = data.Grid(np.linspace(-55, 55, 12), np.arange(16) * 2.0)
    generator = np.random.default_rng(0)
    months = np.arange(count) % 12 + 1
    pattern = 285 + 3 * generator.normal(size=(13, *grid.shape))
    values = pattern[months] + 0.1 * generator.normal(size=(count, *grid.shape))
    values[:, :5, :6] = np.nan
    return data.fields_of_arrays({"sst": values.astype("f4")}, grid, months=months)


def test_gaps_do_not_spoil_their_neighbours():
    fields = seas()
    pairs = data.perfect_pairs(fields, 4, ["sst"], weighted=True)
    train, test = np.arange(24), np.arange(24, 36)
    climatology = data.fit_climatology(
        pairs.read(train)[1], fields.months[train], (4, 4), pairs.areas
    )
    found = tasks.baseline_fields(pairs, test, climatology)
    truth = pairs.read(test)[1]
    assert np.isnan(truth).any()
    errors = {name: rmse(truth, value) for name, value in found.items()}
    assert all(np.isfinite(value).all() for value in found.values())
    assert max(errors.values()) < 5
    assert errors["delta + constraint"] < errors["delta"] + 1e-3 < 0.5
    batch = pairs.batch(test)
    for name in ("bilinear + constraint", "delta + constraint"):
        means = block_mean(torch.from_numpy(found[name]), (4, 4), batch.weights)
        known = batch.mask.unsqueeze(1)
        torch.testing.assert_close(means[known], batch.x[known])


def test_without_a_climatology_there_is_no_delta_method():
    pairs = data.perfect_pairs(seas().cut(rows=slice(8, 12)), 2, ["sst"])
    found = tasks.baseline_fields(pairs, np.arange(3))
    assert list(found) == [*INTERPOLATED, "bilinear + constraint", "bicubic + constraint"]
    x = pairs.batch(np.arange(3)).x.numpy()
    np.testing.assert_array_equal(found["nearest"], x.repeat(2, -2).repeat(2, -1))
    assert found["bilinear"] == pytest.approx(found["bicubic"], abs=10)


def test_the_ratio_is_exact_where_fields_are_a_pattern_times_a_number():
    random = np.random.default_rng(1)
    pattern, size = random.gamma(0.5, size=(12, 16)), random.gamma(2.0, size=(30, 1, 1))
    pattern[:4, :8] = 0
    values = {"pr": (pattern * size).astype("f4")}
    grid = seas().grid.cut(rows=slice(0, 12), columns=slice(0, 16))
    fields = data.fields_of_arrays(values, grid, units={"pr": "mm/day"})
    pairs = data.perfect_pairs(fields, 4, ["pr"])
    train, test = np.arange(20), np.arange(20, 30)
    climatology = data.fit_climatology(pairs.read(train)[1], fields.months[train], (4, 4))
    found = tasks.baseline_fields(pairs, test, climatology)
    truth = pairs.read(test)[1]
    np.testing.assert_allclose(found["ratio scaled"], truth, rtol=1e-4, atol=1e-5)
    assert rmse(truth, found["delta + constraint"]) > 0.05
    assert found["delta + constraint"].min() < 0 <= found["bilinear scaled"].min()


def test_a_desert_does_not_spoil_its_neighbours():
    """A shower where it never rains, beside cells that are what they always are; and a gap."""
    pattern = np.random.default_rng(1).gamma(2.0, size=(2, 12, 16)).astype("f4")
    pattern[:, :4, :4] = 1e-6
    pattern[1, 4:8, 4:8] = np.nan
    climatology = data.fit_climatology(pattern[None], np.zeros(1, np.int64), (4, 4))
    x = climatology.coarse.copy()
    x[0, :, 0, 0] = 1
    found = climatology.ratio(x, np.zeros(1, np.int64))[0]
    known = ~np.isnan(pattern)
    np.testing.assert_allclose(found[known], pattern[known], rtol=1e-5)
    x[0, 0, 2, 3] *= 1000  # an event
    found = climatology.ratio(x, np.zeros(1, np.int64))[0]
    assert 5 < (found[0] / pattern[0]).max() < 10.01
    np.testing.assert_allclose(found[1][known[1]], pattern[1][known[1]], rtol=1e-5)


@pytest.mark.parametrize(
    ("unit", "zeros", "least", "expected"),
    [
        ("mm/day", 0.0, 0.01, True),
        ("kg m**-2 s**-1", 0.0, -1e-9, True),
        ("kg m-2 s-1", 0.5, -0.5, False),  # evaporation, and dew
        ("1", 0.5, 0.0, True),
        ("mm/day", 0.5, -1e-3, True),  # which regridding left, far below a deviation
        ("mm/day", 0.5, -0.1, False),
        ("1", 0.0, 0.01, False),
        ("K", 0.0, 200.0, False),
    ],
)
def test_what_is_never_below_0(unit, zeros, least, expected):
    random = np.random.default_rng(0)
    values = least + random.gamma(0.5, 2.0, size=(20, 8, 8))
    values[random.random(values.shape) < zeros] = 0
    values[3, 0, 0] = least
    grid = seas().grid.cut(rows=slice(0, 8), columns=slice(0, 8))
    fields = data.fields_of_arrays({"pr": values.astype("f4")}, grid, units={"pr": unit})
    assert never_negative(data.perfect_pairs(fields, 4, ["pr"])) is expected


def a_model(fine, wrong, unit, train):
    """Pairs of fine fields (n, H, W) and a model's, which are their block means gone wrong."""
    grid = seas().grid.cut(rows=slice(0, 12), columns=slice(0, 16))
    means = wrong(fine.reshape(-1, 3, 4, 4, 4).mean((2, 4)))
    observed, model = (
        data.fields_of_arrays({"t": values.astype("f4")}, own, units={"t": unit})
        for values, own in ((fine, grid), (means, grid.coarse((4, 4))))
    )
    pairs = FieldPairs(observed, (4, 4), ("t",), coarse=model)
    x, y = pairs.read(train)
    found = data.fit_climatology(y, observed.months[train], (4, 4))
    climatology = dataclasses.replace(found, coarse=x.mean(0, keepdims=True))
    return dataclasses.replace(pairs, climatology=climatology), climatology


@pytest.mark.parametrize("unit", ["K", "mm/day"])
def test_quantile_mapping_undoes_what_a_model_does_to_the_distribution(unit):
    """A wrong size of anomalies, and what bends the distribution."""
    random = np.random.default_rng(5)
    pattern, state = random.gamma(1.0, size=(12, 16)), random.gamma(2.0, size=(300, 1, 1))
    fine = 280 + 5 * pattern - 4 * state if unit == "K" else pattern * state
    train, test = np.arange(200), np.arange(200, 300)
    inside = np.argsort(state[test, 0, 0])[10:90]  # between the ends of the training
    ours, theirs = "quantile mapping + constraint", "delta + constraint"
    if unit == "mm/day":
        ours, theirs = "quantile mapping scaled", "ratio scaled"
    for wrong in (lambda x: 3 * x + 7, lambda x: x**1.5):
        pairs, climatology = a_model(fine, wrong, unit, train)
        (x, truth), months = pairs.read(test), pairs.fine.months[test]
        bounded = unit != "K"
        maps = fit_quantile_maps(pairs, train, climatology, bounded=bounded)
        own = maps.corrected(x, months)
        means = truth.reshape(-1, 1, 3, 4, 4, 4).mean((3, 5))
        size = 0.05 * means.std(0)
        np.testing.assert_array_less(np.abs(own - means)[inside] - size, 0.05 * means.std())
        found = tasks.baseline_fields(pairs, test, climatology, train=train)
        assert rmse(truth, found[ours]) < 0.3 * rmse(truth, found[theirs])
        assert unit == "K" or found[ours].min() >= 0
    assert ours not in tasks.baseline_fields(pairs, test, climatology)


def rain(dry, random, count=60):
    """Coarse rain (n, 3, 4) of which so much is 0, of ranks that fields of the same seed share."""
    ranks = random.permuted(np.tile(np.arange(count)[:, None, None] / count, (1, 3, 4)), axis=0)
    return np.maximum(ranks - dry, 0) ** 2 * 20


@pytest.mark.parametrize(("dry", "observed"), [(0.2, 0.6), (0.6, 0.3), (0.5, 0.5)])
def test_mapped_rain_has_the_mean_of_what_was_observed(dry, observed):
    """And is as dry, but where the model is too dry for it; in each month by itself."""
    months = np.arange(60) % 2 + 1
    parts = [[], []]
    for k in range(2):  # the second month is wetter in what is observed
        for own, share in zip(parts, (observed, dry), strict=True):
            own.append((1 + 3 * k) * rain(share, np.random.default_rng(k), 30))
    means, model = (np.stack(own, 1).reshape(60, 3, 4).astype("f4") for own in parts)
    pairs = rainy_pairs(np.kron(means, np.ones((4, 4), "f4")), 2 * model + 0 * means, months)
    ids = np.arange(60)
    climatology = climatology_of(pairs, ids)
    x = pairs.read(ids)[0]
    found = fit_quantile_maps(pairs, ids, climatology, bounded=True).corrected(x, months)[:, 0]
    for month in (1, 2):
        own, wanted = found[months == month], means[months == month]
        np.testing.assert_allclose(own.mean(0), wanted.mean(0), rtol=1e-4)
        if dry <= observed:
            np.testing.assert_allclose(np.sort(own, 0), np.sort(wanted, 0), atol=1e-4)
    fields = tasks.baseline_fields(pairs, ids, climatology, train=ids)
    assert fields["quantile mapping scaled"].min() >= 0


def rainy_pairs(fine, model, months):
    """Pairs of fine rain and a model's, in mm/day."""
    grid = seas().grid.cut(rows=slice(0, 12), columns=slice(0, 16))
    both = ((model, grid.coarse((4, 4))), (fine, grid))
    own, observed = (
        data.fields_of_arrays({"pr": v}, g, months=months, units={"pr": "mm/day"}) for v, g in both
    )
    return data.model_pairs(own, observed, ["pr"])


def test_coasts_are_mapped_by_the_cells_that_are_known():
    """A block with few known cells, and one with none, of a model that knows all of them."""
    random = np.random.default_rng(4)
    fine = 280 + 5 * random.normal(size=(40, 12, 16)).astype("f4")
    train, test = np.arange(30), np.arange(30, 40)
    fine[:, 4:8, 4:8] = np.where(np.arange(16).reshape(4, 4) < 7, fine[:, 4:8, 4:8], np.nan)
    fine[:, :4, :4] = np.nan
    pairs, _ = a_model(np.nan_to_num(fine, nan=280), lambda x: x + 3, "K", train)
    pairs.fine.source["t"][:] = fine
    climatology = climatology_of(pairs, train)
    pairs = dataclasses.replace(pairs, climatology=climatology)
    found = tasks.baseline_fields(pairs, test, climatology, train=train)
    truth = pairs.read(test)[1]
    for name in ("quantile mapping", "quantile mapping + constraint"):
        assert rmse(truth, found[name]) < 8
        assert np.abs(found[name] - 280).max() < 40
