"""Which fields a network of fields uses: what it cannot see counts for nothing."""

import numpy as np
import pytest
import torch

from convarium import data, explain
from convarium.data import Dataset, GridOptions, Part
from convarium.data.grids.fields import fields_of_arrays
from convarium.data.grids.grid import Grid
from convarium.data.grids.pairs import perfect_pairs
from convarium.data.grids.samples import GridSamples
from convarium.errors import DataError
from convarium.explain import permuted_fields
from convarium.models import create


def fields_at(latitude):
    """Two variables, of which u is made finer, at some latitudes."""
    random = np.random.default_rng(0)
    grid, shape = Grid(latitude, np.arange(12.0)), (24, len(latitude), 12)
    source = {name: random.normal(size=shape).astype("f4") for name in "uv"}
    fields = fields_of_arrays(source, grid, months=np.arange(24) % 12 + 1)
    samples = GridSamples(perfect_pairs(fields, 2, ["u"], weighted=True))
    facts = {"task": "downscale", "classes": ["u"], "targets": samples.told[1]}
    return Dataset(samples, source="made", mirrored=False, **facts)


@pytest.fixture(scope="module")
def made():
    """A data set of two variables, its steps, and a network."""
    dataset = fields_at(np.arange(8.0))
    options = GridOptions(start="coarse")
    steps = data.fit_preprocessing(data.split(dataset).train, grids=options)
    network = create("espcn", constraint="additive", **steps.network_options)
    steps.begin(network)
    return dataset, steps, network


def first_convolution(network):
    """The layer that reads the fields."""
    return next(m for m in network.modules() if isinstance(m, torch.nn.Conv2d))


def test_what_is_not_read_counts_for_nothing(made):
    dataset, steps, network = made
    with torch.no_grad():
        first_convolution(network).weight[:, 1] = 0  # v
    found = {each.name: each for each in explain.field_importance(network, dataset, steps)}
    assert set(found) == {"u", "v", "season"}
    assert found["v"].rmse == pytest.approx(found["v"].plain, rel=1e-6)
    assert found["v"].gain == pytest.approx(0, abs=1e-6)
    assert np.abs(found["v"].cells).max() < 1e-6
    assert found["u"].rmse > 1.2 * found["u"].plain
    assert found["u"].cells.shape == (8, 12)
    again = {each.name: each.rmse for each in explain.field_importance(network, dataset, steps)}
    assert again == {name: each.rmse for name, each in found.items()}


def test_one_time_cannot_be_permuted(made):
    dataset, steps, network = made
    with pytest.raises(DataError, match="two times"):
        explain.field_importance(network, Part(dataset, np.array([3])), steps)


def test_modes_are_as_before(made):
    dataset, steps, network = made
    network.train()
    first_convolution(network).eval()
    before = [module.training for module in network.modules()]
    explain.field_importance(network, dataset, steps)
    assert [module.training for module in network.modules()] == before


def test_no_error_at_all_is_said_without_a_ratio():
    none = explain.FieldImportance("u", 0.5, 0.0, np.zeros((2, 2)))
    assert none.sentence() == "u: without it the error is 0.5, and none with it"


def test_fields_come_from_the_same_month_and_the_season_from_another():
    months = np.array([1, 2, 3, 1, 2, 3, 1, 2, 3, 7])
    order = permuted_fields._moved(months, 0).numpy()
    np.testing.assert_array_equal(months[order][:9], months[:9])
    assert (order != np.arange(10)).all()
    apart = permuted_fields._moved(np.zeros(10, np.int64), 0).numpy()
    assert sorted(apart) == list(range(10))
    assert (months[apart] != months).any()


@pytest.mark.parametrize("latitude", [np.arange(8.0), np.arange(30.0, 86, 4)])
def test_errors_are_in_the_deviations_of_the_field_itself(made, latitude):
    """Whatever the residual's deviation is, which the network keeps; and by area, anywhere."""
    _, steps, network = made
    dataset = fields_at(latitude)
    plain = explain.field_importance(network, dataset, steps)[0].plain
    pairs = dataset.samples.pairs
    batch = steps.pairs_of(pairs).batch(np.arange(24))
    with torch.no_grad():
        apart = network(batch.x, batch.mask, batch.fine, batch.weights) - batch.y
    std = steps.statistics["targets"][1][0]
    assert std != pytest.approx(float(network.writer.std), rel=1e-3)
    assert steps.weighted
    rows = np.sin(np.deg2rad(latitude + np.diff(latitude)[0] / 2 * np.array([[-1], [1]])))
    squares = np.square(apart.numpy()[:, 0]).mean((0, 2))
    mean = np.average(squares, weights=rows[1] - rows[0])
    assert plain == pytest.approx(np.sqrt(mean) / std, rel=1e-5)
