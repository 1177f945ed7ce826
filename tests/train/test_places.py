"""Linear maps of places, fitted after training where they validate better."""

import json

import numpy as np
import pytest
import torch
from stopping import assert_goes_on_with_the_same_bits

from convarium import data, models, train
from convarium.data import Dataset, GridOptions
from convarium.data.grids.fields import fields_of_arrays
from convarium.data.grids.grid import Grid
from convarium.data.grids.pairs import perfect_pairs
from convarium.data.grids.samples import GridSamples
from convarium.errors import OptionError
from convarium.layers import LocalLinear
from convarium.predict import open_run
from convarium.train.field_choice import places_for
from convarium.train.places import _some, best_recipe, fit_places_of

GRID = Grid(np.linspace(-30, 30, 12), 2.0 * np.arange(16))


def parts_of(*, local, count=80):
    """Fields whose fine pattern follows from the coarse field in each place; or noise."""
    random = np.random.default_rng(0)
    base = random.normal(size=(count, 3, 4)).repeat(4, 1).repeat(4, 2)
    pattern = random.normal(size=(12, 16))
    blocks = pattern.reshape(3, 4, 4, 4)
    pattern = (blocks - blocks.mean((1, 3), keepdims=True)).reshape(12, 16)
    noise = 0.05 * random.normal(size=(count, 12, 16))
    values = base * (1 + pattern) if local else base + 10 * noise
    fields = fields_of_arrays({"u": (values + noise).astype("f4")}, GRID, units={"u": "m"})
    samples = GridSamples(perfect_pairs(fields, 4, ["u"]))
    facts = {"task": "downscale", "classes": ["u"], "units": ["m"], "targets": samples.told[1]}
    return data.split(Dataset(samples, source="made", mirrored=False, **facts))


def built(parts, **options):
    steps = data.fit_preprocessing(parts.train, grids=GridOptions(places=3, **options))
    torch.manual_seed(0)
    network = models.create(
        "espcn", constraint="additive", channels=[4, 4], **steps.network_options
    )
    steps.begin(network)
    return network, steps


def test_places_that_validate_better_are_kept(tmp_path):
    parts = parts_of(local=True)
    network, steps = built(parts)
    config = train.TrainConfig(epochs=2, batch_size=16, shift=True, flip=False, learning_rate=1e-4)
    history = train.fit(network, parts, config, preprocessing=steps, out=tmp_path / "run")
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    found = card["places"]
    assert found["penalty"] > 0
    assert found["score"] > history.best["val_r2"] + 0.2
    assert card["result"]["validation"]["val_r2"] == found["score"]
    opened = open_run(tmp_path / "run")
    again = opened.predictor.evaluate(parts.validation)
    assert again.score == pytest.approx(found["score"], abs=1e-6)
    weight = network.places.local.weight.clone()
    train.fit(network, parts, config, preprocessing=steps, out=tmp_path / "run", resume=True)
    assert torch.equal(weight, network.places.local.weight)


def test_a_stopped_training_of_fields_ends_with_the_same_bits(tmp_path):
    parts = parts_of(local=True, count=40)
    steps = built(parts, means=True, start="coarse")[1]
    config = train.TrainConfig(
        epochs=3, batch_size=8, shift=True, flip=False, ema=0.9, checkpoint_seconds=0.0
    )

    def make():
        return built(parts, means=True, start="coarse")[0]

    assert_goes_on_with_the_same_bits(make, parts, config, steps, tmp_path, at=4)


def test_means_of_training_times_are_read():
    parts = parts_of(local=True, count=40)
    network, steps = built(parts, means=True, start="coarse")
    values = parts.train.dataset.samples.pairs.fine.read(parts.train.ids)
    np.testing.assert_allclose(steps.static[0], values.mean((0, 1), dtype="f8"), atol=1e-5)
    np.testing.assert_allclose(steps.static[1][:, 3], np.sin(np.deg2rad(GRID.latitude)), rtol=1e-6)
    assert steps.bound
    assert network.reader.fine_channels == 2
    assert GridOptions(means=True, start="coarse").places_of((3, 16, 36), (4, 4)) == 5
    assert GridOptions(start="coarse").places_of((3, 16, 36), (4, 4)) == 0
    assert GridOptions(means=True).places_of((3, 1600, 3600), (4, 4)) == 0  # too many maps
    assert GridOptions(means=True, outputs="normal").places_of((3, 16, 36), (4, 4)) == 0


