"""The loop: exactness, resume, averaged weights, early stopping, and what it refuses."""

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
from convarium.errors import ConvariumError, RunError, ShapeError
from convarium.train import TrainConfig
from convarium.train.schedule import learning_rate

CONFIG = TrainConfig(
    epochs=2, batch_size=16, learning_rate=2e-3, pad_crop=1, ema=0.9, checkpoint_seconds=0.0
)


class Killed(BaseException):
    """Stands for a death at a chosen step."""


class KillAt:
    """An observer that ends the training after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_start(self, **_: int) -> None:
        pass

    def on_step(self, step: int, loss: float) -> None:
        if step == self.step:
            raise Killed

    def on_epoch(self, row: object) -> None:
        pass


@pytest.fixture
def parts(tmp_path):
    generator = np.random.Generator(np.random.PCG64(0))
    targets = np.arange(90) % 3
    images = generator.integers(0, 60, (90, 8, 8), dtype=np.uint8)
    images[targets == 0, ::2] += 190
    images[targets == 1, :, ::2] += 190
    np.savez(tmp_path / "bars.npz", x=images, y=targets)
    return data.split(data.open_dataset(tmp_path / "bars.npz"), seed=0)


@pytest.fixture
def preprocessing(parts):
    return data.fit_preprocessing(parts.train)


def network(dropout: float = 0.2, **options) -> nn.Module:
    torch.manual_seed(0)
    return models.create(
        "convnet",
        in_channels=1,
        num_classes=3,
        channels=[8, 8],
        kernel_sizes=[3, 3],
        dropout=dropout,
        **options,
    )


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(first, second) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_it_learns_and_keeps_the_history(parts, preprocessing, tmp_path):
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


def test_first_step_is_the_hand_written_step(parts, preprocessing):
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


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("step", [1, 3, 4, 5, 8])
def test_resume_after_a_death_ends_with_the_same_bits(
    parts, preprocessing, tmp_path, step, workers
):
    config = dataclasses.replace(CONFIG, workers=workers)
    train.fit(network(), parts, config, preprocessing=preprocessing, out=tmp_path / "whole")
    with pytest.raises(Killed):
        train.fit(
            network(),
            parts,
            config,
            preprocessing=preprocessing,
            out=tmp_path / "cut",
            observers=[KillAt(step)],
        )
    torch.manual_seed(99)  # what the process drew in between does not matter
    train.fit(
        network(), parts, config, preprocessing=preprocessing, out=tmp_path / "cut", resume=True
    )
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    whole, cut = (files.read_jsonl(tmp_path / name / "history.jsonl") for name in ("whole", "cut"))
    for first, second in zip(whole, cut, strict=True):
        first.pop("seconds"), second.pop("seconds")
        assert first == second


def test_loader_workers_do_not_change_a_bit(parts, preprocessing, tmp_path):
    for workers in (0, 1, 3):
        config = dataclasses.replace(CONFIG, workers=workers)
        train.fit(
            network(), parts, config, preprocessing=preprocessing, out=tmp_path / f"w{workers}"
        )
    first = weights(tmp_path / "w0")
    assert same(first, weights(tmp_path / "w1"))
    assert same(first, weights(tmp_path / "w3"))


def test_a_damaged_checkpoint_gives_way_to_the_one_before(parts, preprocessing, tmp_path):
    train.fit(network(), parts, CONFIG, preprocessing=preprocessing, out=tmp_path / "whole")
    with pytest.raises(Killed):
        train.fit(
            network(),
            parts,
            CONFIG,
            preprocessing=preprocessing,
            out=tmp_path / "cut",
            observers=[KillAt(4)],
        )
    latest = tmp_path / "cut" / (tmp_path / "cut" / "latest").read_text().strip()
    state = latest / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-7] + b"garbage")
    with pytest.warns(UserWarning, match="damaged"):
        train.fit(
            network(),
            parts,
            CONFIG,
            preprocessing=preprocessing,
            out=tmp_path / "cut",
            resume=True,
        )
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_resume_refuses_other_settings_other_data_and_nothing(parts, preprocessing, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(RunError, match="no run"):
        train.fit(network(), parts, CONFIG, preprocessing=preprocessing, out=out, resume=True)
    train.fit(network(), parts, CONFIG, preprocessing=preprocessing, out=out)
    other = dataclasses.replace(CONFIG, learning_rate=1e-4)
    with pytest.raises(RunError, match="learning_rate"):
        train.fit(network(), parts, other, preprocessing=preprocessing, out=out, resume=True)
    with np.load(tmp_path / "bars.npz") as arrays:
        np.savez(tmp_path / "other.npz", x=arrays["x"] // 2, y=arrays["y"])
    changed = data.split(data.open_dataset(tmp_path / "other.npz"), seed=0)
    with pytest.raises(RunError, match="data differs"):
        train.fit(network(), changed, CONFIG, preprocessing=preprocessing, out=out, resume=True)


def test_an_existing_run_is_never_touched(parts, preprocessing, tmp_path):
    out = tmp_path / "run"
    train.fit(network(), parts, CONFIG, preprocessing=preprocessing, out=out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    with pytest.raises(RunError, match="already exists"):
        train.fit(network(), parts, CONFIG, preprocessing=preprocessing, out=out)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_a_finished_run_is_only_loaded_by_resume(parts, preprocessing, tmp_path):
    out = tmp_path / "run"
    first = train.fit(network(), parts, CONFIG, preprocessing=preprocessing, out=out)
    model = network()
    again = train.fit(model, parts, CONFIG, preprocessing=preprocessing, out=out, resume=True)
    assert again == first
    assert same(dict(model.state_dict()), weights(out))


def test_two_trainings_in_one_folder_are_refused(parts, preprocessing, tmp_path):
    class Second:
        def on_start(self, **_):
            with pytest.raises(RunError, match=r"Another process|already exists"):
                train.fit(
                    network(),
                    parts,
                    CONFIG,
                    preprocessing=preprocessing,
                    out=tmp_path / "run",
                    resume=True,
                )

        def on_step(self, step, loss):
            pass

        def on_epoch(self, row):
            pass

    train.fit(
        network(),
        parts,
        CONFIG,
        preprocessing=preprocessing,
        out=tmp_path / "run",
        observers=[Second()],
    )


def test_early_stopping_stops_and_keeps_the_best(parts, preprocessing):
    config = dataclasses.replace(CONFIG, epochs=30, learning_rate=1e-2, patience=2, ema=None)
    history = train.fit(network(), parts, config, preprocessing=preprocessing)
    assert len(history.rows) < 30
    assert len(history.rows) == history.best_epoch + 2


def test_nan_loss_stops_at_once_and_names_the_step(parts, preprocessing, tmp_path):
    config = TrainConfig(
        epochs=3,
        batch_size=16,
        optimizer="sgd",
        learning_rate=1e30,
        warmup=0.0,
        checkpoint_seconds=0.0,
    )
    with pytest.raises(ConvariumError, match=r"at step \d+ .*learning rate") as caught:
        train.fit(network(), parts, config, preprocessing=preprocessing, out=tmp_path / "run")
    assert str(tmp_path / "run") in str(caught.value)
    state = load_file(next((tmp_path / "run").glob("checkpoint-*")) / "state.safetensors")
    assert state
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


def test_the_callers_random_numbers_are_left_alone(parts, preprocessing):
    model = network()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train.fit(model, parts, CONFIG, preprocessing=preprocessing)
    assert torch.equal(torch.rand(3), expected)


def test_bf16_trains_and_keeps_float32_weights(parts, preprocessing):
    model = network()
    config = dataclasses.replace(CONFIG, precision="bf16", epochs=1)
    history = train.fit(model, parts, config, preprocessing=preprocessing)
    assert math.isfinite(history.rows[0]["train_loss"])
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_clipping_bounds_the_update(parts, preprocessing):
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


def test_a_last_batch_of_one_sample_does_not_reach_batch_norm(parts, preprocessing):
    n = len(parts.train)
    config = dataclasses.replace(CONFIG, epochs=1, batch_size=n - 1)
    history = train.fit(network(), parts, config, preprocessing=preprocessing)
    assert math.isfinite(history.rows[0]["val_loss"])


def test_the_card_says_what_a_stranger_needs(parts, preprocessing, tmp_path):
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
