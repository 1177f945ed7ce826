"""Batches in parts: the gradient of the whole batch, and dropout by number of the part."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convarium import data, seeds, train
from convarium.data import Batch, Mix
from convarium.errors import OptionError
from convarium.tasks import Classification, Objective
from convarium.train import TrainConfig
from convarium.train.gradients import Pass, parts_of

CONFIG = TrainConfig(epochs=2, batch_size=16, optimizer="sgd", learning_rate=0.05, warmup=0.0)


def passes(accumulate: int, **objective) -> Pass:
    return Pass(
        task=Classification(classes=("0", "1", "2")), objective=Objective(**objective),
        device=torch.device("cpu"), memory_format=torch.contiguous_format, precision="fp32",
        accumulate=accumulate, seed=7,
    )  # fmt: skip


def batch(n: int = 13) -> Batch:
    generator = torch.Generator().manual_seed(0)
    ids = torch.arange(n)
    mix = Mix((ids + 1) % 3, torch.rand(n, generator=generator))
    inputs = torch.randn(n, 1, 8, 8, generator=generator)
    weight = torch.rand(n, generator=generator)
    return Batch(inputs=(inputs,), target=ids % 3, mask=None, index=ids, weight=weight, mix=mix)


@pytest.mark.parametrize("accumulate", [2, 3, 5, 6])
def test_the_gradient_is_that_of_the_whole_batch(accumulate, network):
    found = []
    for parts in (1, accumulate):
        model = network(dropout=0.0, norm="layer")
        objective = {"class_weights": (1.0, 0.5, 2.0), "label_smoothing": 0.1}
        computed = passes(parts, **objective).backward(model, batch(), epoch=0, step=0)
        found.append((computed, [p.grad for p in model.parameters()]))
    (whole, large), (parted, small) = found
    assert parted.loss == pytest.approx(whole.loss, rel=1e-6)
    assert parted.score_sum == whole.score_sum
    for one, other in zip(large, small, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-7)


def test_a_training_in_parts_is_the_training_in_whole_batches(parts, preprocessing, network):
    models = []
    for accumulate in (1, 4):
        config = dataclasses.replace(CONFIG, accumulate=accumulate, mixup=0.2, clip_norm=0.5)
        model = network(dropout=0.0, norm="layer")
        history = train.fit(model, parts, config, preprocessing=preprocessing)
        models.append((model, history.rows[-1]["val_loss"]))
    (one, loss), (other, parted) = models
    assert parted == pytest.approx(loss, rel=1e-5)
    for large, small in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(small, large, rtol=1e-4, atol=1e-6)


def test_dropout_follows_from_the_number_of_the_part(network):
    model = network(dropout=0.5, norm="layer").train()
    passes(3).backward(model, batch(), epoch=2, step=5)
    found = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    for number, part in enumerate(parts_of(batch(), 3)):
        seeds.torch_seed(torch.device("cpu"), 7, "dropout", 2, 5 * 3 + number)
        loss = passes(1).task.loss(model(part.inputs[0]), part, Objective())
        (loss * len(part) / 13).backward()
    for expected, parameter in zip(found, model.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected)


@given(st.integers(1, 60), st.integers(1, 20))
def test_parts_are_even_whole_and_never_single(n, count):
    whole = batch(n)
    found = list(parts_of(whole, count))
    sizes = [len(part) for part in found]
    assert len(found) <= count
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= min(n, 2)
    assert torch.equal(torch.cat([part.index for part in found]), whole.index)
    assert torch.equal(torch.cat([part.inputs[0] for part in found]), whole.inputs[0])
    assert torch.equal(torch.cat([part.mix.share for part in found]), whole.mix.share)
    assert torch.equal(torch.cat([part.weight for part in found]), whole.weight)


def test_parts_too_small_are_refused(parts, preprocessing, network):
    with pytest.raises(OptionError, match="at most batch_size"):
        TrainConfig(batch_size=8, accumulate=9)
    config = TrainConfig(batch_size=16, accumulate=12)
    with pytest.raises(OptionError, match="use at most 8"):
        train.fit(network(norm="batch"), parts, config, preprocessing=preprocessing)
    assert data.steps_per_epoch(parts.train, 16) > 1
