"""ReLUs that overwrite their inputs while a network trains."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convarium import models, train
from convarium.train import learner
from convarium.train.overwriting import Overwriting, overwritable


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
    with Overwriting(model, size).step():
        assert any(getattr(module, "inplace", False) for module in model.modules())
        found = gradients()
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert not any(getattr(module, "inplace", False) for module in model.modules())


def test_training_overwrites_and_leaves_the_network_as_it_was(parts, preprocessing, monkeypatch):
    seen = []
    model = models.create("resnet8", in_channels=1, num_classes=3)
    gradient = learner.Learner.gradient

    def watched(self, batch, **options):
        seen.append(sum(getattr(module, "inplace", False) for module in model.modules()))
        return gradient(self, batch, **options)

    monkeypatch.setattr(learner.Learner, "gradient", watched)
    train.fit(model, parts, train.TrainConfig(epochs=1), preprocessing=preprocessing)
    assert seen[0] > 5
    assert not any(getattr(module, "inplace", False) for module in model.modules())


def test_a_training_that_fails_leaves_the_network_as_it_was(parts, preprocessing, monkeypatch):
    model = models.create("resnet8", in_channels=1, num_classes=3)

    def fail(self, batch, **_):
        raise RuntimeError("no")

    monkeypatch.setattr(learner.Learner, "gradient", fail)
    with pytest.raises(RuntimeError, match="no"):
        train.fit(model, parts, train.TrainConfig(epochs=1), preprocessing=preprocessing)
    assert not any(getattr(module, "inplace", False) for module in model.modules())


HOOKS = {
    "forward": lambda layer, note: layer.register_forward_hook(lambda m, x, y: note(y)),
    "pre": lambda layer, note: layer.register_forward_pre_hook(lambda m, x: note(x[0])),
    "backward": lambda layer, note: layer.register_full_backward_hook(lambda m, x, y: note(y[0])),
    "backward pre": lambda layer, note: layer.register_full_backward_pre_hook(
        lambda m, y: note(y[0])
    ),
    "everywhere": lambda layer, note: nn.modules.module.register_module_forward_pre_hook(
        lambda m, x: note(x[0]) if m is layer else None
    ),
}


class Looker:
    """An observer that hooks a layer after the first step, and keeps what it sees, and copies."""

    def __init__(self, layer, kind):
        self.layer, self.kind, self.seen, self.hook = layer, kind, [], None

    def on_start(self, **_):
        pass

    def on_step(self, step, loss):
        if self.hook is None:
            self.hook = HOOKS[self.kind](self.layer, self._note)

    def _note(self, value):
        self.seen.append((value, value.detach().clone()))

    def on_epoch(self, row):
        self.hook.remove()


@pytest.mark.parametrize("kind", HOOKS)
@pytest.mark.parametrize("place", ["norm", "relu"])
def test_who_hooks_a_layer_while_it_trains_sees_what_it_gave(kind, place, parts, preprocessing):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    model.append(nn.Linear(144, 3))
    looker = Looker(model[1 if place == "norm" else 2], kind)
    config = train.TrainConfig(epochs=1, batch_size=16)
    train.fit(model, parts, config, preprocessing=preprocessing, observers=[looker])
    assert len(looker.seen) >= 3
    assert all(torch.equal(kept.detach(), copy) for kept, copy in looker.seen)


def test_hooks_of_every_kind_leave_a_network_as_it_is():
    for kind, hooked in HOOKS.items():
        model = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU())
        hook = hooked(model[0], lambda _: None)
        try:
            assert overwritable(model, (2, 3)) == [], kind
        finally:
            hook.remove()
        assert overwritable(model, (2, 3)) == [model[1]]


def test_observers_and_validation_find_no_layer_that_overwrites(parts, preprocessing):
    model = models.create("resnet8", in_channels=1, num_classes=3)
    found = []

    class Watch:
        def look(self, *_, **__):
            found.append(any(getattr(module, "inplace", False) for module in model.modules()))

        on_start = on_step = on_epoch = look

    train.fit(
        model, parts, train.TrainConfig(epochs=1), preprocessing=preprocessing, observers=[Watch()]
    )
    assert found
    assert not any(found)
