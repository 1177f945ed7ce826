"""Blocks that begin elsewhere: as if the fields had been cut there, by numbers of each time."""

import numpy as np
import pytest
import torch

from convarium import data
from convarium.data import Dataset, FieldAugmentation, GridOptions
from convarium.data.augment.stream import Stream
from convarium.data.grids.climatology import fit_climatology
from convarium.data.grids.coarsening import coarsen
from convarium.data.grids.fields import fields_of_arrays
from convarium.data.grids.grid import Grid
from convarium.data.grids.pairs import model_pairs, perfect_pairs
from convarium.data.grids.samples import GridSamples
from convarium.data.grids.shifting import Shift, ShiftedPairs
from convarium.errors import OptionError


def made(step=15.0, count=36):
    """Fields of months on 20 rows and 24 columns, a circle where these are 15 degrees wide."""
    random = np.random.default_rng(0)
    grid = Grid(np.linspace(-57, 57, 20), step * np.arange(24.0))
    months = np.arange(count) % 12 + 1
    values = random.normal(size=(13, 20, 24))[months] + random.normal(size=(count, 20, 24))
    return fields_of_arrays({"u": values.astype("f4")}, grid, months=months, units={"u": "m"})


def pairs_of(fields, static, *, weighted):
    """Pairs with a climatology of the first two years."""
    areas = fields.grid.areas if weighted else None
    climatology = fit_climatology(fields.read(range(24)), fields.months[:24], (4, 4), areas)
    return perfect_pairs(
        fields, 4, ["u"], static=static, season=True, climatology=climatology, weighted=weighted
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("step", [15.0, 2.0])
def test_shifted_pairs_are_those_of_shifted_fields(step, weighted):
    fields = made(step)
    static = np.random.default_rng(1).normal(size=(1, 20, 24)).astype("f4")
    pairs = pairs_of(fields, static, weighted=weighted)
    wraps = step == 15.0
    shift = Shift(3, 2, (16, 24 if wraps else 20), wraps)
    moved = ShiftedPairs(pairs).moved(shift).batch([30, 7])
    if wraps:
        turned = fields.turned(fields.grid.longitude[2])
        by_hand = turned.cut(slice(3, 19))
        own = np.roll(static, -2, -1)[:, 3:19]
    else:
        by_hand = fields.cut(slice(3, 19), slice(2, 22))
        own = static[:, 3:19, 2:22]
    expected = pairs_of(by_hand, own, weighted=weighted).batch([30, 7])
    for one, other in zip(moved, expected, strict=True):
        if one is None:
            assert other is None
        else:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_each_time_is_shifted_as_its_own_numbers_say():
    shifted = ShiftedPairs(pairs_of(made(), None, weighted=False))
    ids = np.arange(12)
    whole = shifted.batch(ids, Stream(ids, 0, 3))
    assert whole.x.shape == (12, 3, 4, 6)
    some = shifted.batch(ids[[5, 2]], Stream(ids[[5, 2]], 0, 3))
    for one, other in zip(some, whole, strict=True):
        assert (one is None and other is None) or torch.equal(one, other[[5, 2]])
    np.testing.assert_allclose(coarsen(whole.y.numpy(), (4, 4)), whole.x[:, :1], atol=1e-5)
    values, places = made().read(ids)[:, 0], set()
    for k in range(12):
        for row in range(5):
            for column in range(4):
                cut = np.roll(values[k], -column, -1)[row : row + 16]
                if np.array_equal(cut, whole.y[k, 0]):
                    places.add((row, column))
    assert len(places) > 1
    later = shifted.batch(ids, Stream(ids, 0, 4))
    assert not torch.equal(whole.y, later.y)


def test_training_batches_are_shifted_and_others_are_not():
    fields = made()
    samples = GridSamples(perfect_pairs(fields, 4, ["u"]))
    facts = {"task": "downscale", "classes": ["u"], "units": ["m"], "targets": samples.told[1]}
    dataset = Dataset(samples, source="made", mirrored=False, **facts)
    part = data.split(dataset).train
    steps = data.fit_preprocessing(part)
    given = {"batch_size": 8, "seed": 0, "epoch": 1}
    plain = next(data.training_batches(part, steps, **given))
    moved = next(
        data.training_batches(part, steps, augmentation=FieldAugmentation(shift=True), **given)
    )
    assert torch.equal(plain.index, moved.index)
    assert plain.target.shape == (8, 1, 20, 24)
    assert moved.target.shape == (8, 1, 16, 24)
    assert moved.named["fine"].shape == (8, 1, 16, 24)
    known = data.fit_preprocessing(part, grids=GridOptions(cells=True))
    with pytest.raises(OptionError, match="moves cells"):
        next(
            data.training_batches(part, known, augmentation=FieldAugmentation(shift=True), **given)
        )
    x = coarsen(fields.read(range(36)), (4, 4))[:, 0]
    model = fields_of_arrays({"u": x}, fields.grid.coarse((4, 4)), units={"u": "m"})
    with pytest.raises(OptionError, match="leave it out beside a model's"):
        ShiftedPairs(model_pairs(model, fields, ["u"]))
