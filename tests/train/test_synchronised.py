"""Batch norms over all processes: who gets them, and what a process without samples does."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from several import in_processes
from torch import nn

from convarium import data, models, train
from convarium.data import Batch
from convarium.errors import ConvariumError
from convarium.layers import MaskedBatchNorm1d
from convarium.processes import ALONE, World
from convarium.train.choices import settled
from convarium.train.from_config import device_named
from convarium.train.gradients import parts_of
from convarium.train.learner import Learner
from convarium.train.synchronised import SyncedNorms, sees_all


def of_size(count: int) -> Batch:
    ids = torch.arange(count)
    return Batch(
        inputs=(torch.ones(count, 1, 8, 8),), target=ids % 3, mask=None, index=ids, weight=None
    )


def test_norms_are_replaced_and_put_back_with_what_they_learnt():
    model = models.create("resnet8", in_channels=1, num_classes=3).train()
    before = dict(model.named_modules())
    state = model.state_dict()
    norms = SyncedNorms(model, active=True)
    assert norms
    kinds = {type(module) for module in model.modules()}
    assert nn.SyncBatchNorm in kinds
    assert nn.BatchNorm2d not in kinds
    synced = model.state_dict()
    assert list(synced) == list(state)
    assert all(synced[name].data_ptr() == value.data_ptr() for name, value in state.items())
    one = next(m for m in model.modules() if isinstance(m, nn.SyncBatchNorm))
    one.running_mean.fill_(3.0)
    model.eval()
    norms.lift()
    assert dict(model.named_modules()) == before
    assert not any(module.training for module in model.modules())
    assert any(bool((value == 3).all()) for name, value in model.state_dict().items())


def learnt(world: World) -> list[list[float]]:
    """Statistics and summed gradients of a norm of padded sequences, each process with a share."""
    torch.manual_seed(0)
    model = nn.Sequential(MaskedBatchNorm1d(3)).double().train()
    x, mask = torch.randn(4, 3, 6).double(), torch.arange(6) < torch.tensor([[6], [2], [5], [1]])
    norms = SyncedNorms(model, active=not world.alone)
    own = slice(world.rank, None, world.size)
    y = model[0](x[own], mask[own])
    (y * torch.arange(6.0) * mask[own].unsqueeze(1)).sum().backward()
    norms.lift()
    assert type(model[0]) is MaskedBatchNorm1d
    gradients = [p.grad for p in model.parameters()]
    world.add_up(gradients)
    return [t.tolist() for t in (model[0].running_mean, model[0].running_var, *gradients)]


def test_norms_of_padded_sequences_see_the_real_steps_of_all_processes():
    expected = learnt(ALONE)
    for found in in_processes(2, learnt):
        for one, other in zip(found, expected, strict=True):
            assert one == pytest.approx(other, rel=1e-9, abs=1e-12)


def test_only_processes_with_gpus_have_such_norms():
    assert not SyncedNorms(models.create("resnet8"), active=False)
    two = World(0, 2)
    assert sees_all(torch.device("cuda"), two)
    assert not sees_all(torch.device("cpu"), two)
    assert not sees_all(torch.device("cuda"), ALONE)


@pytest.mark.parametrize(("samples", "sizes"), [(0, [0, 0, 0]), (2, [1, 1, 0]), (7, [3, 2, 2])])
def test_processes_in_step_take_the_same_number_of_parts(samples, sizes):
    batch = of_size(samples)
    assert [len(part) for part in parts_of(batch, 3, exactly=True)] == sizes
    places = torch.cat([part.index for part in parts_of(batch, 3, exactly=True)])
    assert torch.equal(places, batch.index)


def test_a_process_without_samples_passes_through_the_network_and_adds_nothing(
    network, parts, preprocessing
):
    learner = Learner(network(0.0, norm="group"), parts, train.TrainConfig(), preprocessing)
    seen = []
    learner.model.register_forward_hook(lambda _, inputs, output: seen.append(len(output)))
    passes = dataclasses.replace(learner.passes, in_step=True, accumulate=2)
    learner.model.train()
    computed = passes.backward(learner.model, of_size(2), epoch=0, step=0)
    assert seen == [1, 1]
    expected = [p.grad.clone() for p in learner.model.parameters()]
    learner.optimizer.zero_grad()
    more = dataclasses.replace(passes, accumulate=4)
    assert more.backward(learner.model, of_size(2), epoch=0, step=0).loss == pytest.approx(
        computed.loss
    )
    assert seen == [1, 1, 1, 1, 0, 0]
    found = [p.grad for p in learner.model.parameters()]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, expected, strict=True))


def test_a_gpu_is_named_with_its_number_since_threads_have_their_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    assert device_named("auto") == device_named("cuda") == torch.device("cuda:3")
    assert device_named("cuda:1") == torch.device("cuda:1")
    assert device_named("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_named("auto") == torch.device("cpu")
    with pytest.raises(ConvariumError, match="use device='cpu'"):
        device_named("cuda")


def learns(world: World) -> float:
    """The loss of an epoch on a GPU, of a network with batch norms."""
    parts = data.split(data.open_dataset("digits"), seed=0)
    torch.manual_seed(0)
    model = models.create("convnet", in_channels=1, channels=[8, 8], dropout=0.0)
    config = train.TrainConfig(epochs=1, batch_size=64, precision="fp32", device="cuda", seed=0)
    config = settled(config)
    steps = data.fit_preprocessing(parts.train)
    history = train.fit(model, parts, config, preprocessing=steps, world=world)
    return history.rows[0]["train_loss"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_batch_norms_of_two_processes_see_what_those_of_one_see():
    assert in_processes(2, learns) == pytest.approx([learns(ALONE)] * 2, rel=0.01)
