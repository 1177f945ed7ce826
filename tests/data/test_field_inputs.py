"""What networks read of fields with gaps, and of a model with a bias."""

import numpy as np
import pytest
import torch

from convarium import models, tasks
from convarium.data.grids.climatology import fit_climatology
from convarium.data.grids.coarsening import coarsen
from convarium.data.grids.fields import fields_of_arrays
from convarium.data.grids.fitting import climatology_of
from convarium.data.grids.grid import Grid
from convarium.data.grids.pairs import model_pairs, perfect_pairs
from convarium.layers import block_mean

GRID = Grid(np.linspace(-55, 55, 12), np.arange(16) * 2.0)


def made(count=24, names=("t", "u"), seed=0):
    """Temperatures and winds of months, each with a pattern."""
    random = np.random.default_rng(seed)
    months = np.arange(count) % 12 + 1
    source = {name: (285 + random.normal(size=(13, 12, 16))[months]).astype("f4") for name in names}
    noise = {name: 0.1 * random.normal(size=(count, 12, 16)) for name in names}
    source = {name: (v + noise[name]).astype("f4") for name, v in source.items()}
    return fields_of_arrays(source, GRID, months=months, units=dict.fromkeys(names, "K"))


def test_a_predictor_with_gaps_leaves_the_others_known():
    fields = made()
    fields.source["u"][5, :4, :4] = np.nan  # one block of what is only read
    pairs = perfect_pairs(fields, 4, ["t"], season=True)
    batch = pairs.batch([5])
    assert batch.mask.shape == (1, 4, 3, 4)
    assert (~batch.mask).nonzero().tolist() == [[0, 1, 0, 0]]
    torch.manual_seed(0)
    network = models.create("espcn", constraint="additive", **pairs.network_options)
    network.normalise_with(**pairs.statistics(np.arange(24)))
    y = network(batch.x, batch.mask, batch.fine, batch.weights)
    torch.testing.assert_close(block_mean(y, (4, 4)), batch.x[:, :1])  # there too
    other = batch.x.clone()
    other[0, 1, 0, 0] = 1e9
    assert torch.equal(y, network(other, batch.mask, batch.fine, batch.weights))
    other[0, 0, 0, 0] += 1  # which is known and counts
    assert not torch.equal(y, network(other, batch.mask, batch.fine, batch.weights))
    penalty = tasks.soft_penalty(network, y, batch.x, mask=batch.mask)
    assert penalty.item() < 1e-8
    filled = tasks.baseline_fields(pairs, np.array([5]))["bilinear + constraint"]
    np.testing.assert_allclose(coarsen(filled, (4, 4)), batch.x[:, :1].numpy(), rtol=1e-5)


def test_cells_that_never_are_known_do_not_look_like_zeros():
    fields = made(names=("t",))
    fields.source["t"][:, :4, :8] = np.nan  # two whole blocks
    fields.source["t"][:, 5, 9] = np.nan
    values = fields.read(range(24))
    climatology = fit_climatology(values, fields.months, (4, 4))
    found = climatology.delta(coarsen(values, (4, 4)), fields.months)
    assert found.min() > 270
    known = np.nanmean(climatology.fine[3, 0])
    np.testing.assert_allclose(found[3, 0, :2, :2], known, atol=0.5)
    pairs = perfect_pairs(fields, 4, ["t"], climatology=climatology)
    mean, std = pairs.statistics(np.arange(24))["fine"]
    assert mean[0] == pytest.approx(285, abs=0.5)
    assert std[0] < 2


