import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch.profiler import ProfilerActivity, profile

from convarium.errors import OptionError, ShapeError
from convarium.layers import Level, LocalLinear, field_conv

CASES = [((7,), False), ((5, 6), False), ((5, 6), True), ((3, 4, 5), True)]


@pytest.mark.parametrize(("cells", "wrap"), CASES)
def test_the_same_map_everywhere_is_a_convolution(cells, wrap):
    torch.manual_seed(0)
    conv = field_conv(len(cells), 2, 3, 3, wrap=wrap).double()
    weight, bias = conv.parameters() if wrap else (conv.weight, conv.bias)
    local = LocalLinear(cells, 2, 3, 3, wrap=wrap).double()
    with torch.no_grad():
        local.weight.copy_(weight.flatten(1).T.expand_as(local.weight))
        local.bias.copy_(bias.expand_as(local.bias))
    x = torch.randn(4, 2, *cells, dtype=torch.float64)
    torch.testing.assert_close(local(x), conv(x))


def test_each_place_has_a_map_of_its_own():
    local = LocalLinear((4, 6), 1, 2, 3)
    x = torch.randn(2, 1, 4, 6)
    assert local(x).abs().max() == 0
    with torch.no_grad():
        local.bias[2 * 6 + 5, 0, 1] = 1
    expected = torch.zeros(2, 2, 4, 6)
    expected[:, 1, 2, 5] = 1
    assert torch.equal(local(x), expected)


def test_a_fit_is_ridge_regression_place_by_place():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(12, 2, 3, 4, generator=generator) * torch.tensor([1.0, 5.0]).view(2, 1, 1) + 7
    y = torch.randn(12, 2, 3, 4, generator=generator)
    counts = torch.rand(12, generator=generator) + 0.1
    local = LocalLinear((3, 4), 2, 2, 3, wrap=True)
    local.fit(x, y, penalty=2.0, counts=counts)
    read = local._around(x).flatten(2).permute(2, 0, 1).double().numpy()
    apart = read - np.average(read, 1, counts.numpy())[:, None]
    std = np.sqrt(np.square(apart.reshape(12, 12, 2, 9)).mean((0, 1, 3))).repeat(9)
    found = local(x).flatten(2)
    ones = np.ones((12, 12, 1))
    for place, inputs in enumerate(np.concatenate([apart / std, ones], 2)):
        expected = Ridge(2.0, fit_intercept=False)
        expected.fit(inputs, y.flatten(2)[..., place], counts.numpy())
        np.testing.assert_allclose(found[..., place].detach(), expected.predict(inputs), atol=1e-4)


@pytest.mark.parametrize("horizon", [None, 5.0])
def test_a_fit_with_a_level_is_a_gaussian_process_place_by_place(horizon):
    """Its mean half a horizon after the last time, with all covariances written out."""
    generator = torch.Generator().manual_seed(5)
    times = torch.cumsum(torch.rand(14, generator=generator) + 0.2, 0).double()
    season = torch.sin(times).float().view(14, 1, 1, 1)
    x = torch.cat([torch.randn(14, 1, 3, 4, generator=generator), season.expand(-1, -1, 3, 4)], 1)
    y, counts = torch.randn(14, 2, 3, 4, generator=generator), torch.rand(14) + 0.5
    local = LocalLinear((3, 4), 2, 2, 3)
    level = Level(0.8, horizon, season=0.7)
    local.fit(x, y, penalty=4.0, counts=counts, level=level, times=times)

    def lasting(apart):
        return 0.8 * (1 if horizon is None else (1 + np.exp(-np.abs(apart) / horizon)) / 2)

    read = local._around(x[:, :1]).flatten(2).permute(2, 0, 1).double().numpy()
    read = read - np.average(read, 1, counts.numpy())[:, None]
    read = read / np.sqrt(np.square(read).mean())
    turn = season.flatten().double().numpy()
    turn = turn - np.average(turn, weights=counts.numpy())
    inside = local._around(x[:, 1:]).flatten(2).permute(2, 0, 1).double().numpy()
    inside = inside - np.average(inside, 1, counts.numpy())[:, None]
    turn = turn / np.sqrt(np.square(inside).mean())
    when, noise = times.numpy(), np.diag(1 / counts.double().numpy())
    apart = when[:, None] - when
    later = when[-1] + (horizon or 0) / 2 - when
    found = local(x).detach().flatten(2).permute(2, 0, 1).numpy()
    for place, inputs in enumerate(read):
        alike = inputs @ inputs.T / 4
        among = 1 + 0.7 * np.outer(turn, turn)
        all_of = alike + lasting(apart) * among + noise
        weights = np.linalg.solve(all_of, y.flatten(2)[..., place].numpy())
        expected = (alike + lasting(later) * among) @ weights
        np.testing.assert_allclose(found[place], expected, atol=1e-4)