def test_places_that_do_not_help_stay_nothing():
    parts = parts_of(local=False, count=40)
    network, steps = built(parts)
    network.begin_at_start()
    before = [p.clone() for p in network.parameters()]
    scores = iter([0.9, *[0.5] * 20])
    found = fit_places_of(network, parts, steps, lambda: (1.0, next(scores)))
    assert (found.penalty, found.score) == (None, 0.9)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    plain = models.create("espcn", factor=4)
    assert fit_places_of(plain, parts, steps, lambda: (1.0, 0.0)) is None


def test_training_leaves_places_out_and_starts_from_the_start():
    parts = parts_of(local=True, count=40)
    network, steps = built(parts)
    network.begin_at_start()
    torch.nn.init.normal_(network.places.local.weight)
    batch = steps.pairs_of(parts.train.dataset.samples.pairs).batch(np.arange(4))
    given = (batch.x, batch.mask, batch.fine, batch.weights)
    network.train()
    torch.testing.assert_close(network(*given), network.writer.constrain(batch.fine, batch.x))
    network.eval()
    assert not torch.allclose(network(*given), batch.fine, atol=0.1)
    mean, std = steps.statistics["residual"]
    left = (batch.y - batch.fine).numpy()
    assert std[0] == pytest.approx(left.std(), rel=0.3)
    assert network.writer.std.item() == pytest.approx(std[0])
    assert abs(mean[0]) < 0.1


@pytest.mark.parametrize("drifting", [False, True])
def test_the_level_is_forgotten_where_it_drifts(drifting):
    """What later times say of earlier ones: averages that wander, and averages that stay."""
    generator = torch.Generator().manual_seed(0)
    steps = torch.randn(120, 4, 6, 8, generator=generator) * (0.3 if drifting else 0.0)
    steps[0] = torch.randn(4, 6, 8, generator=generator)
    left = steps.cumsum(0) + torch.randn(120, 4, 6, 8, generator=generator)
    local = LocalLinear((6, 8), 1, 4, 1)
    read = torch.randn(120, 1, 6, 8, generator=generator)
    known, later = (read[:100], left[:100]), (read[100:], left[100:])
    recipe = best_recipe(local, known, torch.arange(100), later)
    assert (recipe.level.horizon is not None) == drifting
    assert recipe.rounds or recipe.penalty >= 300  # nothing follows from what is read


def test_maps_of_places_that_nothing_could_fit_are_not_made():
    usual = GridOptions(means=True, start="coarse")
    for constraint in ("multiplicative", "softmax"):
        found = places_for(constraint, usual)
        assert (found.places, found.means) == (0, True)
        assert places_for(constraint, None).places == 0
        with pytest.raises(OptionError, match="--places 5 has no effect with --constraint"):
            places_for(constraint, GridOptions(places=5))
    for constraint in (None, "none", "additive"):
        assert places_for(constraint, usual) is usual
        assert places_for(constraint, None) is None
    with pytest.raises(OptionError, match="--places 5 has no effect with --outputs normal"):
        places_for("additive", GridOptions(places=5, outputs="normal"))


def test_of_many_times_some_are_taken_from_first_to_last():
    """As many as have a covariance among each other that fits into memory."""
    network = built(parts_of(local=True, count=40))[0]
    found = _some(np.arange(20_000), network)
    assert (len(found), found[0], found[-1]) == (1000, 0, 19_999)
    assert np.ptp(np.diff(found)) <= 1


def test_what_is_often_0_and_never_below_keeps_its_sign():
    random = np.random.default_rng(0)
    rain = np.maximum(random.normal(size=(20, 12, 16)), 0).astype("f4")
    found = []
    for values in (rain, rain + 280, rain - 1):
        fields = fields_of_arrays({"pr": values}, GRID, units={"pr": "mm"})
        samples = GridSamples(perfect_pairs(fields, 4, ["pr"]))
        facts = {"task": "downscale", "classes": ["pr"], "units": ["mm"]}
        dataset = Dataset(samples, source="made", mirrored=False, targets=samples.told[1], **facts)
        found.append(train.recommend(dataset).options)
    assert [each["constraint"] for each in found] == ["multiplicative", "additive", "additive"]
    assert [each.get("non_negative") for each in found] == [True, None, None]
