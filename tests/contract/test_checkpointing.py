"""Gradient checkpointing: the same gradients and statistics, with less kept for them."""

import pytest
import torch
from specimens import SPECIMENS

import convarium.models as models


def step(model, x):
    """One training pass with fixed draws: gradients, buffers, and the bytes kept for them."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    held = {p.untyped_storage().data_ptr() for p in model.parameters()}
    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model.train()(x).square().mean()
        total = sum(size for place, size in kept.items() if place not in held)
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    return gradients, {name: b.clone() for name, b in model.named_buffers()}, total


@pytest.mark.parametrize("kind", SPECIMENS)
def test_checkpointing_keeps_less_and_changes_nothing(kind):
    name, options, size = SPECIMENS[kind]
    results = []
    for frugal in (False, True):
        torch.manual_seed(0)
        model = models.create(name, **options)
        model.use_gradient_checkpointing(frugal)
        results.append(step(model, model.example_input(3, size=size)))
    (plain, moved, much), (frugal, kept, little) = results
    assert all(torch.equal(plain[name], frugal[name]) for name in plain)
    assert all(torch.equal(moved[name], kept[name]) for name in moved)
    assert little < 0.9 * much
