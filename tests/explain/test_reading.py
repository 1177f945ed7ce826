"""One look into a network, whatever state it is in; and only behind the layer is differentiated."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils import checkpoint

from convarium.explain import ablation_cam, grad_cam, occlusion
from convarium.explain.checkpoints import without_checkpoints

Deep = Callable[..., nn.Sequential]
Inputs = Callable[..., Tensor]


def test_in_place_activation_behind_the_layer_does_not_overwrite_it(
    deep: Deep, inputs: Inputs
) -> None:
    plain, in_place = deep(), deep()
    plain.insert(2, nn.ReLU())
    in_place.insert(2, nn.ReLU(inplace=True))
    expected = grad_cam(plain, inputs(), target=1, layer="1")
    assert (expected.values < 0).any()
    heat = grad_cam(in_place, inputs(), target=1, layer="1")
    assert torch.equal(heat.values, expected.values)
    of_itself = grad_cam(in_place, inputs(), target=1, layer="2")
    assert torch.equal(of_itself.values, grad_cam(plain, inputs(), target=1, layer="2").values)


def test_input_changed_in_place_by_the_network_is_not_the_callers(
    deep: Deep, inputs: Inputs
) -> None:
    network, x = nn.Sequential(nn.ReLU(inplace=True), *deep()), inputs()
    before = x.clone()
    grad_cam(network, x, target=0, layer="2")
    assert torch.equal(x, before)


def test_frozen_model_gives_the_same_map(deep: Deep, inputs: Inputs) -> None:
    frozen = deep().requires_grad_(False)
    heat = grad_cam(frozen, inputs(), target=1, layer="1")
    assert torch.equal(heat.values, grad_cam(deep(), inputs(), target=1, layer="1").values)
    assert heat.status == ("fine",) * 3


def test_no_grad_and_inference_mode_give_the_same_map(deep: Deep, inputs: Inputs) -> None:
    expected = grad_cam(deep(), inputs(), target=1, layer="1").values
    with torch.no_grad():
        assert torch.equal(grad_cam(deep(), inputs(), target=1, layer="1").values, expected)
    with torch.inference_mode():
        everything_made_here = grad_cam(deep(), inputs(), target=1, layer="1").values
    assert torch.equal(everything_made_here, expected)
    assert not everything_made_here.is_inference()
    with torch.inference_mode():
        network, x = deep(), inputs()
    assert torch.equal(grad_cam(network, x, target=1, layer="1").values, expected)
    assert network[0].weight.is_inference()
    with torch.inference_mode():
        recurrent = Recurrent()
    assert grad_cam(recurrent, torch.randn(2, 3, 7), layer="conv").status == ("fine",) * 2


class Recurrent(nn.Module):
    """Recurrent layers keep a second list of their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 4, 3)
        self.lstm = nn.LSTM(4, 5, batch_first=True)
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden, _ = self.lstm(self.conv(x).mT)
        return self.head(hidden[:, -1])


def test_a_backbone_that_runs_under_no_grad_is_read_at_its_end(deep: Deep, inputs: Inputs) -> None:
    class FrozenBackbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = deep()

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                maps = self.body[:2](x)
            return self.body[2:](maps)

    heat = grad_cam(FrozenBackbone(), inputs(), target=1, layer="body.1")
    assert torch.equal(heat.values, grad_cam(deep(), inputs(), target=1, layer="1").values)
    inside = grad_cam(FrozenBackbone(), inputs(), target=1, layer="body.0")
    assert inside.status == ("not connected",) * 3


def test_training_mode_is_evaluated_in_eval_mode_and_restored(deep: Deep, inputs: Inputs) -> None:
    network = deep().train()
    network.append(nn.Dropout(0.9))
    heat = grad_cam(network, inputs(), target=1, layer="1")
    assert torch.equal(heat.values, grad_cam(deep(), inputs(), target=1, layer="1").values)
    assert all(module.training for module in network[3:5])


