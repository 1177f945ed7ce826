"""Classes of unequal size: equal parts in the loss, or equal places in an epoch."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from convarium import data, train
from convarium.errors import ConvariumError, DataError, OptionError
from convarium.train import TrainConfig
from convarium.train.learner import Learner
from convarium.train.sampling import balanced_order

CONFIG = TrainConfig(
    epochs=1, batch_size=512, optimizer="sgd", learning_rate=0.1, momentum=0.0, weight_decay=0.0,
    warmup=0.0, flip=False, layout="contiguous",
)  # fmt: skip


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 99), st.integers(0, 9))
def test_an_epoch_has_its_length_and_equal_classes_and_turns(sizes, seed, epoch):
    targets = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    order = balanced_order(targets, seed, epoch)
    assert len(order) == len(targets)
    counts = np.bincount(targets[order], minlength=len(sizes))
    assert counts.max() - counts.min() <= 1
    drawn = np.bincount(order, minlength=len(targets))
    for label in range(len(sizes)):
        own = drawn[targets == label]
        assert own.max() - own.min() <= 1
    assert np.array_equal(order, balanced_order(targets, seed, epoch))


def test_epochs_and_seeds_draw_other_samples_and_all_get_their_turn():
    targets = np.repeat([0, 1], [900, 100])
    orders = [balanced_order(targets, seed, epoch) for seed in (0, 1) for epoch in range(12)]
    assert len({order.tobytes() for order in orders}) == len(orders)
    assert len(np.unique(np.concatenate(orders[:12]))) == 1000
    with pytest.raises(DataError, match="no sample"):
        balanced_order(np.array([], np.int64), 0, 0)


@pytest.fixture
def uneven(tmp_path):
    """60 rows, 12 columns, 6 of neither."""
    targets = np.repeat([0, 1, 2], [60, 12, 6])
    images = np.random.default_rng(0).integers(0, 60, (78, 8, 8), dtype=np.uint8)
    images[targets == 0, ::2] += 190
    images[targets == 1, :, ::2] += 190
    np.savez(tmp_path / "uneven.npz", x=images, y=targets)
    return data.split(data.open_dataset(tmp_path / "uneven.npz"), seed=0)


def test_weights_are_those_of_torchs_loss(uneven, network):
    preprocessing = data.fit_preprocessing(uneven.train)
    config = dataclasses.replace(CONFIG, balance="weights")
    history = train.fit(network(dropout=0.0), uneven, config, preprocessing=preprocessing)
    counts = np.bincount(uneven.train.targets)
    weights = torch.tensor(counts.sum() / (3 * counts), dtype=torch.float32)
    (batch,) = data.batches(uneven.train, preprocessing, batch_size=512)
    outputs = network(dropout=0.0).train()(batch.inputs[0])
    # torch divides by the sum of the weights, which is the number of samples here
    loss = nn.functional.cross_entropy(outputs, batch.target, weight=weights)
    assert history.rows[0]["train_loss"] == pytest.approx(loss.item(), rel=1e-5)


@pytest.fixture
def tagged(tmp_path):
    """72 pictures: every second has rows, every ninth columns."""
    images = np.random.default_rng(0).integers(0, 60, (72, 8, 8), dtype=np.uint8)
    targets = np.stack([np.arange(72) % 2, np.arange(72) % 9 == 0], 1).astype(np.uint8)
    images[targets[:, 0] == 1, ::2] += 90
    images[targets[:, 1] == 1, :, ::2] += 90
    rows = [",".join(["path", "rows", "columns"])]
    for k, (image, labels) in enumerate(zip(images, targets, strict=True)):
        Image.fromarray(image).save(tmp_path / f"{k}.png")
        rows.append(f"{k}.png,{labels[0]},{labels[1]}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    labels = ("rows", "columns")
    dataset = data.open_dataset(tmp_path / "t.csv", label_column=labels, task="multilabel")
    return data.split(dataset, seed=0)


def test_weights_of_labels_are_those_of_torchs_loss(tagged, network):
    preprocessing = data.fit_preprocessing(tagged.train)
    config = dataclasses.replace(CONFIG, balance="weights")
    model = partial(network, dropout=0.0, num_classes=2)
    history = train.fit(model(), tagged, config, preprocessing=preprocessing)
    (batch,) = data.batches(tagged.train, preprocessing, batch_size=512)
    target = batch.target.float()
    n, yes = len(target), target.sum(0)
    torchs = nn.BCEWithLogitsLoss(pos_weight=(n - yes) / yes, weight=n / (2 * (n - yes)))
    expected = torchs(model().train()(batch.inputs[0]), target)
    assert history.rows[0]["train_loss"] == pytest.approx(expected.item(), rel=1e-5)


def test_a_label_that_all_have_cannot_be_balanced_nor_labels_drawn(tagged, network):
    preprocessing = data.fit_preprocessing(tagged.train)
    everyone = tagged.train.ids[tagged.train.targets[:, 0] == 1]
    same = dataclasses.replace(tagged, train=data.Part(tagged.train.dataset, everyone))
    for parts, balance, words in (
        (same, "weights", "one without each label, and 'rows' has .* of"),
        (tagged, "sampling", "use 'weights'"),
    ):
        config = dataclasses.replace(CONFIG, balance=balance)
        with pytest.raises(ConvariumError, match=words):
            train.fit(network(num_classes=2), parts, config, preprocessing=preprocessing)


def test_sampling_gives_the_network_each_class_as_often(uneven, network):
    preprocessing = data.fit_preprocessing(uneven.train)
    config = dataclasses.replace(CONFIG, balance="sampling", batch_size=8)
    learner = Learner(network(), uneven, config, preprocessing)
    seen = torch.cat([batch.target for batch in learner.batches(0)])
    counts = torch.bincount(seen, minlength=3)
    assert counts.sum() in (len(uneven.train), len(uneven.train) - 1)
    assert counts.max() - counts.min() <= 2
    again = torch.cat([batch.index for batch in learner.batches(0, start=3)])
    whole = torch.cat([batch.index for batch in learner.batches(0)])
    assert torch.equal(again, whole[24:])


def test_balancing_helps_the_rare_class_where_training_is_short(uneven, network):
    preprocessing = data.fit_preprocessing(uneven.train)
    rare = {}
    for balance in ("none", "weights", "sampling"):
        config = TrainConfig(
            epochs=6, batch_size=16, learning_rate=5e-3, balance=balance, flip=False
        )
        model = network(dropout=0.0)
        train.fit(model, uneven, config, preprocessing=preprocessing)
        (batch,) = data.batches(uneven.train, preprocessing, batch_size=512)
        chances = model(batch.inputs[0]).softmax(1)[batch.target == 2, 2]
        rare[balance] = chances.mean().item()
    assert min(rare["weights"], rare["sampling"]) > rare["none"]


def test_a_class_without_training_samples_cannot_be_balanced(uneven, network):
    preprocessing = data.fit_preprocessing(uneven.train)
    keep = uneven.train.targets != 2
    fewer = dataclasses.replace(
        uneven, train=data.Part(uneven.train.dataset, uneven.train.ids[keep])
    )
    for balance in ("weights", "sampling"):
        config = dataclasses.replace(CONFIG, balance=balance)
        with pytest.raises(DataError, match="each class"):
            train.fit(network(), fewer, config, preprocessing=preprocessing)
    with pytest.raises(OptionError, match="'none'"):
        TrainConfig(balance="weight")
