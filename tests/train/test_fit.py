"""The loop: exactness, averaged weights, early stopping, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from convarium import data, files, models, predict, train
from convarium.data import Augmentation, steps_per_epoch, training_batches
from convarium.errors import ConvariumError, OptionError, RunError, ShapeError
from convarium.train import TrainConfig
from convarium.train.schedule import learning_rate
from convarium.train.training import clean_samples

CONFIG = TrainConfig(
    epochs=2, batch_size=16, learning_rate=2e-3, pad_crop=1, ema=0.9, checkpoint_seconds=0.0
)


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(first, second) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_it_learns_and_keeps_the_history(parts, preprocessing, tmp_path, network):
    config = dataclasses.replace(CONFIG, epochs=24, learning_rate=1e-2, checkpoint_seconds=60.0)
    history = train.fit(
        network(dropout=0.0), parts, config, preprocessing=preprocessing, out=tmp_path / "run"
    )
    rows = files.read_jsonl(tmp_path / "run" / "history.jsonl")
    names = ["epoch", "train_loss", "train_acc", "val_loss", "val_acc", "lr", "seconds"]
    assert [list(row) for row in rows] == [names] * 24
    assert [row["epoch"] for row in rows] == list(range(1, 25))
    assert rows[-1]["train_acc"] > 0.9
    steps = steps_per_epoch(parts.train, 16)
    total = 24 * steps
    for row in rows:
        expected = learning_rate(row["epoch"] * steps - 1, total, peak=1e-2, warmup=0.2)
        assert row["lr"] == pytest.approx(expected)
    best = max(rows, key=lambda row: (row["val_acc"], -row["val_loss"]))
    assert history.best_epoch == best["epoch"]
    run = predict.open_run(tmp_path / "run")
    result = run.predictor.evaluate(parts.validation)
    assert result.score == best["val_acc"]
    assert result.loss == pytest.approx(best["val_loss"])


def test_first_step_is_the_hand_written_step(parts, preprocessing, network):
    config = TrainConfig(
        epochs=1,
        batch_size=len(parts.train),
        optimizer="sgd",
        learning_rate=0.1,
        momentum=0.0,
        weight_decay=0.0,
        warmup=0.0,
        flip=False,
        layout="contiguous",
    )
    ours, bare = network(dropout=0.0), network(dropout=0.0)
    history = train.fit(ours, parts, config, preprocessing=preprocessing)
    (batch,) = training_batches(
        parts.train,
        preprocessing,
        batch_size=len(parts.train),
        seed=0,
        epoch=0,
        augmentation=Augmentation(flip=False, pad_crop=0),
    )
    bare.train()
    loss = nn.functional.cross_entropy(bare(batch.inputs[0]), batch.target)
    loss.backward()
    with torch.no_grad():
        for parameter in bare.parameters():
            parameter -= 0.1 * parameter.grad
    assert history.rows[0]["train_loss"] == pytest.approx(loss.item(), rel=1e-6)
    for mine, theirs in zip(ours.parameters(), bare.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)


def test_loader_workers_do_not_change_a_bit(parts, preprocessing, tmp_path, network):
    for workers in (0, 1, 3):
        config = dataclasses.replace(CONFIG, workers=workers)
        train.fit(
            network(), parts, config, preprocessing=preprocessing, out=tmp_path / f"w{workers}"
        )
    first = weights(tmp_path / "w0")
    assert same(first, weights(tmp_path / "w1"))
    assert same(first, weights(tmp_path / "w3"))


def test_input_that_cannot_be_trained_leaves_no_folder(parts, preprocessing, tmp_path, network):
    out = tmp_path / "run"
    one = dataclasses.replace(CONFIG, batch_size=1)
    with pytest.raises(OptionError, match="batch norm"):
        train.fit(network(norm="batch"), parts, one, preprocessing=preprocessing, out=out)
    wrong = models.create("convnet", in_channels=1, num_classes=9, channels=[4], kernel_sizes=[3])
    with pytest.raises(ShapeError, match="num_classes=3"):
        train.fit(wrong, parts, CONFIG, preprocessing=preprocessing, out=out)
    assert not out.exists()


def test_early_stopping_stops_and_keeps_the_best(parts, preprocessing, network):
    config = dataclasses.replace(CONFIG, epochs=30, learning_rate=1e-2, patience=2, ema=None)
    history = train.fit(network(), parts, config, preprocessing=preprocessing)
    assert len(history.rows) < 30
    assert len(history.rows) == history.best_epoch + 2


def test_nan_loss_stops_at_once_and_names_the_step(parts, preprocessing, tmp_path, network):
    config = TrainConfig(
        epochs=3,
        batch_size=16,
        optimizer="sgd",
        learning_rate=1e30,
        warmup=0.0,
        checkpoint_seconds=0.0,
    )
    with pytest.raises(ConvariumError, match=r"after step \d+ .*learning rate") as caught:
        train.fit(network(), parts, config, preprocessing=preprocessing, out=tmp_path / "run")
    assert str(tmp_path / "run") in str(caught.value)
    state = load_file(next((tmp_path / "run").glob("checkpoint-*")) / "state.safetensors")
    assert all(value.isfinite().all() for value in state.values())
    assert not (tmp_path / "run" / "card.json").exists()


def test_a_head_of_the_wrong_size_is_named(parts, preprocessing):
    model = models.create("convnet", in_channels=1, num_classes=7, channels=[4], kernel_sizes=[3])
    with pytest.raises(ShapeError, match="num_classes=3"):
        train.fit(model, parts, CONFIG, preprocessing=preprocessing)


def test_a_network_without_a_name_cannot_be_kept(parts, preprocessing, tmp_path):
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(RunError, match=r"convarium\.create"):
        train.fit(plain, parts, CONFIG, preprocessing=preprocessing, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert train.fit(plain, parts, CONFIG, preprocessing=preprocessing).best_epoch >= 1


def test_the_callers_random_numbers_are_left_alone(parts, preprocessing, network):
    model = network()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train.fit(model, parts, CONFIG, preprocessing=preprocessing)
    assert torch.equal(torch.rand(3), expected)


def test_bf16_trains_and_keeps_float32_weights(parts, preprocessing, network):
    model = network()
    config = dataclasses.replace(CONFIG, precision="bf16", epochs=1)
    history = train.fit(model, parts, config, preprocessing=preprocessing)
    assert math.isfinite(history.rows[0]["train_loss"])
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_clipping_bounds_the_update(parts, preprocessing, network):
    config = TrainConfig(
        epochs=1,
        batch_size=len(parts.train),
        optimizer="sgd",
        learning_rate=1.0,
        momentum=0.0,
        weight_decay=0.0,
        warmup=0.0,
        clip_norm=0.01,
    )
    model = network(dropout=0.0)
    before = [p.detach().clone() for p in model.parameters()]
    train.fit(model, parts, config, preprocessing=preprocessing)
    moved = [(p - q).square().sum() for p, q in zip(model.parameters(), before, strict=True)]
    assert torch.stack(moved).sum().sqrt().item() == pytest.approx(0.01, rel=1e-3)


def test_a_last_batch_of_one_sample_does_not_reach_batch_norm(parts, preprocessing, network):
    n = len(parts.train)
    config = dataclasses.replace(CONFIG, epochs=1, batch_size=n - 1)
    history = train.fit(network(), parts, config, preprocessing=preprocessing)
    assert math.isfinite(history.rows[0]["val_loss"])


@pytest.mark.parametrize("mixing", [{"mixup": 0.2}, {"cutmix": 1.0}])
def test_training_accuracy_under_mixing_is_that_of_clean_images(
    mixing, parts, preprocessing, network
):
    config = dataclasses.replace(CONFIG, epochs=1, learning_rate=1e-2, **mixing)
    model = network()
    (row,) = train.fit(model, parts, config, preprocessing=preprocessing).rows
    right = total = 0
    for batch in data.batches(parts.train, preprocessing):
        right += (model(batch.inputs[0]).argmax(1) == batch.target).sum().item()
        total += len(batch.target)
    assert row["train_acc"] == right / total


def test_clean_samples_are_at_most_2000_and_the_same_in_every_epoch():
    digits = data.split(data.open_dataset("digits"), validation=0.1, test=0.1).train
    assert clean_samples(digits, 0) is digits
    large = data.Part(digits.dataset, np.tile(digits.ids, 3))
    chosen = clean_samples(large, 5)
    assert len(chosen) == 2000
    assert np.array_equal(chosen.ids, clean_samples(large, 5).ids)
    assert not np.array_equal(chosen.ids, clean_samples(large, 6).ids)
    assert np.isin(chosen.ids, large.ids).all()


def test_the_card_says_what_a_stranger_needs(parts, preprocessing, tmp_path, network):
    train.fit(network(), parts, CONFIG, preprocessing=preprocessing, out=tmp_path / "run")
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["format_version"] == 1
    assert card["task"] == "classification"
    assert card["classes"] == ["0", "1", "2"]
    assert card["model"]["name"] == "convnet"
    assert card["recipe"]["ema"] == 0.9
    counts = card["data"]["counts"]
    assert counts["train"] + counts["validation"] + counts["test"] == 90
    assert set(card["library"]) >= {"convarium", "torch", "python"}
    assert "test" not in card["result"]


@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
def test_evaluating_the_run_again_gives_the_stored_bits(parts, preprocessing, tmp_path, layout):
    model = models.create("resnet8", in_channels=1, num_classes=3)
    config = TrainConfig(epochs=1, batch_size=16, layout=layout, precision="bf16")
    history = train.fit(model, parts, config, preprocessing=preprocessing, out=tmp_path / "run")
    run = predict.open_run(tmp_path / "run")
    weight = next(each for each in run.model.parameters() if each.ndim == 4 and each.shape[1] > 1)
    last = weight.is_contiguous(memory_format=torch.channels_last)
    assert last == (layout == "channels_last")
    assert run.predictor.evaluate(parts.validation).loss == history.rows[0]["val_loss"]