def test_places_are_fitted_to_fields_with_gaps():
    fields = made(60, names=("t",))
    random = np.random.default_rng(3)
    source = fields.source["t"] - 285 + random.normal(size=(60, 1, 1)).astype("f4")
    source[random.random(source.shape) < 0.2] = np.nan
    source[::3, 4:8, 4:8] = np.nan  # a block that is missing at a third of the times
    pairs = perfect_pairs(fields_of_arrays({"t": source}, GRID, months=fields.months), 4, ["t"])
    batch = pairs.batch(np.arange(60))
    assert not batch.mask.all()
    options = {"cells": [3, 4], "cell_features": 0, "cell_kernel": 3, "constraint": "additive"}
    torch.manual_seed(0)
    network = models.create("espcn", **pairs.network_options, **options)
    network.normalise_with(**pairs.statistics(np.arange(60)))

    def error():
        with torch.no_grad():
            y = network(batch.x, batch.mask, None, batch.weights)
        return tasks.field_loss(network, y, batch.y).item()

    before = error()
    given = {"mask": batch.mask, "weights": batch.weights, "penalty": 3.0}
    models.fit_places(network, batch.x, batch.y, **given)
    assert error() < 0.8 * before
    weight = network.places.local.weight.clone()
    other = torch.where(batch.mask.unsqueeze(1), batch.x, 1e6)
    models.fit_places(network, other, batch.y, **given)
    torch.testing.assert_close(weight, network.places.local.weight)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_models_bias_does_not_come_back_through_the_constraint(weighted):
    fine = made(36, names=("t",))
    areas = GRID.areas if weighted else None
    x = coarsen(fine.read(range(36)), (4, 4), areas)[:, 0]
    bias = 2 + np.random.default_rng(1).normal(size=(13, 3, 4))[fine.months]
    grid = GRID.coarse((4, 4))
    units = {"t": "K"}
    model = fields_of_arrays(
        {"t": (x + bias).astype("f4")}, grid, times=fine.times, months=fine.months, units=units
    )
    train, test = np.arange(24), np.arange(24, 36)
    plain = model_pairs(model, fine, ["t"], weighted=weighted)
    climatology = climatology_of(plain, train)
    pairs = model_pairs(model, fine, ["t"], weighted=weighted, climatology=climatology)
    np.testing.assert_allclose(pairs.conserved(test)[:, 0], x[24:], atol=2e-3)
    np.testing.assert_allclose(pairs.batch(test).x[:, 0], x[24:], atol=2e-3)
    truth = pairs.read(test)[1]
    found = tasks.baseline_fields(pairs, test, climatology)
    errors = {name: np.sqrt(np.mean((v - truth) ** 2)) for name, v in found.items()}
    assert errors["delta + constraint"] < errors["delta"] + 1e-3 < 0.2  # and not 2 K
    np.testing.assert_array_equal(plain.conserved(test), plain.read(test)[0])


def test_the_bias_of_rain_is_a_ratio():
    """Of a model that is wet by a factor, and by more where it hardly ever rains."""
    random = np.random.default_rng(2)
    months = np.arange(48) % 12 + 1
    rain = random.gamma(1.0, 3.0, size=(48, 12, 16)) * (random.random((48, 1, 1)) > 0.4)
    fine = fields_of_arrays({"pr": rain.astype("f4")}, GRID, months=months, units={"pr": "mm/day"})
    x = coarsen(fine.read(range(48)), (4, 4))[:, 0]
    wrong = x * random.uniform(0.5, 3, size=(3, 4)).astype("f4")
    wrong[:, 0, 0] = 0  # dry where it is not
    wrong[::2, 0, 1] = 1e-6 * x[::2, 0, 1]
    wrong[1::2, 0, 1] = 0
    model = fields_of_arrays(
        {"pr": wrong}, GRID.coarse((4, 4)), months=months, units={"pr": "mm/day"}
    )
    plain = model_pairs(model, fine, ["pr"])
    steps = climatology_of(plain, np.arange(48))
    assert steps.scaled
    pairs = model_pairs(model, fine, ["pr"], climatology=steps)
    found, read = pairs.conserved(np.arange(48))[:, 0], pairs.batch(np.arange(48)).x[:, 0]
    np.testing.assert_array_equal(found, read)
    assert found.min() == 0
    np.testing.assert_allclose(found[:, 1:], x[:, 1:], rtol=1e-4)
    assert found[:, 0, 0].max() == 0
    assert found[:, 0, 1].max() < 1e-3  # ten times what the model gives, and not a million
    names = ("bilinear scaled", "ratio scaled")
    methods = tasks.baseline_fields(pairs, np.arange(48), steps)
    assert min(methods[name].min() for name in names) >= 0
    means = coarsen(methods["ratio scaled"], (4, 4))[:, 0]
    np.testing.assert_allclose(means, found, rtol=1e-4, atol=1e-5)
    assert not climatology_of(perfect_pairs(fine, 4, ["pr"]), np.arange(48)).scaled
