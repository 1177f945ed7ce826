"""Downscaling as a task: loss, score, what is gathered, and what it is compared with."""

import numpy as np
import pytest
import torch

from convarium import data, tasks
from convarium.data import Batch, Dataset, Part
from convarium.data.grids.fields import fields_of_arrays
from convarium.data.grids.grid import Grid
from convarium.data.grids.pairs import perfect_pairs
from convarium.data.grids.samples import GridSamples
from convarium.errors import DataError, OptionError
from convarium.models import create
from convarium.tasks.field_scores import rmse


def dataset(count=48, seed=0):
    """Fields with a pattern of each month on a globe of 12 x 24 cells."""
    random = np.random.default_rng(seed)
    grid = Grid(-90 + 180 * (np.arange(12) + 0.5) / 12, np.arange(0.0, 360, 15))
    months = np.arange(count) % 12 + 1
    values = random.normal(size=(13, 12, 24))[months] + 0.3 * random.normal(size=(count, 12, 24))
    fields = fields_of_arrays({"u": values.astype("f4")}, grid, months=months, units={"u": "K"})
    samples = GridSamples(perfect_pairs(fields, 4, ["u"], weighted=True))
    facts = {"task": "downscale", "classes": ["u"], "units": ["K"], "targets": samples.told[1]}
    return Dataset(samples, source="made", mirrored=False, **facts)


def batch_of(y, weights=None, ids=None):
    named = {} if weights is None else {"weights": weights}
    index = torch.arange(len(y)) if ids is None else torch.from_numpy(ids)
    return Batch((y,), target=y, mask=None, index=index, weight=None, named=named)


@pytest.mark.parametrize("outputs", ["value", "normal", "quantiles"])
def test_the_loss_is_that_of_fields(outputs):
    torch.manual_seed(0)
    network = create("espcn", factor=2, parts=outputs)
    network.normalise_with(targets=([1.0], [3.0]))
    task = tasks.Downscaling(("u",), ("K",), (1.0,), (3.0,), parts=network.parts)
    y = 1 + 3 * torch.randn(4, 1, 6, 8)
    y[0, 0, 0, :4] = torch.nan
    given = network(torch.randn(4, 1, 3, 4))
    assert given.shape[1] == task.head_size
    weights = torch.rand(4, 1, 6, 8)
    batch = batch_of(y, weights)
    expected = tasks.field_loss(network, given, y, weights=weights)
    assert torch.equal(task.loss(given, batch), expected)
    assert torch.equal(task.middle(given), network.middle(given))
    mae = tasks.field_loss(network, given, y, weights=weights, kind="mae")
    assert torch.equal(task.loss(given, batch, tasks.Objective(loss="mae")), mae)


def test_the_score_is_one_less_the_error_in_deviations():
    task = tasks.Downscaling(("u",), ("K",), (0.0,), (2.0,))
    y = torch.zeros(3, 1, 2, 2)
    given = torch.tensor([0.0, 1.0, 2.0]).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    np.testing.assert_allclose(task.scores(given, batch_of(y)), [1.0, 0.75, 0.0])
    assert task.score_sum(given, batch_of(y)).item() == pytest.approx(1.75)
    record = task.decode(given, batch_of(y))[1]
    assert (record.id, record.mean, record.high) == (1, (1.0,), (1.0,))
    assert record.sentence() == "u 1 to 1 K"
    assert record.columns() == {"mean_u": 1.0, "low_u": 1.0, "high_u": 1.0}


