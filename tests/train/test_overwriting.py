"""ReLUs that overwrite their inputs while a network trains."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convarium import models, train
from convarium.train import training
from convarium.train.overwriting import overwritable, overwriting


class Branches(nn.Module):
    """What the first ReLU reads is read again; the second stands behind a sum, once."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.act, self.last = nn.BatchNorm1d(3), nn.ReLU(), nn.ReLU()

    def forward(self, x):
        y = self.norm(x)
        return self.last(self.act(y) + y)


class OnlyInEvaluation(nn.Sequential):
    """What the ReLU reads is read again where nothing is learnt."""

    def forward(self, x):
        y = self[0](x)
        return self[1](y) if self.training else self[1](y) + y


def test_only_what_nobody_else_reads_is_overwritten():
    model = Branches()
    assert overwritable(model, (2, 3)) == [model.last]
    twice = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU())
    assert overwritable(twice, (2, 3)) == [twice[1]]
    behind_linear = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    assert overwritable(behind_linear, (2, 3)) == []
    shared = nn.ReLU()
    assert overwritable(nn.Sequential(shared, nn.BatchNorm1d(3), shared), (2, 3)) == []
    assert overwritable(OnlyInEvaluation(nn.BatchNorm1d(3), nn.ReLU()), (2, 3)) == []


def test_a_network_with_hooks_or_one_that_cannot_be_traced_stays_as_it_is():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU())
    hook = model[0].register_forward_hook(lambda *_: None)
    assert overwritable(model, (2, 3)) == []
    hook.remove()
    assert overwritable(model, (2, 4)) == []
    assert overwritable(model, (2, 3)) == [model[1]]


@pytest.mark.parametrize("name", ["densenet_40_12", "resnet18", "mobilenet_v2"])
def test_gradients_are_the_same_bits(name):
    torch.manual_seed(0)
    size = (2, 3, 32, 32)
    model = models.create(name, num_classes=5).train()
    x = torch.randn(size)

    def gradients():
        model.zero_grad()
        torch.manual_seed(1)
        model(x).square().sum().backward()
        return [p.grad.clone() for p in model.parameters()]

    state = {key: value.clone() for key, value in model.state_dict().items()}
    expected = gradients()
    model.load_state_dict(state)
    assert len(overwritable(model, size)) > 15
    with overwriting(model, size):
        assert any(getattr(module, "inplace", False) for module in model.modules())
        found = gradients()
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert not any(getattr(module, "inplace", False) for module in model.modules())


def test_training_overwrites_and_leaves_the_network_as_it_was(parts, preprocessing, monkeypatch):
    seen = []
    model = models.create("resnet8", in_channels=1, num_classes=3)
    epoch = training.Training._epoch

    def watched(self):
        seen.append(sum(getattr(module, "inplace", False) for module in model.modules()))
        epoch(self)

    monkeypatch.setattr(training.Training, "_epoch", watched)
    train.fit(model, parts, train.TrainConfig(epochs=1), preprocessing=preprocessing)
    assert seen[0] > 5
    assert not any(getattr(module, "inplace", False) for module in model.modules())


def test_a_training_that_fails_leaves_the_network_as_it_was(parts, preprocessing, monkeypatch):
    model = models.create("resnet8", in_channels=1, num_classes=3)

    def fail(self):
        raise RuntimeError("no")

    monkeypatch.setattr(training.Training, "_epoch", fail)
    with pytest.raises(RuntimeError, match="no"):
        train.fit(model, parts, train.TrainConfig(epochs=1), preprocessing=preprocessing)
    assert not any(getattr(module, "inplace", False) for module in model.modules())
