"""Losses of fields against the figures in double precision, and what training with them reaches."""

import math

import numpy as np
import pytest
import torch

from convarium import data
from convarium.errors import OptionError
from convarium.layers import block_mean
from convarium.models import create
from convarium.tasks import field_distributions, field_loss, field_scores, soft_penalty


def made(parts, **options):
    torch.manual_seed(0)
    network = create("espcn", factor=2, in_channels=2, out_channels=2, parts=parts, **options)
    network.normalise_with(targets=([3.0, 0.0], [2.0, 0.5]))
    x = network.example_input(3, size=8)
    y = torch.randn(3, 2, 16, 16)
    y[0, 0, :4] = math.nan
    areas = torch.linspace(-80, 80, 16).deg2rad().cos().view(-1, 1)
    return network, x, y, areas


@pytest.mark.parametrize("kind", ["mse", "mae"])
def test_values_have_the_weighted_error_over_known_cells(kind):
    network, x, y, areas = made("value")
    v = network(x)
    found = field_loss(network, v, y, weights=areas, kind=kind)
    std, w = torch.tensor([2.0, 0.5]).view(1, 2, 1, 1), areas.numpy()
    truth, value = (t.detach().div(std).numpy() for t in (y, v))
    figure = field_scores.rmse(truth, value, w) ** 2
    expected = figure if kind == "mse" else field_scores.mae(truth, value, w)
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("parts", ["normal", "quantiles"])
def test_distributions_have_their_crps(parts):
    network, x, y, areas = made(parts)
    v = network(x)
    found = field_loss(network, v, y, weights=areas).item()
    total = 0.0
    for target, std in enumerate((2.0, 0.5)):
        truth = y[:, target].numpy() / std
        each = v.detach().numpy()[:, target::2] / std
        known = np.isfinite(truth) * areas.numpy()
        if parts == "normal":
            score = field_distributions.crps_normal(truth, each[:, 0], each[:, 1], areas.numpy())
        else:
            levels = [float(name[1:]) for name in network.parts]
            members = np.moveaxis(each, 1, 0)
            score = field_distributions.crps_quantiles(truth, members, levels, areas.numpy())
        total += score * known.sum()
    counted = torch.isfinite(y).numpy() * areas.numpy()
    assert found == pytest.approx(total / counted.sum(), rel=1e-5)


@pytest.mark.parametrize("parts", ["value", "normal", "quantiles"])
def test_missing_cells_have_no_gradient(parts):
    network, x, y, _ = made(parts)
    v = network(x).detach().requires_grad_()
    field_loss(network, v, y).backward()
    moved = v.grad.view(3, -1, 2, 16, 16)
    assert v.grad.isfinite().all()
    assert not moved[0, :, 0, :4].any()
    assert moved[0, :, 0, 4:].any()


def test_the_penalty_is_in_the_targets_variances():
    network, x, _, _ = made("value")
    v = network(x)
    std = torch.tensor([2.0, 0.5]).view(1, 2, 1, 1)
    expected = ((block_mean(v, (2, 2)) - x) / std).square().mean()
    torch.testing.assert_close(soft_penalty(network, v, x), expected)
    hard = made("value", constraint="additive")[0]
    assert soft_penalty(hard, hard(x), x) < 1e-10
    with pytest.raises(OptionError, match="Did you mean 'mse'"):
        field_loss(network, v, v, kind="msee")


def test_a_normal_head_learns_the_mean_and_the_spread():
    """Noise of known size around what can be known: CRPS finds both."""
    torch.manual_seed(0)
    grid = data.Grid(np.arange(16.0), np.arange(16.0))
    smooth = np.random.default_rng(0).normal(size=(1, 8, 8)).repeat(2, 1).repeat(2, 2)
    fields = smooth + 0.5 * np.random.default_rng(1).normal(size=(400, 16, 16))
    pairs = data.perfect_pairs(data.fields_of_arrays({"t": fields}, grid), 2, ["t"])
    options = pairs.network_options | {"start": "none", "constraint": "additive"}
    network = create("espcn", channels=[4], kernel_sizes=[1, 1], parts="normal", **options)
    network.normalise_with(**pairs.statistics(np.arange(400)))
    optimiser = torch.optim.Adam(network.parameters(), 0.02)
    batch = pairs.batch(np.arange(400))
    for _ in range(150):
        loss = field_loss(network, network(batch.x), batch.y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    mean, spread = network(batch.x).split(1, 1)
    apart = 0.5 * math.sqrt(3 / 4)  # what is left when the mean of the four is known
    assert (batch.y - mean).std().item() == pytest.approx(apart, rel=0.05)
    assert spread.mean().item() == pytest.approx(apart, rel=0.05)
