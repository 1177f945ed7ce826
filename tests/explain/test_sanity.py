"""The sanity check: methods that must pass, methods that must fail, and a network left alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from convarium import models
from convarium.errors import OptionError, ShapeError
from convarium.explain import (
    Attribution,
    grad_cam,
    guided_backpropagation,
    input_gradients,
    sanity_check,
)
from convarium.explain.controls import sobel
from convarium.explain.resizing import Extent


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    ).eval()


def weights(model: nn.Module, x: Tensor, *, target: object) -> Tensor:
    """A map that is what a dense layer has learned for the class."""
    dense = model.get_submodule("1")
    return dense.weight.detach()[list(target)].reshape(len(x), *x.shape[2:])


def edges(model: nn.Module, x: Tensor, *, target: object) -> Tensor:
    return sobel(x)


def test_a_map_of_the_weights_passes() -> None:
    """Permuted at random, 400 weights correlate by 0.05 with themselves."""
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Flatten(), nn.Linear(400, 5))
    check = sanity_check(dense, torch.randn(6, 1, 20, 20), weights, target=[0, 1, 2, 3, 4, 0])
    assert (check.verdict, check.stages, check.method) == ("passes", ("1",), "weights")
    assert check.signed.abs().max() < 0.3
    assert check.means()[-1].interval.high < 0.5
    assert check.edges is not None
    assert check.edges.shape == (2, 6)


def test_a_map_that_knows_no_network_fails() -> None:
    check = sanity_check(network(), torch.randn(4, 1, 10, 10), edges)
    assert check.verdict == "fails"
    assert torch.equal(check.signed, torch.ones(3, 4))
    assert torch.allclose(check.structure, torch.ones(3, 4))
    assert torch.allclose(check.edges, torch.ones(4, 4))


def test_a_map_that_follows_edges_with_any_weights_fails() -> None:
    """Its positions are not those of the original map any more, but they are those of edges."""

    def near_to_edges(model: nn.Module, x: Tensor, *, target: object) -> Tensor:
        generator = torch.Generator().manual_seed(int(model[5].weight.flatten()[0] * 1e6))
        places = sobel(x).flatten(1).argsort(1).argsort(1).reshape(len(x), *x.shape[2:]).float()
        return 300 + places + 55 * torch.randn(places.shape, generator=generator)

    torch.manual_seed(1)
    check = sanity_check(network(), torch.randn(20, 1, 10, 10), near_to_edges, limit=0.3)
    assert float(check.absolute[-1].mean()) < 0.3
    assert check.verdict == "fails"
    assert "edge detector" in check.reason


def test_the_published_verdicts() -> None:
    """Adebayo et al. (2018), figure 2: gradients pass, guided backpropagation does not."""
    model, x = network(), torch.randn(6, 1, 10, 10)
    x[:, :, 3:6, 3:6] += 4
    deep = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3), *model[2:])
    verdicts = {
        method.__name__: sanity_check(deep, x, method).verdict
        for method in (input_gradients, guided_backpropagation)
    }
    assert verdicts == {"input_gradients": "passes", "guided_backpropagation": "fails"}


def test_an_empty_map_is_undecided() -> None:
    def empty(model: nn.Module, x: Tensor, *, target: object) -> Tensor:
        return torch.zeros(len(x), 4, 4)

    check = sanity_check(network(), torch.randn(2, 1, 10, 10), empty)
    assert check.verdict == "undecided"
    assert "constant" in check.reason


def test_layers_go_from_the_top_down_and_stay_random() -> None:
    """What has changed at each stage: the last layer, then those below it too."""
    model, seen = network(), []
    model[1].weight.data.uniform_()
    before = copy.deepcopy(model.state_dict())

    def watch(model: nn.Module, x: Tensor, *, target: object) -> Tensor:
        state = model.state_dict()
        seen.append({name for name in state if not torch.equal(state[name], before[name])})
        for name, _ in model.named_parameters():  # a permutation keeps the values
            assert torch.equal(state[name].flatten().sort()[0], before[name].flatten().sort()[0])
        return torch.rand(len(x), 4)

    check = sanity_check(model, torch.randn(2, 1, 10, 10), watch)
    assert check.stages == ("5", "1", "0")
    layers = [{name.partition(".")[0] for name in changed} for changed in seen]
    assert layers == [set(), {"5"}, {"5", "1"}, {"5", "1", "0"}]
    seen.clear()
    assert sanity_check(model, torch.randn(2, 1, 10, 10), watch, stages=2).stages == ("5", "0")
    assert sanity_check(model, torch.randn(2, 1, 10, 10), watch, stages=1).stages == ("0",)


def test_norms_of_a_random_network_see_their_own_statistics() -> None:
    """So its activations neither vanish nor explode: mean and spread are those of its weights."""
    model, outputs = network(), []
    x = torch.randn(8, 1, 10, 10)
    model[1].running_var.fill_(1e-9)

    def watch(model: nn.Module, x: Tensor, *, target: object) -> Tensor:
        outputs.append(model[:2](x).detach())
        return torch.rand(len(x), 4)

    sanity_check(model, x, watch)
    assert float(outputs[0].abs().max()) > 100
    torch.testing.assert_close(outputs[-1].mean((0, 2, 3)), torch.zeros(4), atol=1e-2, rtol=0)


def test_the_network_is_left_alone_also_after_an_error() -> None:
    model, x, calls = network().train(), torch.randn(3, 1, 10, 10), []
    before, streams = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    parameters = dict(model.named_parameters())

    def breaks(model: nn.Module, x: Tensor, *, target: object) -> Attribution:
        calls.append(target)
        if len(calls) == 3:
            raise ValueError("broken")
        return grad_cam(model, x, target=target, layer="2")

    sanity_check(model, x, layer="2")
    with pytest.raises(ValueError, match="broken"):
        sanity_check(model, x, breaks)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(value is parameters[name] for name, value in model.named_parameters())
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert torch.equal(torch.get_rng_state(), streams)


def test_the_class_explained_stays_and_numbers_repeat() -> None:
    model, x, targets = network(), torch.randn(3, 1, 10, 10), []

    def watch(model: nn.Module, x: Tensor, *, target: object) -> Attribution:
        targets.append(target)
        return grad_cam(model, x, target=target, layer="2")

    first = sanity_check(model, x, watch)
    predicted = tuple(model(x).argmax(1).tolist())
    assert targets == [None] + [predicted] * 3
    again = sanity_check(model, x, layer=model[2])
    assert torch.equal(first.signed, again.signed)
    assert again.method == "grad_cam"
    other = sanity_check(model, x, layer="2", seed=3)
    assert not torch.equal(first.signed, other.signed)


def test_a_forward_of_the_callers_runs_the_random_network() -> None:
    """It calls the caller's own model: what is randomised must be that one, no copy."""
    model = network()
    x = torch.randn(3, 1, 10, 10)
    plain = sanity_check(model, x, layer="2", target=1)
    given = sanity_check(model, x, layer="2", target=1, forward=lambda z: model(z))
    assert torch.equal(plain.signed, given.signed)


