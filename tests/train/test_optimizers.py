"""Groups without decay, averaged weights, and optimisers against hand-written updates."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from convarium import models
from convarium.errors import OptionError
from convarium.train import TrainConfig
from convarium.train.averaging import AveragedWeights
from convarium.train.optimizers import (
    build_optimizer,
    optimizer_tensors,
    parameter_groups,
    restore_optimizer,
    set_rate,
)


def test_norms_and_biases_do_not_decay_and_every_parameter_is_in_one_group():
    model = models.create("resnet8", num_classes=3)
    groups = {group["name"]: group for group in parameter_groups(model, 0.1)}
    decayed = {id(p) for p in groups["weights"]["params"]}
    plain = {id(p) for p in groups["norms and biases"]["params"]}
    assert groups["weights"]["weight_decay"] == 0.1
    assert groups["norms and biases"]["weight_decay"] == 0.0
    weights = {id(m.weight) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert decayed == weights
    assert decayed | plain == {id(p) for p in model.parameters()}
    assert not decayed & plain


def test_layer_norm_over_several_axes_does_not_decay():
    model = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm((2, 3)))
    groups = parameter_groups(model, 0.1)
    assert [len(group["params"]) for group in groups] == [1, 3]


def test_the_lengths_of_weight_norm_do_not_decay_and_its_directions_do():
    model = models.create("tcn", channels=[4, 4], num_classes=3)
    groups = {group["name"]: group for group in parameter_groups(model, 0.1)}
    decayed = {id(p) for p in groups["weights"]["params"]}
    told = {name: id(p) in decayed for name, p in model.named_parameters()}
    lengths = [name for name in told if name.endswith("original0")]
    assert len(lengths) == 4
    assert not any(told[name] for name in lengths)
    assert all(told[name] for name in told if name.endswith("original1"))
    assert told["head.weight"]


def test_no_decay_group_really_stays_without_gradient():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    optimizer = build_optimizer(model, TrainConfig(weight_decay=0.5, learning_rate=0.1))
    before = {name: value.clone() for name, value in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    after = dict(model.named_parameters())
    torch.testing.assert_close(after["0.weight"], before["0.weight"] * (1 - 0.1 * 0.5))
    for name in ("0.bias", "1.weight", "1.bias"):
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=0)


def test_sgd_is_nesterovs_update():
    weight = nn.Parameter(torch.tensor([[1.0]]))
    model = nn.Module()
    model.weight = weight
    config = TrainConfig(optimizer="sgd", learning_rate=0.1, momentum=0.9, weight_decay=0.01)
    optimizer = build_optimizer(model, config)
    value, speed = 1.0, 0.0
    for gradient in (0.5, -0.2, 0.7):
        weight.grad = torch.tensor([[gradient]])
        optimizer.step()
        slope = gradient + 0.01 * value
        speed = 0.9 * speed + slope
        value -= 0.1 * (slope + 0.9 * speed)
        assert weight.item() == pytest.approx(value, rel=1e-6)


def test_averaged_weights_follow_the_formula_and_copy_counters():
    model = nn.BatchNorm1d(1)
    averaged = AveragedWeights(model, decay=0.5)
    expected = 1.0
    for step in range(1, 6):
        with torch.no_grad():
            model.weight.fill_(float(step))
        model.num_batches_tracked.fill_(step)
        averaged.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        assert averaged.state["weight"].item() == pytest.approx(expected, rel=1e-6)
        assert averaged.state["num_batches_tracked"].item() == step


@pytest.mark.parametrize("rule", ["sgd", "adamw", "muon"])
def test_a_restored_optimiser_goes_on_with_the_same_bits(rule):
    def build():
        torch.manual_seed(0)
        model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        return model, build_optimizer(model, TrainConfig(optimizer=rule))

    def step(model, optimizer, seed):
        x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()

    first, optimizer = build()
    for seed in range(3):
        step(first, optimizer, seed)
    second, other = build()
    second.load_state_dict(first.state_dict())
    restore_optimizer(other, second, optimizer_tensors(optimizer, first))
    step(first, optimizer, 9)
    step(second, other, 9)
    assert torch.equal(first.weight, second.weight)


def test_layer_decay_really_scales_the_step_of_each_stage():
    torch.manual_seed(0)
    model = models.create("resnet8", widths=[4, 4, 4], num_classes=2)
    config = TrainConfig(
        optimizer="sgd", learning_rate=0.1, momentum=0.0, weight_decay=0.0, layer_decay=0.5
    )
    optimizer = build_optimizer(model, config)
    set_rate(optimizer, 0.2)  # as a schedule does before each step
    before = {name: value.clone() for name, value in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    scale = {"head": 1.0, "layer3": 0.5, "layer2": 0.25, "layer1": 0.125, "stem": 0.0625}
    for name, value in model.named_parameters():
        step = before[name] - value
        expected = torch.full_like(step, 0.2 * scale[name.partition(".")[0]])
        torch.testing.assert_close(step, expected, rtol=1e-4, atol=1e-6)


def test_layer_decay_leaves_out_what_is_frozen_and_forgets_nothing():
    model = models.create("resnet8", widths=[4, 4, 4], order="pre")
    model.freeze("layer1")
    groups = parameter_groups(model, 0.1, layer_decay=0.5)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert [group["name"] for group in groups][-3:] == [
        "final norms and biases",
        "head weights",
        "head norms and biases",
    ]
    assert [group["rate_scale"] for group in groups][-3:] == [0.5, 1.0, 1.0]


def test_a_decay_by_layers_needs_stages_and_an_optimiser_something_to_learn():
    plain = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(OptionError, match=r"layer_decay \(=0\.5\) needs a network"):
        parameter_groups(plain, 0.1, layer_decay=0.5)
    with pytest.raises(OptionError, match="nothing to learn"):
        parameter_groups(plain.requires_grad_(False), 0.1)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_takes_in_parameters_that_begin_to_learn_later(momentum):
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    theirs = copy.deepcopy(ours)
    config = TrainConfig(optimizer="sgd", momentum=momentum, learning_rate=0.1, weight_decay=0.0)
    nesterov = momentum > 0
    plain = torch.optim.SGD(
        theirs.parameters(), lr=0.1, momentum=momentum, nesterov=nesterov, foreach=False
    )
    inputs = torch.randn(5, 3)
    for model, rule in ((ours, build_optimizer(ours, config)), (theirs, plain)):
        for step in range(4):
            rule.zero_grad()
            model[0].requires_grad_(step > 1)
            model(inputs).square().sum().backward()
            rule.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
