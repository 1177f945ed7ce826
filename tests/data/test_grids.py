"""Grids in memory: cells and areas, block means, blocks of time, climatologies, pairs."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convarium.data.grids.climatology import fit_climatology
from convarium.data.grids.coarsening import coarsen
from convarium.data.grids.dividing import split_times
from convarium.data.grids.fields import fields_of_arrays
from convarium.data.grids.grid import Grid
from convarium.data.grids.matching import match_fields, match_times
from convarium.data.grids.pairs import model_pairs, perfect_pairs
from convarium.data.grids.static import static_fields
from convarium.errors import DataError, OptionError
from convarium.layers import block_mean
from convarium.models import create


def globe(rows=12, columns=24):
    """A grid of the whole globe, from south to north."""
    lat = -90 + 180 * (np.arange(rows) + 0.5) / rows
    return Grid(lat, 360 * (np.arange(columns) + 0.5) / columns)


def made(count=36, grid=None, seed=0, names=("u", "v")):
    """Fields with a pattern of each month, and noise."""
    grid = grid or globe()
    generator = np.random.default_rng(seed)
    months = np.arange(count) % 12 + 1
    patterns = generator.normal(size=(13, *grid.shape))
    source = {
        name: (patterns[months] + 0.1 * generator.normal(size=(count, *grid.shape))).astype("f4")
        for name in names
    }
    return fields_of_arrays(source, grid, months=months, units=dict.fromkeys(names, "m/s"))


def test_areas_are_those_of_zones_of_a_sphere():
    grid = globe()
    assert grid.wraps
    assert grid.areas.mean() == pytest.approx(1)
    radians = np.deg2rad(grid.latitude)
    np.testing.assert_allclose(grid.areas / np.cos(radians), (grid.areas / np.cos(radians))[0])
    with_poles = Grid(np.linspace(-90, 90, 73), np.arange(0, 360, 2.5))
    assert with_poles.areas[0] == pytest.approx(with_poles.areas[1] * 0.125, rel=0.01)
    turned = Grid(grid.latitude[::-1], grid.longitude)
    np.testing.assert_allclose(turned.areas, grid.areas[::-1])


@pytest.mark.parametrize(
    ("lat", "lon", "words"),
    [
        ([0.0, 1.0, 3.0], [0.0, 1.0], "latitude has steps from 1 to 2; bring the fields"),
        ([0.0, np.nan], [0.0, 1.0], "latitude must be numbers"),
        ([0.0, 1.0], [[0.0, 1.0]], "longitude must be numbers along one axis"),
    ],
)
def test_uneven_grids_are_refused(lat, lon, words):
    with pytest.raises(DataError, match=words):
        Grid(np.array(lat), np.array(lon))


@settings(max_examples=30)
@given(r=st.integers(1, 4), s=st.integers(1, 4), seed=st.integers(0, 99), weighted=st.booleans())
def test_block_means_are_those_of_the_networks_constraint(r, s, seed, weighted):
    values = np.random.default_rng(seed).normal(size=(2, 3, 3 * r, 2 * s)).astype("f4")
    areas = globe(3 * r).areas if weighted else None
    weights = None if areas is None else torch.from_numpy(areas).view(-1, 1)
    expected = block_mean(torch.from_numpy(values).double(), (r, s), weights)
    np.testing.assert_allclose(
        coarsen(values, (r, s), areas), expected.numpy(), rtol=1e-5, atol=1e-6
    )


def test_missing_cells_do_not_count_and_empty_blocks_are_missing():
    values = np.array([[1.0, 3.0, np.nan, np.nan], [np.nan, 2.0, np.nan, 5.0]])
    found = coarsen(values, (2, 2))
    assert found[0, 0] == 2
    assert np.isnan(found[0, 1])
    assert coarsen(values, (2, 2), least_known=0.25)[0, 1] == 5
    with pytest.raises(DataError, match="cut it to 2 x 3 cells"):
        coarsen(values, (2, 3))
    with pytest.raises(OptionError, match="least_known"):
        coarsen(values, (2, 2), least_known=0)


@given(
    count=st.integers(1, 60),
    sizes=st.tuples(st.integers(1, 30), st.integers(0, 15), st.integers(0, 15)),
    gap=st.integers(0, 4),
)
def test_parts_are_stretches_of_time_with_gaps(count, sizes, gap):
    first, second, last = sizes
    needed = sum(sizes) + gap * ((second > 0) + (last > 0))
    if needed > count:
        with pytest.raises(OptionError, match="need"):
            split_times(count, train=first, validation=second, test=last, gap=gap)
        return
    parts = split_times(count, train=first, validation=second, test=last, gap=gap)
    assert tuple(map(len, parts)) == sizes
    assert parts.train[0] == 0
    for part in parts:
        assert (np.diff(part) == 1).all()
    ends = [(a[-1], b[0]) for a, b in pairwise(parts) if len(a) and len(b)]
    assert all(b - a > gap for a, b in ends)
    assert not last or parts.test[-1] == count - 1


def test_shares_of_times_and_odd_sizes():
    assert [len(part) for part in split_times(132)] == [92, 19, 19]
    with pytest.raises(OptionError, match=r"train \(=1.5\)"):
        split_times(10, train=1.5)


def test_a_climatology_is_the_mean_of_each_month():
    fields = made()
    values = fields.read(range(24))
    climatology = fit_climatology(values, fields.months[:24], (4, 4), fields.grid.areas)
    fine, coarse = climatology.of(np.array([3, 1, 3]))
    np.testing.assert_allclose(fine[0], (values[2] + values[14]) / 2, rtol=1e-6)
    np.testing.assert_array_equal(fine[0], fine[2])
    np.testing.assert_allclose(coarse, coarsen(fine, (4, 4), fields.grid.areas))
    with pytest.raises(DataError, match="no month 7"):
        fit_climatology(values[:3], fields.months[:3], (4, 4)).of(np.array([7]))
    with pytest.raises(DataError, match="there is none"):
        fit_climatology(values[:0], fields.months[:0], (4, 4))


def test_the_delta_method_is_exact_where_the_pattern_stays():
    fields = made()
    values, months = fields.read(range(36)), fields.months
    climatology = fit_climatology(values, months, (4, 4))
    later = climatology.of(months)[0] + 2.5
    found = climatology.delta(coarsen(later, (4, 4)), months)
    np.testing.assert_allclose(found, later, atol=1e-5)


def test_pairs_are_what_a_network_reads_and_gives():
    fields = made()
    areas = fields.grid.areas
    climatology = fit_climatology(
        fields.only(["v"]).read(range(24)), fields.months[:24], (4, 2), areas
    )
    static = np.random.default_rng(1).normal(size=(1, 12, 24)).astype("f4")
    pairs = perfect_pairs(
        fields, (4, 2), ["v"], static=static, season=True, climatology=climatology, weighted=True
    )
    batch = pairs.batch([30, 3])
    assert pairs.network_options == {
        "in_channels": 4,
        "out_channels": 1,
        "factor": [4, 2],
        "fine_channels": 2,
        "start": "fine",
        "masked": False,
        "wrap": True,
    }
    assert batch.x.shape == (2, 4, 3, 12)
    np.testing.assert_array_equal(batch.y[:, 0], fields.read([30, 3])[:, 1])
    torch.testing.assert_close(block_mean(batch.y, (4, 2), batch.weights), batch.x[:, :1])
    torch.testing.assert_close(torch.hypot(*batch.x[0, 2:]), torch.ones(3, 12))
    assert torch.equal(batch.fine[0, 1], torch.from_numpy(static[0]))
    network = create("espcn", constraint="additive", **pairs.network_options)
    network.normalise_with(**pairs.statistics(np.arange(24)))
    y = network(batch.x, batch.mask, batch.fine, batch.weights)
    torch.testing.assert_close(
        block_mean(y, (4, 2), batch.weights), batch.x[:, :1], atol=1e-5, rtol=0
    )


def test_statistics_come_from_training_times_alone():
    fields = made()
    pairs = perfect_pairs(fields, 4, ["u"])
    train = np.arange(24)
    found = pairs.statistics(train)
    x, y = pairs.read(train)
    np.testing.assert_allclose(
        found["inputs"][0], x.mean((0, 2, 3), dtype="f8"), rtol=1e-4, atol=1e-7
    )
    np.testing.assert_allclose(found["inputs"][1], x.std((0, 2, 3), dtype="f8"), rtol=1e-6)
    np.testing.assert_allclose(found["targets"][1], y.std((0, 2, 3), dtype="f8"), rtol=1e-6)
    changed = {
        name: np.where(np.arange(36)[:, None, None] < 24, v, 1e6)
        for name, v in fields.source.items()
    }
    other = fields_of_arrays(changed, fields.grid, months=fields.months)
    assert perfect_pairs(other, 4, ["u"]).statistics(train) == found
    with pytest.raises(DataError, match="there is none"):
        pairs.statistics(train[:0])


def test_large_means_keep_their_deviations():
    fields = made()
    warm = {"u": fields.source["u"] + np.float32(1000)}
    found = perfect_pairs(fields_of_arrays(warm, fields.grid), 4, ["u"]).statistics(np.arange(36))
    assert found["targets"][1][0] == pytest.approx(warm["u"].std(dtype="f8"), rel=1e-6)


def test_missing_cells_become_a_mask_and_weights():
    fields = made(names=("u",))
    values = fields.source["u"].copy()
    values[:, :4, :4] = np.nan
    values[5, 8, 8] = np.nan
    pairs = perfect_pairs(fields_of_arrays({"u": values}, fields.grid), 4, ["u"])
    batch = pairs.batch([5])
    assert pairs.masked
    assert batch.mask.sum() == 17
    assert not batch.mask[0, 0, 0]
    assert batch.weights[0, 0, 8, 8] == 0
    assert batch.x.isfinite().all()
    network = create("espcn", constraint="additive", **pairs.network_options)
    y = network(batch.x, batch.mask, batch.fine, batch.weights)
    means = block_mean(y, (4, 4), batch.weights)[0, 0]
    torch.testing.assert_close(means[batch.mask[0]], batch.x[0, 0][batch.mask[0]])


def test_a_model_and_observations_meet_on_common_cells_and_times():
    fine = made(36)
    whole = coarsen(fine.read(range(36)), (4, 4))
    grid = fine.grid.coarse((4, 4))
    turned = Grid(grid.latitude[::-1], grid.longitude)
    times = np.arange("2001-01", "2004-01", dtype="datetime64[M]")
    dated = fields_of_arrays(
        fine.source, fine.grid, times=times, months=fine.months, units=fine.units
    )
    model = fields_of_arrays(
        {name: whole[6:30, i, ::-1] for i, name in enumerate(("u", "v"))},
        turned,
        times=times[6:30].astype("datetime64[D]") + 14,
        units=fine.units,
    )
    part = model.cut(columns=slice(1, 4))
    pairs = model_pairs(part, dated, ["v"])
    x, y = pairs.read([0, 5])
    assert (len(pairs), pairs.factor, pairs.wrap) == (24, (4, 4), False)
    np.testing.assert_array_equal(y[:, 0], fine.read([6, 11])[:, 1, :, 4:16])
    np.testing.assert_array_equal(x, whole[[6, 11]][:, ::-1, :, 1:4])
    assert [len(ids) for ids in match_times(model, dated)] == [24, 24]


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        # stamps in the middle and at the fifteenth of each month
        (["2000-01-15", "2000-02-15", "2000-03-15"], ["2000-01-16", "2000-02-15"], [0, 1]),
        (["2000-01-01T00", "2000-01-01T12", "2000-01-02T00"], ["2000-01-01T12"], [1]),
        (["2000-01-01T06", "2000-01-02T06"], ["2000-01-02T12", "2000-01-03T12"], [1]),
        (["2000-07-01", "2001-07-01"], ["2001-12-31", "2002-12-31"], [1]),
    ],
)
def test_how_often_fields_come_says_which_times_are_the_same(ours, theirs, same):
    grid = Grid(np.arange(3.0), np.arange(3.0))
    fields = [
        fields_of_arrays(
            {"u": np.zeros((len(each), 3, 3))}, grid, times=np.array(each, "datetime64[h]")
        )
        for each in (theirs, ours)
    ]
    assert match_times(*fields)[1].tolist() == same
    twice = fields_of_arrays(
        {"u": np.zeros((2, 3, 3))}, grid, times=np.array(["2000-01-01"] * 2, "datetime64[h]")
    )
    with pytest.raises(DataError, match="there twice"):
        match_times(fields[0], twice)
    one, other = (
        fields_of_arrays({"u": np.zeros((1, 3, 3))}, grid, times=np.array([day], "datetime64[D]"))
        for day in ("2000-01-15", "2000-07-15")
    )
    with pytest.raises(DataError, match="no time in common"):
        match_times(one, other)


def test_what_does_not_fit_is_refused():
    fine = made(12)
    with pytest.raises(OptionError, match="must be among the variables u, v"):
        perfect_pairs(fine, 4, ["w"])
    with pytest.raises(DataError, match="has no block of 20 x 20"):
        perfect_pairs(fine, 20, ["u"])
    grid = fine.grid.coarse((4, 4))
    x = np.zeros((12, *grid.shape))
    kelvin = fields_of_arrays({"u": x}, grid, units={"u": "K"})
    with pytest.raises(DataError, match="u is in K in the coarse fields and in m/s"):
        model_pairs(kelvin, fine, ["u"])
    assert len(model_pairs(kelvin, fine, ["u"], units={"u": "m/s"})) == 12
    with pytest.raises(OptionError, match="variable of both"):
        model_pairs(kelvin, fine, ["v"])
    shifted = fields_of_arrays({"u": x}, Grid(grid.latitude + 5, grid.longitude))
    with pytest.raises(DataError, match="begin within fine ones in latitude"):
        match_fields(shifted, fine)
    odd = fields_of_arrays({"u": x}, Grid(grid.latitude, grid.longitude / 1.3))
    with pytest.raises(DataError, match="whole number of fine ones"):
        match_fields(odd, fine)
    part = Grid(grid.latitude, grid.longitude[3:5])
    far = fields_of_arrays({"u": x[:, :, :2]}, part)
    with pytest.raises(DataError, match="no longitude in common"):
        match_fields(far, fine.cut(columns=slice(0, 6)))
    late = fields_of_arrays({"u": x}, grid, times=np.arange(100, 112))
    with pytest.raises(DataError, match=r"\(100 to 111\) and the fine ones \(0 to 11\)"):
        match_times(late, fine)
    with pytest.raises(DataError, match="do not fit a grid"):
        fields_of_arrays({"u": x}, fine.grid)


def test_regions_are_cut_by_degrees():
    fields = made(3)
    tropics = fields.region(-30, 30, 90, 180)
    assert np.abs(tropics.grid.latitude).max() < 30
    assert tropics.read([0]).shape == (1, 2, *tropics.grid.shape)
    assert not tropics.grid.wraps
    with pytest.raises(DataError, match="No cell lies within 50 to 40 degrees north"):
        fields.region(50, 40, 0, 10)


def test_static_fields_are_means_by_area_whatever_the_first_longitude():
    fine, grid = globe(36, 72), globe(12, 24)
    relief = np.random.default_rng(0).normal(size=(1, 36, 72))
    source = fields_of_arrays({"rose": relief}, fine)
    expected = coarsen(relief, (3, 3), fine.areas)
    np.testing.assert_allclose(static_fields(source, grid), expected, rtol=1e-5, atol=1e-6)
    east = Grid(fine.latitude[::-1], np.sort((fine.longitude + 180) % 360 - 180))
    turned = fields_of_arrays({"rose": np.roll(relief, 36, -1)[:, ::-1]}, east)
    np.testing.assert_allclose(static_fields(turned, grid), expected, rtol=1e-5, atol=1e-6)
    part = source.region(-90, 90, 0, 180)
    with pytest.raises(DataError, match="rose is not known in 144 of the 288 cells"):
        static_fields(part, grid)