def test_autocast_gives_the_same_map_within_its_precision(deep: Deep, inputs: Inputs) -> None:
    network, x = deep(torch.float32), inputs(dtype=torch.float32)
    expected = grad_cam(network, x, target=1, layer="1").values
    with torch.autocast("cpu", torch.bfloat16):
        heat = grad_cam(network, x, target=1, layer="1")
        trained = network(x).sum()
    assert heat.values.dtype == torch.float32
    assert (heat.values - expected).abs().max() < 0.03 * expected.abs().max()
    trained.backward()
    assert network[0].weight.grad is not None


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("part", [slice(0, 1), slice(0, 4), slice(2, 7)])
def test_activation_checkpointing_before_around_and_behind_the_layer(
    deep: Deep, inputs: Inputs, part: slice, reentrant: bool
) -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = deep()

        def forward(self, x: Tensor) -> Tensor:
            x = self.body[: part.start](x)
            x = checkpoint.checkpoint(self.body[part], x, use_reentrant=reentrant)
            return self.body[part.stop :](x)

    kept = checkpoint.CheckpointFunction
    network = Checkpointed()
    for layer, method in itertools.product(("1", None), (grad_cam, ablation_cam)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            heat = method(network, inputs(), target=1, layer=layer and f"body.{layer}")
        plain = method(deep(), inputs(), target=1, layer=heat.layer.removeprefix("body."))
        torch.testing.assert_close(heat.values, plain.values)
        assert heat.status == plain.status
    assert checkpoint.CheckpointFunction is kept


def test_checkpointing_comes_back_when_the_last_of_several_threads_has_left(deep: Deep) -> None:
    kept = checkpoint.CheckpointFunction
    first, second = without_checkpoints(), without_checkpoints()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert checkpoint.CheckpointFunction is not kept
    second.__exit__(None, None, None)
    assert checkpoint.CheckpointFunction is kept


def test_a_layer_off_the_way_to_the_score_says_so(inputs: Inputs) -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.other = (nn.Conv2d(1, 3, 3).double() for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            self.other(x)
            return self.main(x).mean((2, 3))

    heat = grad_cam(Beside(), inputs(), layer="other")
    assert heat.status == ("not connected",) * 3
    assert heat.note == (
        "The score is not computed from other, or not differentiably; "
        "choose a layer on the way to it."
    )
    assert grad_cam(Beside(), inputs()).note == ""


def test_a_layer_behind_the_pooling_says_so() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    heat = grad_cam(network, torch.ones(1, 1, 6, 6), layer="1")
    assert heat.status == ("no spatial extent",)
    assert heat.note == "1 has one position; choose a layer before the pooling."


def test_channels_that_stand_last_are_noticed() -> None:
    class Last(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.movedim(1, -1)

    network = nn.Sequential(
        nn.Conv2d(3, 24, 4, stride=4), Last(), nn.Linear(24, 24), nn.Flatten(), nn.Linear(1536, 2)
    )
    x = torch.randn(2, 3, 32, 32)
    assert grad_cam(network, x, layer="0").note == ""
    for method in (grad_cam, ablation_cam):
        assert "(2, 8, 8, 24), which looks as if its channels" in method(network, x, layer="2").note


def test_only_the_part_behind_the_layer_is_differentiated() -> None:
    """No tensor is kept for the backward pass before the layer, and no gradient flows there."""
    network = nn.Sequential(
        *[Counting() for _ in range(3)],
        nn.Conv2d(1, 2, 3),
        *[Counting() for _ in range(2)],
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2, 2),
    )
    Doubling.kept, Doubling.differentiated = 0, 0
    x = torch.randn(1, 1, 12, 12, requires_grad=True)
    grad_cam(network, x, target=0, layer="3")
    assert Doubling.differentiated == 2
    assert Doubling.kept == 2
    assert x.grad is None


class Doubling(torch.autograd.Function):
    """2x, counting what the graph keeps and what is differentiated."""

    kept = 0
    differentiated = 0

    @staticmethod
    def forward(context: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        Doubling.kept += context.needs_input_grad[0]
        return 2 * x

    @staticmethod
    def backward(context: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        Doubling.differentiated += 1
        return 2 * gradient


class Counting(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Doubling.apply(x)


def test_memory_kept_does_not_grow_with_the_layers_before() -> None:
    def kept_bytes(depth: int) -> int:
        before = [
            layer for _ in range(depth) for layer in (nn.Conv2d(3, 3, 3, padding=1), nn.GELU())
        ]
        network = nn.Sequential(*before, nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(512, 2))
        total = 0

        def pack(tensor: Tensor) -> Tensor:
            nonlocal total
            total += tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            grad_cam(network, torch.randn(1, 3, 16, 16), layer=network[2 * depth])
        return total

    assert kept_bytes(6) == kept_bytes(0)


def test_peak_memory_is_that_of_the_forward_pass_and_the_head() -> None:
    """Long before the layer maps are large; they are freed as in a pass without gradients."""
    wide = [part for _ in range(4) for part in (nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())]
    network = nn.Sequential(*wide, nn.MaxPool2d(8), nn.Flatten(), nn.Linear(8 * 64, 4)).eval()
    x = torch.randn(4, 8, 64, 64)
    with torch.no_grad():
        forward = peak(lambda: network(x.clone()))
    head = 4 * network[:-2](x).nbytes
    assert peak(lambda: grad_cam(network, x, layer=network[8])) <= 1.2 * forward + head


def peak(call: Callable[[], object]) -> int:
    """The most bytes that a call allocated and did not yet free."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        call()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(itertools.accumulate(event.nbytes() for event in events))


@pytest.mark.parametrize("method", [partial(grad_cam, layer="1"), occlusion])
def test_inputs_reach_the_network_in_their_own_order_in_memory(method):
    seen = []

    class Looking(nn.Sequential):
        def forward(self, x):
            seen.append(x.is_contiguous(memory_format=torch.channels_last))
            return super().forward(x)

    layers = (nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    model = Looking(*layers)
    x = torch.randn(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    method(model, x, target=1)
    assert seen
    assert all(seen)
