"""Filters, maps and exciting inputs, against weights, hooks and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from convarium.data import Batch
from convarium.errors import OptionError
from convarium.explain import exciting_inputs, feature_maps, filters
from convarium.models import create


def small() -> nn.Sequential:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(2, 5, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(5, 4, 3))
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).train()


def output_of(model: nn.Module, layer: str, x: torch.Tensor) -> torch.Tensor:
    found = []
    handle = model.get_submodule(layer).register_forward_hook(lambda *all: found.append(all[2]))
    model(x)
    handle.remove()
    return found[0]


def test_filters_are_the_weights_of_the_first_convolution() -> None:
    model = small()
    found = filters(model)
    assert found.layer == "0.0"
    assert torch.equal(found.weights, model[0][0].weight.detach())
    assert filters(model, "0.2").weights.shape == (4, 5, 3, 3)
    shared, own = found.display(), found.display(shared=False)
    assert (shared - 0.5).abs().max() == (own - 0.5).abs().max() == 0.5
    assert torch.equal((own - 0.5).abs().flatten(1).amax(1), torch.full((5,), 0.5))
    torch.testing.assert_close((shared - 0.5) * 2 * found.weights.abs().max(), found.weights)


def test_what_has_no_filters_says_so() -> None:
    with pytest.raises(OptionError, match="no convolution"):
        filters(nn.Linear(2, 2))
    with pytest.raises(OptionError, match=r"'0\.0'"):
        filters(small(), "0.00")
    with pytest.raises(OptionError, match="no weights yet"):
        filters(nn.Sequential(nn.LazyConv2d(3, 3)))


def test_the_strongest_maps_come_first_and_the_network_is_as_before() -> None:
    model, x = small(), torch.randn(3, 2, 12, 10)
    truth = output_of(model, "0.2", x).detach()
    found = feature_maps(model, x, "0.2", most=3)
    strength = truth.abs().amax((2, 3))
    values, order = strength.topk(3)
    assert torch.equal(found.channels, order)
    torch.testing.assert_close(found.strength, values)
    for row in range(3):
        torch.testing.assert_close(found.maps[row], truth[row, order[row]])
    assert model.training
    assert not model[0][2]._forward_hooks
    assert feature_maps(model, x, "0.2", most=99).maps.shape == truth.shape
    with pytest.raises(OptionError, match="most"):
        feature_maps(model, x, "0.2", most=0)


def batches(x: torch.Tensor, size: int) -> list[Batch]:
    ids = 100 + torch.arange(len(x))
    parts = zip(x.split(size), ids.split(size), strict=True)
    return [Batch((part,), None, None, index, None) for part, index in parts]


@pytest.mark.parametrize("size", [1, 4, 11])
def test_what_excites_a_channel_most_does_not_depend_on_the_batches(size: int) -> None:
    model, x = small().eval(), torch.randn(11, 2, 12, 10)
    truth = output_of(model, "0.2", x).detach()[:, 1].flatten(1)
    found = exciting_inputs(model, batches(x, size), "0.2", 1, most=4)
    values, order = truth.amax(1).topk(4)
    assert [one.id for one in found.inputs] == (100 + order).tolist()
    np.testing.assert_allclose([one.value for one in found.inputs], values, rtol=1e-5)
    assert (found.seen, found.layer, found.channel) == (11, "0.2", 1)
    for one, row in zip(found.inputs, order.tolist(), strict=True):
        assert one.place == tuple(divmod(int(truth[row].argmax()), 3))


def test_the_patch_is_what_the_gradient_of_the_place_reaches() -> None:
    model, x = small().eval(), torch.randn(6, 2, 12, 10)
    found = exciting_inputs(model, [x], "0.2", 2, most=6)
    for parameter in model.parameters():
        parameter.data.abs_()  # no gradient is 0 by chance
    for one in found.inputs:
        sample = x[one.id : one.id + 1].clone().requires_grad_()
        row, column = one.place
        output_of(model, "0.2", sample.abs() + 1)[0, 2, row, column].backward()
        rows, columns = sample.grad[0].abs().sum(0).nonzero().T
        reached = ((rows.min(), rows.max() + 1), (columns.min(), columns.max() + 1))
        assert one.patch == tuple((int(low), int(high)) for low, high in reached)


def test_equal_values_are_in_the_order_of_their_ids() -> None:
    x = torch.ones(5, 2, 12, 10)
    found = exciting_inputs(small(), reversed(batches(x, 1)), "0.0", 0, most=3)
    assert [one.id for one in found.inputs] == [100, 101, 102]


def test_a_layer_without_places_is_excited_by_the_whole_input() -> None:
    found = exciting_inputs(small(), [torch.randn(4, 2, 12, 10)], "3", 0, most=1)
    assert found.inputs[0].patch == ((0, 12), (0, 10))


def test_blocks_have_a_patch_too() -> None:
    model = create("resnet8", num_classes=3)
    found = exciting_inputs(model, [torch.randn(2, 3, 64, 64)], "layer1", 0, most=1)
    (top, bottom), (left, right) = found.inputs[0].patch
    assert 0 < (bottom - top) * (right - left) < 64 * 64


def test_channels_and_layers_that_are_not_there() -> None:
    x = torch.randn(1, 2, 12, 10)
    with pytest.raises(OptionError, match="from 0 to 3"):
        exciting_inputs(small(), [x], "0.2", 4)
    with pytest.raises(OptionError, match="at least one sample"):
        exciting_inputs(small(), [], "0.2", 0)
    with pytest.raises(OptionError, match=r"not in the model.*'0\.2'"):
        exciting_inputs(small(), [x], "0.22", 0)
