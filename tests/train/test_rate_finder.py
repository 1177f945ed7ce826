"""The sweep of learning rates: what it finds, and that it changes nothing."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn

from convarium import train
from convarium.data import training_batches
from convarium.errors import OptionError
from convarium.train import TrainConfig
from convarium.train.rate_finder import find_learning_rate

CONFIG = TrainConfig(epochs=2, batch_size=16, optimizer="sgd", momentum=0.0, flip=False)


@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_the_run_afterwards_has_the_bits_of_one_without(optimizer, parts, preprocessing, network):
    config = dataclasses.replace(CONFIG, optimizer=optimizer, freeze_epochs=1, mixup=0.2)
    plain, swept = network(norm="batch"), network(norm="batch")
    before = {name: value.clone() for name, value in swept.state_dict().items()}
    torch.manual_seed(4)
    found = find_learning_rate(swept, parts, config, preprocessing=preprocessing)
    number = torch.rand(1)
    torch.manual_seed(4)
    assert torch.equal(number, torch.rand(1))
    assert all(torch.equal(before[k], v) for k, v in swept.state_dict().items())
    assert swept.training == plain.training
    assert all(p.grad is None for p in swept.parameters())
    for model in (plain, swept):
        train.fit(model, parts, config, preprocessing=preprocessing)
    for one, other in zip(plain.parameters(), swept.parameters(), strict=True):
        assert torch.equal(one, other)
    assert found.suggestion == found.best / 10


def test_rates_grow_exponentially_and_losses_are_the_smoothed_ones(parts, preprocessing):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    found = find_learning_rate(
        model, parts, CONFIG, preprocessing=preprocessing, low=1e-4, high=1.0, steps=17
    )
    assert list(found.rates) == pytest.approx([1e-4 * 10 ** (k / 4) for k in range(17)])
    mean, losses = 0.0, []
    for epoch in range(5):
        for batch in training_batches(
            parts.train, preprocessing, batch_size=16, seed=0, epoch=epoch
        ):
            if len(losses) == 17:
                break
            loss = nn.functional.cross_entropy(model(batch.inputs[0]), batch.target)
            mean = 0.9 * mean + 0.1 * loss.item()
            losses.append(mean / (1 - 0.9 ** (len(losses) + 1)))
            slopes = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for parameter, slope in zip(model.parameters(), slopes, strict=True):
                    decay = 0.02 * parameter if parameter.ndim > 1 else 0
                    parameter -= found.rates[len(losses) - 1] * (slope + decay)
    assert list(found.losses) == pytest.approx(losses, rel=1e-4)
    assert found.best == found.rates[losses.index(min(losses))]


def test_the_suggestion_trains_and_thirty_times_the_best_does_not(parts, preprocessing, network):
    found = find_learning_rate(network(dropout=0.0), parts, CONFIG, preprocessing=preprocessing)
    assert f"--learning-rate {found.suggestion:.2g}" in found.sentence()
    losses = {}
    for word, rate in (("suggested", found.suggestion), ("absurd", 30 * found.best)):
        config = dataclasses.replace(CONFIG, epochs=6, learning_rate=rate, warmup=0.0)
        try:
            history = train.fit(network(dropout=0.0), parts, config, preprocessing=preprocessing)
            losses[word] = history.rows[-1]["train_loss"]
        except train.loop.ConvariumError:
            losses[word] = math.inf
    assert losses["suggested"] < 0.9 * math.log(3) < losses["absurd"]


def test_limits_that_do_not_grow_are_refused(parts, preprocessing, network):
    for options in ({"low": 1.0, "high": 0.1}, {"low": 0.0}, {"steps": 3}):
        with pytest.raises(OptionError, match="low"):
            find_learning_rate(network(), parts, preprocessing=preprocessing, **options)


def test_where_no_rate_helps_no_peak_is_suggested():
    falling = train.RateSweep((1e-6, 1e-4, 1e-2), (1.1, 1.0, 2.0), 1e-4)
    assert falling.suggestion == pytest.approx(1e-5)
    assert "--learning-rate 1e-05" in falling.sentence()
    rising = train.RateSweep((1e-6, 1e-4, 1e-2), (1.0, 1.1, 2.0), 1e-6)
    assert rising.suggestion is None
    assert "falls at no rate" in rising.sentence()
    assert "--learning-rate" not in rising.sentence()


@pytest.mark.parametrize(("lowest", "falls"), [(0.5, True), (0.95, False)])
def test_a_loss_that_falls_at_the_first_rates_has_fallen(lowest, falls):
    rates = tuple(1e-2 * 1.1**k for k in range(20))
    found = train.RateSweep(rates, (1.0, lowest, *[1.2] * 18), rates[1])
    assert found.suggestion == (pytest.approx(rates[1] / 10) if falls else None)
    assert ("falls at no rate" in found.sentence()) == (not falls)
