"""How many samples fit: the search, the memory of the processor, and a step that does not fit."""

from __future__ import annotations

import dataclasses
import math
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from convarium import data, measure, predict, train
from convarium.errors import ConvariumError, OptionError
from convarium.train import TrainConfig
from convarium.train.batch_finder import free_memory, largest, largest_batch
from convarium.train.choices import DEFAULTS

CONFIG = TrainConfig(epochs=1, batch_size=32, optimizer="sgd")


@given(st.integers(0, 3000), st.integers(1, 2500))
def test_doubling_and_bisection_find_the_limit_in_few_tries(limit, most):
    tried = []

    def fits(n):
        tried.append(n)
        return n <= limit

    assert largest(fits, most) == min(limit, most)
    assert max(tried) <= most
    assert len(tried) <= 2 * math.log2(most) + 2


def test_on_the_processor_it_is_the_last_batch_whose_memory_fits(parts, preprocessing, network):
    model = network()
    shape = (1, *preprocessing.input_shape)
    cost = measure.cost(model, shape)
    for optimizer, copies in (("sgd", 2), ("adamw", 3)):  # memory, and the best weights
        config = dataclasses.replace(CONFIG, optimizer=optimizer)
        state = copies * cost.trained_bytes
        memory = cost.at_batch(23)["training_bytes"] + state + 5
        found = largest_batch(model, parts, config, preprocessing=preprocessing, memory=memory)
        assert found.size == 23
        assert "up to 23 samples" in found.sentence()
    huge = largest_batch(model, parts, CONFIG, preprocessing=preprocessing)
    assert huge.size == len(parts.train)
    assert 0 < huge.memory < free_memory() * 1.5
    with pytest.raises(OptionError, match="Not a single sample"):
        largest_batch(model, parts, CONFIG, preprocessing=preprocessing, memory=1000)


class Greedy(nn.Module):
    """Runs out of memory above a number of samples with gradients, as a GPU does."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.layer = nn.Linear(64, 3)

    def forward(self, x):
        if self.training and len(x) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.layer(x.flatten(1))


def test_a_step_that_does_not_fit_says_what_does_and_that_trains(parts, preprocessing, tmp_path):
    with pytest.raises(ConvariumError, match="9 samples at once") as caught:
        train.fit(Greedy(9), parts, CONFIG, preprocessing=preprocessing)
    assert "--accumulate 4" in str(caught.value)
    config = dataclasses.replace(CONFIG, accumulate=4)
    assert train.fit(Greedy(9), parts, config, preprocessing=preprocessing).best_epoch == 1
    with pytest.raises(ConvariumError, match="Not even two"):
        train.fit(Greedy(1), parts, CONFIG, preprocessing=preprocessing)


class Held(nn.Module):
    """Has memory for so many samples in all; each step holds its own until it has ended."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit, self.alive = limit, 0
        self.layer = nn.Linear(64, 3)

    def forward(self, x):
        taken = x.flatten(1) * 2
        if self.training:
            self.alive += len(x)
            weakref.finalize(taken, self.free, len(x))
            if self.alive > self.limit:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return self.layer(taken)

    def free(self, samples: int) -> None:
        self.alive -= samples


def test_what_the_failed_step_held_does_not_count(parts, preprocessing):
    given = dataclasses.replace(CONFIG, **DEFAULTS)  # or the copies of a probe would count as well
    with pytest.raises(ConvariumError, match="20 samples at once") as caught:
        train.fit(Held(20), parts, given, preprocessing=preprocessing)
    assert "--accumulate 2" in str(caught.value)
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)


class Late(nn.Module):
    """Runs out of memory once, at its second step; its norm takes no single sample."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.BatchNorm1d(3))
        self.steps = 0

    def forward(self, x):
        self.steps += self.training
        if self.steps == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.layers(x)


def test_a_batch_that_fits_when_tried_alone_is_still_divided(parts, preprocessing):
    with pytest.raises(ConvariumError, match="31 samples at once") as caught:
        train.fit(Late(), parts, CONFIG, preprocessing=preprocessing)
    assert "--accumulate 2" in str(caught.value)


class GreedyLooker(Greedy):
    """Runs out of memory above a number of samples without gradients."""

    def forward(self, x):
        if not self.training and len(x) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.layer(x.flatten(1))


def test_validation_that_does_not_fit_goes_in_halves(parts, preprocessing):
    def trained(limit):
        torch.manual_seed(0)
        model = GreedyLooker(limit)
        history = train.fit(model, parts, CONFIG, preprocessing=preprocessing)
        predictor = predict.Predictor(model, data.build_card(parts, preprocessing))
        fitted = predict.fit_temperature(predictor, parts.validation)
        flipped = predict.Predictor(model, predictor.card, tta="flip").records(parts.train)
        return history.rows[-1], fitted.temperature, [*flipped]

    whole, temperature, records = trained(limit=1000)
    for limit in (4, 1):
        row, again, halves = trained(limit)
        assert row["val_loss"] == pytest.approx(whole["val_loss"], rel=1e-5)
        assert again == pytest.approx(temperature, rel=1e-4)
        assert [each.id for each in halves] == [each.id for each in records]
        assert halves[-1].confidence == pytest.approx(records[-1].confidence, rel=1e-5)
    with pytest.raises(ConvariumError, match="Not even one sample"):
        trained(limit=0)