def test_an_evaluation_stands_beside_the_baselines():
    made = dataset()
    parts = data.split(made)
    steps = data.fit_preprocessing(parts.train)
    pairs = steps.pairs_of(made.samples.pairs)
    task = tasks.Downscaling(("u",), ("K",), (0.0,), (1.0,))
    meter = task.meter()
    with pytest.raises(DataError, match="no field"):
        meter.evaluation()
    ids = parts.test.ids
    truth = torch.from_numpy(pairs.read(ids)[1])
    delta = tasks.baseline_fields(pairs, ids, steps.climatology)["delta + constraint"]
    for some in np.split(np.arange(len(ids)), [4]):
        meter.add(torch.from_numpy(delta[some]), batch_of(truth[some], ids=ids[some]))
    plain = meter.evaluation()
    found = tasks.beside_baselines(plain, made, steps)
    rows = {row.method: row for row in found.rows["u"] if row.group == "all"}
    assert rows["network"].rmse == rows["delta + constraint"].rmse  # which it was given
    assert found.gains["u"][0] == pytest.approx(0, abs=1e-12)
    assert found.strongest["u"] == "delta + constraint"
    areas = pairs.areas.reshape(-1, 1)
    assert rows["bilinear"].rmse == pytest.approx(
        rmse(truth[:, 0].numpy(), found.comparisons["u"].values["bilinear"], areas)
    )
    assert rows["network"].conservation_error < 1e-5
    assert {row.group for row in found.rows["u"]} > {"all", "tropics", "north", "south"}
    assert "smaller than delta + constraint" in found.sentence()
    assert len(found.lines()) == 8
    told = found.summary()
    assert told["outputs"]["u"]["gain"]["over"] == "delta + constraint"
    assert told["outputs"]["u"]["rmse"] == pytest.approx(rows["network"].rmse)
    each = [rmse(one, other, areas) for one, other in zip(truth.numpy(), delta, strict=True)]
    assert found.worst(1)[0] == ids[np.argmax(each)]
    assert plain.summary()["outputs"]["u"]["rmse"] == pytest.approx(rmse(truth.numpy(), delta))
    first = next(iter(found.predictions()))
    assert first["id"] == ids[0]
    assert first["rmse_u"] == pytest.approx(each[0])


def test_an_error_beside_none_is_no_share_and_json_takes_it():
    truth = np.ones((8, 1, 12, 24), np.float32)
    values = {"network": 1.5 * truth[:, 0], "delta": truth[:, 0]}
    found = tasks.FieldEvaluation(
        names=("u",), units=("K",), spread=(1.0,), parts=("value",), loss=0.25, ids=np.arange(8),
        scores=np.zeros(8, np.float32), truth=truth, values=1.5 * truth,
        comparisons={"u": tasks.FieldComparison(truth[:, 0], values, None)},
    )  # fmt: skip
    told = found.summary()["outputs"]["u"]["gain"]
    assert told == {"over": "delta", "share": None, "interval": None}
    assert "delta has no error, and the network has" in found.sentence()


def test_crps_of_distributions():
    task = tasks.Downscaling(("u",), ("",), (0.0,), (1.0,), parts=("mean", "spread"))
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(64, 1, 8, 8, generator=generator)
    given = torch.cat([torch.zeros_like(y), torch.ones_like(y)], 1)
    meter = task.meter()
    meter.add(given, batch_of(y))
    found = meter.evaluation()
    assert found.crps[0] == pytest.approx(1 / np.sqrt(np.pi), rel=0.02)  # of a right forecast
    assert found.loss == pytest.approx(found.crps[0], rel=1e-5)
    assert "CRPS" in found.lines()[1]


def test_a_card_brings_the_task():
    card = {"task": "downscale", "classes": ["u"], "parts": ["q0.1", "q0.5", "q0.9"]}
    targets = {"units": ["K"], "mean": [280.0], "std": [9.0]}
    found = tasks.from_card({**card, "targets": targets})
    assert (found.head_size, found.names) == (3, ("u",))
    with pytest.raises(OptionError, match="one for each"):
        tasks.from_card(card)
    with pytest.raises(OptionError, match="above 0"):
        tasks.Downscaling(("u",), ("K",), (0.0,), (0.0,))


def test_parts_of_a_data_set_in_memory():
    made = dataset(24)
    part = Part(made, np.arange(3))
    assert made.in_memory
    assert part.targets.shape == (3, 1)
    assert part.targets[0, 0] == pytest.approx(made.read(0).fine.mean(), abs=1e-6)


def test_the_soft_constraint_is_the_penalty():
    network = create("espcn", factor=2)
    network.normalise_with(targets=([1.0], [3.0]))
    task = tasks.Downscaling(("u",), ("K",), (1.0,), (3.0,))
    x, y = torch.randn(2, 1, 3, 4), torch.randn(2, 1, 6, 8)
    given = network(x)
    batch = Batch((x,), target=y, mask=None, index=torch.arange(2), weight=None)
    plain = task.loss(given, batch)
    both = task.loss(given, batch, tasks.Objective(soft_constraint=0.5))
    torch.testing.assert_close(both - plain, 0.5 * tasks.soft_penalty(network, given, x))
    with pytest.raises(OptionError, match="belongs to fine fields"):
        tasks.Objective(soft_constraint=0.5).check(tasks.Classification(("a", "b")))
