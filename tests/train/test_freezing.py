"""The head first, then stage after stage; what is frozen keeps every bit."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from convarium import models, train
from convarium.errors import OptionError
from convarium.train import TrainConfig

CONFIG = TrainConfig(epochs=1, batch_size=16, learning_rate=1e-2, warmup=0.0)


def resnet():
    torch.manual_seed(0)
    return models.create("resnet8", in_channels=1, num_classes=3, widths=[4, 4, 4])


class Watch:
    """Which children moved in each epoch, buffers included."""

    def __init__(self, model):
        self.model, self.moved = model, []

    def on_start(self, **_):
        self.before = {k: v.clone() for k, v in self.model.state_dict().items()}

    def on_step(self, step, loss):
        pass

    def on_epoch(self, row):
        now = {k: v.clone() for k, v in self.model.state_dict().items()}
        changed = {k.split(".")[0] for k in now if not torch.equal(now[k], self.before[k])}
        self.moved.append([name for name in self.model.in_order() if name in changed])
        self.before = now


ALL = ["stem", "layer1", "layer2", "layer3", "head"]


@pytest.mark.parametrize(
    ("freeze", "unfreeze", "expected"),
    [
        (0, 0, [ALL] * 3),
        (2, 0, [ALL[4:], ALL[4:], ALL]),
        (1, 1, [ALL[4:], ALL[3:], ALL[2:], ALL[1:], ALL, ALL]),
        (0, 2, [ALL[3:], ALL[3:], ALL[2:], ALL[2:], ALL[1:]]),
        (9, 1, [ALL[4:]] * 3),
    ],
)
def test_what_learns_in_which_epoch(freeze, unfreeze, expected, parts, preprocessing):
    model = resnet()
    watch = Watch(model)
    config = dataclasses.replace(
        CONFIG, epochs=len(expected), freeze_epochs=freeze, unfreeze_epochs=unfreeze
    )
    train.fit(model, parts, config, preprocessing=preprocessing, observers=[watch])
    assert watch.moved == expected
    assert model.frozen == ()
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_what_the_caller_froze_stays_frozen(parts, preprocessing):
    model = resnet()
    model.freeze("layer1")
    model.head.bias.requires_grad_(False)
    watch = Watch(model)
    config = dataclasses.replace(CONFIG, epochs=4, freeze_epochs=1, unfreeze_epochs=1)
    before = model.head.bias.clone()
    train.fit(model, parts, config, preprocessing=preprocessing, observers=[watch])
    assert watch.moved == [ALL[4:], ALL[3:], ALL[2:], ALL[2:]]
    assert model.frozen == ("stem", "layer1")
    assert torch.equal(model.head.bias, before)
    assert not model.head.bias.requires_grad
    assert model.head.weight.requires_grad


def test_a_module_without_stages_is_refused(parts, preprocessing):
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    config = dataclasses.replace(CONFIG, freeze_epochs=1)
    with pytest.raises(OptionError, match="stages"):
        train.fit(plain, parts, config, preprocessing=preprocessing)
