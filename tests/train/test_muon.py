"""Muon against the singular value decomposition, torch's own rule for matrices, and AdamW."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from convarium import models
from convarium.train import TrainConfig
from convarium.train.muon import filter_banks, orthogonalised
from convarium.train.optimizers import build_optimizer, optimizer_tensors, restore_optimizer


@pytest.mark.parametrize("shape", [(16, 16), (8, 72), (72, 8), (1, 9), (64, 27)])
def test_the_update_is_close_to_the_nearest_orthogonal_matrix(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalised(matrix)
    inside = left.T @ found @ right.T  # what became of the singular values
    large = values > 0.03 * values.max()
    assert (inside - torch.diag(inside.diag())).abs().max() < 1e-3
    assert inside.diag()[large].min() > 0.65
    assert inside.diag().max() < 1.2
    assert (found - left @ right).norm() / (left @ right).norm() < 0.35
    scaled = orthogonalised(1e-4 * matrix)
    torch.testing.assert_close(scaled, found, rtol=1e-4, atol=1e-5)


def test_three_steps_equal_torchs_muon_on_the_matrix():
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Conv2d(6, 6, 3, bias=False) for _ in range(3)))
    twin = nn.Parameter(model[1].weight.detach().flatten(1).clone())
    config = TrainConfig(
        optimizer="muon", learning_rate=0.05, momentum=0.95, weight_decay=0.1, warmup=0.0
    )
    ours = build_optimizer(model, config)
    theirs = torch.optim.Muon(
        [twin], lr=0.05, momentum=0.95, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
    )
    for _ in range(3):
        gradient = torch.randn(6, 6, 3, 3)
        model[1].weight.grad, twin.grad = gradient, gradient.flatten(1).clone()
        before = twin.detach().clone()
        ours.step()
        theirs.step()
        moved = (twin - before).norm()
        # torch's works in bfloat16, ours in float32
        assert (model[1].weight.flatten(1) - twin).norm() < 0.02 * moved
        model[1].weight.data.copy_(twin.view(6, 6, 3, 3))


def test_the_rest_is_adamws_update():
    torch.manual_seed(0)
    model = models.create("resnet8", widths=[4, 4, 4], num_classes=2)
    twin = copy.deepcopy(model)
    muon = build_optimizer(model, TrainConfig(optimizer="muon", weight_decay=0.1))
    adamw = build_optimizer(twin, TrainConfig(optimizer="adamw", weight_decay=0.1))
    banks = filter_banks(model)
    for seed in range(3):
        for each in (model, twin):
            generator = torch.Generator().manual_seed(seed)
            for parameter in each.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
        muon.step()
        adamw.step()
    for (name, mine), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine, theirs) != (id(mine) in banks), name


def test_first_layer_head_groups_and_vectors_are_no_filter_banks():
    model = models.create("mobilenet_v2", width_multiplier=0.25, num_classes=3)
    banks = filter_banks(model)
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if weight is None:
            continue
        inner = isinstance(module, nn.Conv2d) and module.groups == 1 and not name.startswith("stem")
        assert (id(weight) in banks) == inner, name
    plain = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2))
    assert filter_banks(plain) == {id(plain[2].weight)}


def test_memory_order_and_the_caller_s_weights_change_nothing():
    def stepped(memory_format):
        torch.manual_seed(0)
        model = nn.Sequential(*(nn.Conv2d(4, 4, 3) for _ in range(3)))
        model.to(memory_format=memory_format)
        optimizer = build_optimizer(model, TrainConfig(optimizer="muon", learning_rate=0.1))
        for seed in range(2):
            x = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(seed))
            optimizer.zero_grad()
            model(x.contiguous(memory_format=memory_format)).square().mean().backward()
            optimizer.step()
        return model[1].weight.detach()

    torch.testing.assert_close(
        stepped(torch.channels_last), stepped(torch.contiguous_format), rtol=1e-4, atol=1e-5
    )


def test_torchs_own_state_dict_and_our_tensors_both_restore_it():
    def build():
        torch.manual_seed(0)
        model = models.create("resnet8", widths=[4, 4, 4], num_classes=2)
        return model, build_optimizer(model, TrainConfig(optimizer="muon", learning_rate=0.1))

    def step(model, optimizer, seed):
        x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()

    first, optimizer = build()
    step(first, optimizer, 0)
    others = []
    for way in ("tensors", "state dict"):
        other, rule = build()
        other.load_state_dict(first.state_dict())
        if way == "tensors":
            restore_optimizer(rule, other, optimizer_tensors(optimizer, first))
        else:
            rule.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        others.append((other, rule))
    for model, rule in [(first, optimizer), *others]:
        step(model, rule, 1)
    for other, _ in others:
        for mine, theirs in zip(first.parameters(), other.parameters(), strict=True):
            assert torch.equal(mine, theirs)
