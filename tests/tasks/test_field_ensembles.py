"""Distributions of fields, and several networks as one."""

import numpy as np
import pytest
import torch

from convarium import tasks
from convarium.data import Batch
from convarium.errors import OptionError
from convarium.tasks import field_distributions as distributions
from convarium.tasks.field_ensembles import FieldDistribution

COUNT, SIZE = 60, 10


def evaluation(values, truth, parts=("value",)):
    """What a meter makes of fields (n, P, H, W) of one variable with the deviation 2."""
    task = tasks.Downscaling(("u",), ("K",), (0.0,), (2.0,), parts=parts)
    meter = task.meter()
    y = torch.from_numpy(truth)[:, None]
    batch = Batch((y,), target=y, mask=None, index=torch.arange(len(y)), weight=None, named={})
    meter.add(torch.from_numpy(values), batch)
    return meter.evaluation()


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("f4")


def test_values_of_several_networks_are_members():
    truth, members = drawn(COUNT, SIZE, SIZE), drawn(5, COUNT, 1, SIZE, SIZE, seed=1)
    each = [evaluation(member, truth) for member in members]
    found = tasks.together(each)
    np.testing.assert_allclose(found.fields, members.mean(0), atol=1e-6)
    assert found.crps[0] == pytest.approx(distributions.crps_members(truth, members[:, :, 0]))
    expected = 1 - np.mean((members.mean(0)[:, 0] - truth) ** 2 / 4)
    assert found.score == pytest.approx(expected, rel=1e-5)
    assert found.loss == pytest.approx(1 - expected, rel=1e-5)
    ranks = found.ranks(0)
    assert [rank.right for rank in ranks] == pytest.approx([1 / 6] * 6)
    assert [rank.share for rank in ranks] == pytest.approx([1 / 6] * 6, abs=0.03)
    assert "is right" in found.lines()[-1]
    assert found.summary()["outputs"]["u"]["ranks"][0]["place"] == "below member 1"
    weighted = tasks.together(each, np.linspace(0, 1, SIZE).reshape(-1, 1))
    assert weighted.score != pytest.approx(found.score, abs=1e-9)
    assert tasks.together(each[:1]) is each[0]
    with pytest.raises(OptionError, match="must give the same"):
        tasks.together([each[0], evaluation(members[1][:9], truth[:9])])


def test_normal_distributions_become_their_mixture():
    truth = drawn(COUNT, SIZE, SIZE)
    means, spreads = (
        drawn(3, COUNT, 1, SIZE, SIZE, seed=1),
        0.5 + drawn(3, COUNT, 1, SIZE, SIZE) ** 2,
    )
    parts = ("mean", "spread")
    each = [
        evaluation(np.concatenate([mean, spread], 1), truth, parts)
        for mean, spread in zip(means, spreads, strict=True)
    ]
    found = tasks.together(each)
    random = np.random.default_rng(2)
    which = random.integers(3, size=200_000)
    some = means[which, 0, 0, 0, 0] + spreads[which, 0, 0, 0, 0] * random.normal(size=len(which))
    assert found.part(0, 0)[0, 0, 0] == pytest.approx(some.mean(), abs=0.02)
    assert found.part(1, 0)[0, 0, 0] == pytest.approx(some.std(), rel=0.01)
    assert found.members is None
    assert found.loss == pytest.approx(found.crps[0] / 2)


@pytest.mark.parametrize("width", [1.0, 0.3])
def test_the_truth_falls_where_it_should_in_a_right_distribution(width):
    truth = drawn(COUNT, SIZE, SIZE)
    normal = FieldDistribution("normal", np.stack([0 * truth, width + 0 * truth]))
    levels = (0.1, 0.5, 0.8)
    quantiles = np.stack([0 * truth + width * z for z in (-1.28155, 0.0, 0.84162)])
    for found in (normal, FieldDistribution("quantiles", quantiles, levels)):
        ranks = found.ranks(truth)
        assert sum(rank.share for rank in ranks) == pytest.approx(1)
        apart = [rank.share - rank.right for rank in ranks]
        if width == 1:
            assert apart == pytest.approx([0.0] * len(apart), abs=0.02)
        else:  # too narrow: too much of the truth at both ends
            assert min(apart[0], apart[-1]) > 0.1
    assert [rank.right for rank in ranks] == pytest.approx([0.1, 0.4, 0.3, 0.2])
    expected = distributions.crps_normal(truth, 0 * truth, width + 0 * truth)
    assert normal.distances(truth).mean() == pytest.approx(expected)