def test_what_it_cannot_take() -> None:
    model, x = network(), torch.randn(2, 1, 10, 10)
    with pytest.raises(OptionError, match="stages"):
        sanity_check(model, x, edges, stages=0)
    with pytest.raises(OptionError, match="limit"):
        sanity_check(model, x, edges, limit=0)
    with pytest.raises(OptionError, match="nothing can be randomised"):
        sanity_check(nn.Flatten(), x, edges)
    with pytest.raises(ShapeError, match="method gives"):
        sanity_check(model, x, lambda *_, target: torch.ones(3))


def test_one_sample_passes_nothing() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 3)
    )
    check = sanity_check(network, torch.randn(1, 1, 10, 10), layer="2", target=1)
    assert check.verdict in ("undecided", "fails")
    assert check.verdict == "fails" or "one sample" in check.reason


def test_a_random_order_stands_beside_the_stages() -> None:
    model, x = network(), torch.randn(6, 1, 20, 20)
    check = sanity_check(model, x, layer="2", target=1)
    assert check.random.shape == (6,)
    assert check.random.abs().max() < 0.25  # 324 positions: a deviation of 0.056
    assert torch.equal(check.random, sanity_check(model, x, layer="2", target=1).random)
    assert not torch.equal(check.random, sanity_check(model, x, layer="2", target=1, seed=1).random)


def test_maps_of_a_padded_batch_are_compared_within_their_samples() -> None:
    """Maps that have nothing in common but their zeros are not alike."""
    generator = torch.Generator().manual_seed(0)
    lengths = [7, 8, 9, 10, 11, 12, 13, 14] * 2
    mask = torch.arange(64) < torch.tensor(lengths)[:, None]
    model = models.create("temporal_cnn", in_channels=2, num_classes=3)
    x = torch.randn(len(lengths), 2, 64, generator=generator)

    def unrelated(model: nn.Module, x: tuple[Tensor, Tensor], *, target: object) -> Attribution:
        values = torch.rand(mask.shape, generator=generator) * mask
        rows = tuple(Extent((n,), (n,), (n,)) for n in lengths)
        status = ("fine",) * len(rows)
        return Attribution(values, "", None, values.sum(1), status, (64,), extents=rows)

    check = sanity_check(model, (x, mask), unrelated, target=1, stages=2)
    assert check.verdict == "passes"
    assert check.signed.abs().mean() < 0.5
    assert check.random.abs().mean() < 0.5
    assert check.edges is not None
    assert check.edges.shape == (3, len(lengths))
