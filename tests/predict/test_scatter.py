"""Fields that are drawn with what a network leaves: as large, as rough, with the same means."""

import numpy as np
import pytest
import torch

from convarium import data, models
from convarium.data import Dataset, GridOptions
from convarium.data.grids.fields import fields_of_arrays
from convarium.data.grids.grid import Grid
from convarium.data.grids.pairs import perfect_pairs
from convarium.data.grids.samples import GridSamples
from convarium.errors import RunError
from convarium.layers import block_mean
from convarium.predict.scatter import drawn, keep_scatter, read_scatter, scatter_of, with_draws

GRID = Grid(np.linspace(-30, 30, 12), 2.0 * np.arange(16))


@pytest.fixture(scope="module")
def trained():
    """A network that gives the delta method's field, where noise remains: twice as much later."""
    random = np.random.default_rng(0)
    noise = random.normal(size=(120, 12, 16))
    noise[84:] *= 2
    fields = fields_of_arrays({"u": noise.astype("f4")}, GRID, units={"u": "m"})
    samples = GridSamples(perfect_pairs(fields, 4, ["u"]))
    facts = {"task": "downscale", "classes": ["u"], "units": ["m"], "targets": samples.told[1]}
    dataset = Dataset(samples, source="made", mirrored=False, **facts)
    parts = data.split(dataset, validation=18, test=18)
    steps = data.fit_preprocessing(parts.train, grids=GridOptions(places=3))
    network = models.create(
        "espcn", constraint="additive", channels=[4, 4], **steps.network_options
    )
    steps.begin(network)
    network.begin_at_start()
    network.eval()
    return network, parts, steps


def test_draws_are_as_large_as_what_is_left_later_and_keep_block_means(trained):
    network, parts, steps = trained
    patterns = scatter_of(network, parts.train, parts.validation, steps)
    assert patterns.shape == (84, 1, 12, 16)
    batch = steps.pairs_of(parts.test.dataset.samples.pairs).batch(parts.test.ids)
    with torch.no_grad():
        y = network(batch.x, batch.mask, batch.fine, batch.weights)
    draws = drawn(patterns, range(18), 40)
    left = (batch.y - y).square().mean().sqrt().item()
    assert draws.square().mean().sqrt().item() == pytest.approx(left, rel=0.05)
    means = block_mean((y[:, None] + draws).flatten(0, 1), (4, 4), batch.weights)
    kept = batch.x[:, :1].repeat_interleave(40, 0)
    torch.testing.assert_close(means, kept, atol=1e-5, rtol=0)
    assert abs(np.corrcoef(draws[3, 0].flatten(), draws[4, 0].flatten())[0, 1]) < 0.3


def test_a_time_has_the_same_draws_wherever_it_is():
    """By its date, in whichever file and form; another seed gives others."""
    patterns = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    whole = drawn(patterns, range(6), 3)
    torch.testing.assert_close(drawn(patterns, [4], 3)[0], whole[4])
    assert not torch.equal(whole[4, 0], whole[4, 1])
    days = np.arange("2001-01-01", "2001-01-07", dtype="M8[D]")
    values = np.zeros((6, 1, 4, 4), np.float32)
    found = with_draws(values, patterns, days, 2, 0)
    assert found.shape == (6, 3, 4, 4)
    later = with_draws(values[:2], patterns, days[4:].astype("M8[ns]"), 2, 0)
    np.testing.assert_allclose(later, found[4:], atol=1e-6)
    for other in (
        with_draws(values, patterns, days + 6, 2, 0),
        with_draws(values, patterns, days, 2, 1),
    ):
        assert not np.isclose(other[:, 1:], found[:, 1:]).all((1, 2, 3)).any()
    numbers = [with_draws(values[:1], patterns, np.array([n]), 2, 0) for n in (1.5, 2.5)]
    assert not np.allclose(*numbers)


def test_a_run_keeps_patterns_where_its_network_knows_places(trained, tmp_path):
    network, parts, steps = trained
    keep_scatter(network, parts, steps, tmp_path)
    torch.testing.assert_close(
        read_scatter(tmp_path), scatter_of(network, parts.train, parts.validation, steps)
    )
    other = tmp_path / "other"
    other.mkdir()
    softmax = models.create("espcn", constraint="softmax", factor=4)
    keep_scatter(softmax, parts, steps, other)
    with pytest.raises(RunError, match="no patterns to draw fields with"):
        read_scatter(other)
