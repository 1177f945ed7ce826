"""Padding changes nothing: what a network gives for padded sequences is what it gives for each one
alone, in evaluation and in training, whatever stands in the padding."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from specimens import SEQUENCES, SPECIMENS
from torch import nn

import convarium.models as models
from convarium.errors import ShapeError

EXACT = {"rtol": 0, "atol": 1e-12}
NORMED = [kind for kind in SEQUENCES if kind not in ("tcn", "text_cnn")]


def network(kind, **more):
    torch.manual_seed(0)
    name, options, _ = SPECIMENS[kind]
    model = models.create(name, **{**options, **more}).double().eval()
    for key, tensor in model.named_buffers():
        if key.endswith("running_mean"):
            nn.init.uniform_(tensor, -0.5, 0.0)
        if key.endswith("running_var"):
            nn.init.uniform_(tensor, 0.5, 1.5)
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout1d):
            module.p = 0.0
    return model


def batch(model, lengths, longest, seed=1):
    """Sequences of these lengths in one batch, with what must not be read behind each."""
    x = model.example_input(len(lengths), longest, seed=seed)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    rest = 7 if model.input_kind == "tokens" else math.nan
    return x, torch.where(mask if x.ndim == 2 else mask[:, None], x, rest), mask


@pytest.mark.parametrize("kind", SEQUENCES)
@settings(max_examples=8)
@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=3), more=st.integers(0, 5))
def test_each_padded_sequence_gives_what_it_gives_alone(kind, lengths, more):
    model = network(kind)
    x, padded, mask = batch(model, lengths, max(lengths) + more)
    with torch.no_grad():
        found = model(padded, mask)
        for row, length in enumerate(lengths):
            alone = model(x[row : row + 1, ..., :length])
            torch.testing.assert_close(found[row : row + 1], alone, **EXACT)


@pytest.mark.parametrize("kind", SEQUENCES)
@pytest.mark.parametrize("real", [[0, 0, 1, 1, 1, 1], [1, 1, 0, 1, 1, 1]])
def test_padding_in_front_of_real_steps_is_refused(kind, real):
    model = network(kind)
    mask = torch.tensor([real, [1] * 6]).bool()
    with pytest.raises(ShapeError, match=r"real steps come first.*; put it behind"):
        model(model.example_input(2, 6), mask)


@pytest.mark.parametrize("kind", SEQUENCES)
def test_maps_hold_zeros_in_the_padding(kind):
    model = network(kind)
    lengths = [3, 17]
    _, padded, mask = batch(model, lengths, 20)
    for stage, y in zip(model.stages, model.features(padded, mask), strict=True):
        for row, length in enumerate(lengths):
            end = max(length, model.smallest_input) // stage.reduction
            assert y[row, :, :end].any()
            assert not y[row, :, end:].any()


def trained(model, x, mask):
    """Outputs, gradients and moved statistics of one step in training mode."""
    model = copy.deepcopy(model).train()
    y = model(x) if mask is None else model(x, mask)
    y.square().sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return y, gradients, dict(model.named_buffers())


@pytest.mark.parametrize("kind", SEQUENCES)
@pytest.mark.parametrize("length", [5, 16])
def test_training_on_padded_sequences_is_training_on_them_alone(kind, length):
    model = network(kind)
    x, padded, mask = batch(model, [length] * 4, 24)
    y, gradients, statistics = trained(model, x[..., :length], None)
    z, others, moved = trained(model, padded, mask)
    torch.testing.assert_close(z, y, **EXACT)
    assert gradients.keys() == others.keys()
    for name in gradients:
        torch.testing.assert_close(others[name], gradients[name], rtol=1e-10, atol=1e-11)
    for name in statistics:
        torch.testing.assert_close(moved[name], statistics[name], **EXACT)


@pytest.mark.parametrize("kind", NORMED)
def test_more_padding_changes_nothing_in_training(kind):
    model = network(kind)
    lengths = [9, 16, 20, 11, 12, 20]
    _, padded, mask = batch(model, lengths, 20)
    wide = torch.cat([padded, padded[..., :7]], -1)
    longer = torch.cat([mask, torch.zeros_like(mask[:, :7])], 1)
    y, gradients, statistics = trained(model, padded, mask)
    z, others, moved = trained(model, wide, longer)
    torch.testing.assert_close(z, y, **EXACT)
    for name in gradients:
        torch.testing.assert_close(others[name], gradients[name], rtol=1e-10, atol=1e-11)
    assert all(torch.allclose(moved[name], statistics[name], atol=1e-12) for name in statistics)


@pytest.mark.parametrize("kind", SEQUENCES)
def test_a_sequence_without_a_real_step_has_a_finite_answer(kind):
    model = network(kind)
    _, padded, mask = batch(model, [0, 9], 12)
    y = model(padded, mask)
    assert y.isfinite().all()
    _, gradients, _ = trained(model, padded, mask)
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.long
@pytest.mark.parametrize("kind", SEQUENCES)
def test_masks_are_compiled_and_exported_strictly(kind):
    model = network(kind)
    _, padded, mask = batch(model, [3, 16], 16)
    expected = model(padded, mask)
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(padded, mask), expected)
    shape = {0: torch.export.Dim("batch", min=2, max=64)}
    program = torch.export.export(
        model, (padded, mask), dynamic_shapes=(shape, shape), strict=True
    ).module()
    _, padded, mask = batch(model, [3, 16, 8], 16, seed=2)
    torch.testing.assert_close(program(padded, mask), model(padded, mask))


@pytest.mark.parametrize("kind", ["tcn", "text_cnn", "inception_time-3"])
def test_a_mask_of_another_shape_or_type_is_refused(kind):
    model = network(kind)
    x = model.example_input(2, 10)
    for mask in (torch.ones(2, 9, dtype=torch.bool), torch.ones(2, 10), torch.ones(10) > 0):
        with pytest.raises(
            ShapeError, match=r"takes a mask \(B, T\) of torch.bool, here \(2, 10\)"
        ):
            model(x, mask)
