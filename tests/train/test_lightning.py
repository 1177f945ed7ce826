"""Lightning's Trainer and our loop take the same steps; needs the package `lightning`."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from convarium import data, models, tasks, train
from convarium.errors import MissingExtraError, OptionError
from convarium.train.config import options
from convarium.train.lightning_adapter import lightning_module

pytestmark = pytest.mark.filterwarnings("ignore")
TASK = tasks.Classification(classes=("0", "1", "2"))


def trainer(**options):
    lightning = pytest.importorskip("lightning")
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return lightning.Trainer(accelerator="cpu", enable_model_summary=False, **quiet, **options)


class Batches(torch.utils.data.IterableDataset):
    """The batches of our own loop, epoch by epoch."""

    def __init__(self, parts, preprocessing, config):
        self.parts, self.preprocessing, self.config = parts, preprocessing, config
        self.epoch = -1

    def __len__(self):
        return data.steps_per_epoch(self.parts.train, self.config.batch_size)

    def __iter__(self):
        self.epoch += 1
        yield from data.training_batches(
            self.parts.train, self.preprocessing, batch_size=self.config.batch_size,
            seed=self.config.seed, epoch=self.epoch,
            augmentation=data.Augmentation(flip=self.config.flip),
        )  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "sgd", "learning_rate": 0.05, "label_smoothing": 0.1},
        {"optimizer": "muon", "schedule": "one_cycle", "layer_decay": 0.5},
        {"optimizer": "adamw", "freeze_epochs": 1, "loss": "focal", "schedule": "linear"},
    ],
)
def test_the_trainer_ends_with_the_weights_of_our_loop(options, parts, preprocessing, network):
    pytest.importorskip("lightning")
    config = train.TrainConfig(epochs=2, batch_size=16, layout="contiguous", **options)
    ours, theirs = network(dropout=0.0), network(dropout=0.0)
    module = lightning_module(theirs, TASK, train.TrainConfig(**options))
    loader = DataLoader(Batches(parts, preprocessing, config), batch_size=None)
    trainer(max_epochs=2).fit(module, loader)
    best = []

    class Last:
        def on_start(self, **_):
            pass

        def on_step(self, step, loss):
            if step == 8:
                best.append({k: v.clone() for k, v in ours.state_dict().items()})

        def on_epoch(self, row):
            pass

    train.fit(ours, parts, config, preprocessing=preprocessing, observers=[Last()])
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(value, best[0][name], rtol=1e-4, atol=1e-6)


def test_pairs_of_any_loader_are_trained_on_and_scored(network):
    pytest.importorskip("lightning")
    torch.manual_seed(0)
    targets = torch.arange(48) % 3
    images = 0.1 * torch.randn(48, 1, 8, 8) + targets.view(-1, 1, 1, 1)
    loader = DataLoader(TensorDataset(images, targets), batch_size=16)
    config = train.TrainConfig(learning_rate=1e-2)
    module = lightning_module(network(dropout=0.0), TASK, config)
    run = trainer(max_epochs=12)
    run.fit(module, loader, loader)
    assert run.callback_metrics["val_acc"] > 0.9
    batch = (images[:5], targets[:5])
    plain = torch.nn.functional.cross_entropy(module(batch[0]), batch[1])
    module.log = lambda *_, **__: None
    torch.testing.assert_close(module.training_step(batch, 0), plain)


class Endless(torch.utils.data.IterableDataset):
    def __iter__(self):
        while True:
            yield torch.rand(6, 1, 8, 8), torch.arange(6) % 3


def test_a_loader_without_a_length_needs_the_number_of_steps(network):
    pytest.importorskip("lightning")
    loader = DataLoader(Endless(), batch_size=None)
    module = lightning_module(network(), TASK, train.TrainConfig())
    for epochs in (1, -1):
        with pytest.raises(OptionError, match="max_steps"):
            trainer(max_epochs=epochs).fit(module, loader)
    run = trainer(max_steps=3)
    run.fit(module, loader)
    assert run.global_step == 3


def test_a_stem_that_starts_from_data_takes_the_first_batch():
    pytest.importorskip("lightning")
    images = torch.rand(12, 1, 16, 16)
    model, alone = (models.create("speednet", in_channels=1, num_classes=3) for _ in range(2))
    loader = DataLoader(TensorDataset(images, torch.arange(12) % 3), batch_size=6)
    config = train.TrainConfig(learning_rate=1e-30, weight_decay=0.0)
    trainer(max_epochs=1).fit(lightning_module(model, TASK, config), loader)
    alone.start_from(images[:6])
    assert model.start_samples == 0
    assert torch.equal(model.stem.conv.weight, alone.stem.conv.weight)


def test_options_of_the_trainer_are_refused(network):
    pytest.importorskip("lightning")
    for given, place in (
        ({"accumulate": 2}, "accumulate_grad_batches"),
        ({"precision": "bf16"}, r"Trainer\(precision=\)"),
        ({"layout": "contiguous"}, "memory_format"),
        ({"epochs": 3}, "max_epochs.* default, 20"),
        ({"flip": False}, "your DataLoader"),
        ({"pad_crop": 4}, "your DataLoader"),
        ({"policy": "randaugment"}, "your DataLoader"),
        ({"mixup": 0.2}, "your DataLoader"),
        ({"seed": 3}, "seed_everything"),
        ({"deterministic": True}, r"Trainer\(deterministic=\)"),
        ({"soft_constraint": 0.5}, "belongs to fine fields"),
    ):
        with pytest.raises(OptionError, match=rf"^{next(iter(given))} .*{place}"):
            lightning_module(network(), TASK, train.TrainConfig(**given))
    with pytest.raises(OptionError, match="does not belong to classification"):
        lightning_module(network(), TASK, train.TrainConfig(loss="mse"))


def test_every_option_reaches_lightning_or_is_refused(network):
    pytest.importorskip("lightning")
    reach = {
        "optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.5, "nesterov": False,
        "weight_decay": 0.1, "layer_decay": 0.5, "schedule": "linear", "warmup": 0.5,
        "milestones": (3,), "gamma": 0.5, "freeze_epochs": 1, "unfreeze_epochs": 1, "loss": "focal",
        "label_smoothing": 0.5, "focal_gamma": 1.0, "huber_delta": 2.0,
    }  # fmt: skip
    other = {int: 3, float: 0.5, str: "x"}
    for name, kind, _, option in options():
        if name == "recipe":
            continue
        choices = option.metadata.get("choices")
        value = choices[-1] if choices else reach.get(name, other.get(kind))
        value = not option.default if kind is bool else value
        config = train.TrainConfig(**{name: value})
        assert getattr(config, name) != option.default
        if name in reach:
            assert lightning_module(network(), TASK, replace(config, loss="auto")) is not None
            continue
        with pytest.raises(OptionError, match=rf"^{name} \(="):
            lightning_module(network(), TASK, config)


def test_a_compromised_or_missing_lightning_is_refused(network, monkeypatch):
    for version in ("2.6.2", "2.6.3"):
        monkeypatch.setitem(sys.modules, "lightning", SimpleNamespace(__version__=version))
        with pytest.raises(MissingExtraError, match="compromised"):
            lightning_module(network(), TASK)
    monkeypatch.setitem(sys.modules, "lightning", None)
    with pytest.raises(MissingExtraError, match=r"convarium\[lightning\]"):
        lightning_module(network(), TASK)