def test_a_fit_of_many_samples_holds_no_matrix_of_them_for_each_position():
    """Memory is that of what is read and of one covariance between samples."""
    count, cells = 400, (8, 16)
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(count, 1, *cells, generator=generator) for _ in range(2))
    local = LocalLinear(cells, 1, 1, 3)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as told:
        local.fit(x, y, penalty=10.0, rounds=2, level=Level(0.6, 100.0))
    largest = max(event.cpu_memory_usage for event in told.events())
    read = 8 * count * math.prod(cells) * 9
    assert read <= largest < 4 * read < 8 * math.prod(cells) * count**2 / 10


def test_what_lasts_shorter_is_nearer_to_the_last_samples():
    y = torch.cat([torch.zeros(40, 1, 4), torch.ones(20, 1, 4)])
    means = []
    for horizon in (None, 600.0, 60.0):
        local = LocalLinear((4,), 1, 1, 3)
        local.fit(torch.zeros(60, 1, 4), y, penalty=3.0, level=Level(2.0, horizon))
        means.append(local.bias.mean().item())
    assert means[0] == pytest.approx(20 / 60.5, abs=1e-4)
    assert means[0] < means[1] < means[2] < 1


def test_a_learned_penalty_finds_the_inputs_that_matter():
    """Of 9 positions around, one matters everywhere: to learn that helps on new samples."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(400, 1, 6, 8, generator=generator)
    slope = torch.randn(1, 1, 6, 8, generator=generator)
    y = slope * x.roll(1, -1) + torch.randn(x.shape, generator=generator)
    errors = []
    for rounds in (0, 8):
        local = LocalLinear((6, 8), 1, 1, 3, wrap=True)
        local.fit(x[:25], y[:25], penalty=1.0, rounds=rounds)
        errors.append((local(x[25:]) - y[25:]).square().mean().item())
    assert errors[1] < 1 + 0.3 * (errors[0] - 1)


@pytest.mark.parametrize("whole", [False, True])
def test_positions_that_are_never_known_do_not_stop_a_learned_penalty(whole):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(20, 1, 4, 5, generator=generator)
    y = 0.5 * x + 0.1 * torch.randn(20, 1, 4, 5, generator=generator)
    land = torch.ones(4, 5, dtype=torch.bool) if whole else torch.zeros(4, 5, dtype=torch.bool)
    land[:2, :3] = True
    x[..., land], y[..., land] = 0.0, 0.0
    local = LocalLinear((4, 5), 1, 1, 1)
    local.fit(x, y, penalty=3.0, rounds=16)
    assert torch.isfinite(local.weight).all()
    assert local.weight.view(4, 5)[land].abs().max() < 1e-6
    if not whole:
        torch.testing.assert_close(
            local.weight.view(4, 5)[~land].mean().item(), 0.5, rtol=0, atol=0.05
        )


def test_a_penalty_counts_as_samples_of_zeros():
    x, y = torch.zeros(9, 1, 4), torch.rand(9, 1, 4, generator=torch.Generator().manual_seed(2))
    local = LocalLinear((4,), 1, 1, 3)
    local.fit(x, y, penalty=3.0)
    torch.testing.assert_close(local(x), (y.sum(0, keepdim=True) / 12).expand_as(y))


def test_what_cannot_be_is_refused():
    for cells, size, wrap in (((4,), 2, False), ((1, 2), 7, True)):
        with pytest.raises(OptionError, match="must be odd"):
            LocalLinear(cells, 1, 1, size, wrap=wrap)
    local = LocalLinear((4,), 1, 1, 3)
    with pytest.raises(ShapeError, match=r"learned about \(4,\) positions"):
        local(torch.zeros(1, 1, 5))
    with pytest.raises(OptionError, match="must be above 0"):
        local.fit(torch.zeros(1, 1, 4), torch.zeros(1, 1, 4), penalty=0.0)
