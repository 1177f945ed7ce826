"""Networks and batches that would spoil a map without a word: threads, float16, mixing norms."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from convarium.explain import Attribution, ablation_cam, eigen_cam, grad_cam, occlusion

Deep = Callable[..., nn.Sequential]
Inputs = Callable[..., Tensor]


def test_threads_may_explain_one_model(deep: Deep, inputs: Inputs) -> None:
    network, x = deep().train(), inputs()
    expected = [grad_cam(network, x, target=k, layer="1").values for k in range(3)]
    with ThreadPoolExecutor(3) as pool:
        calls = [
            pool.submit(grad_cam, network, x, target=k % 3, layer="1") for k in range(30)
        ]  # fmt: skip
        found = [call.result().values for call in calls]
    assert all(torch.equal(heat, expected[k % 3]) for k, heat in enumerate(found))
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


def test_norms_without_statistics_are_named_where_they_mix_samples() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3, track_running_stats=False),
        nn.Flatten(),
        nn.Linear(48, 2),
    )
    heat = grad_cam(network, torch.randn(2, 1, 6, 6), layer="0")
    assert heat.note.startswith("1 has no statistics of its own")
    assert grad_cam(network, torch.randn(1, 1, 6, 6), layer="0").note == ""
    network[1] = nn.InstanceNorm2d(3)
    assert grad_cam(network, torch.randn(2, 1, 6, 6), layer="0").note == ""


@pytest.mark.parametrize("way", ["half", "autocast"])
def test_gradients_below_the_smallest_float16_are_not_lost(way: str) -> None:
    """The gradient of a mean over 90,000 positions: 1e-7 and less, where float16 ends at 6e-8."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    )
    network[4].weight.data *= 0.001
    x = torch.randn(1, 1, 302, 302)
    expected = grad_cam(network, x, target=0, layer="0").values
    with torch.autocast("cpu", torch.float16, enabled=way == "autocast"):
        if way == "half":
            network, x = network.half(), x.half()
        heat = grad_cam(network, x, target=0, layer="0")
    assert heat.status != ("zero gradient",)
    torch.testing.assert_close(heat.values, expected, rtol=0.02, atol=0.02 * expected.abs().max())


def test_large_gradients_in_float16_stay_finite() -> None:
    network = nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(12, 2))
    network[2].weight.data.fill_(100)
    x = torch.ones(1, 1, 8)
    expected = grad_cam(network, x, target=0, layer="0").values
    heat = grad_cam(network.half(), x.half(), target=0, layer="0")
    torch.testing.assert_close(heat.values, expected, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("first", [nn.Embedding(50, 16), nn.Embedding(50, 6)])
def test_channels_that_stand_last_are_noticed_along_one_axis(first: nn.Embedding) -> None:
    class Text(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = first
            self.conv = nn.Conv1d(first.embedding_dim, 10, 3)
            self.head = nn.Linear(10, 2)

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.conv(self.words(ids).mT).amax(2))

    ids = torch.arange(20).reshape(2, 10)
    for method in (grad_cam, ablation_cam, eigen_cam):
        assert "looks as if its channels were last" in method(Text(), ids, layer="words").note
        assert method(Text(), ids, layer="conv").note == ""


def test_a_mask_that_hides_positions_is_told(method: Callable[..., Attribution]) -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv1d(2, 3, 3, padding=1), nn.Linear(3, 2)

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return self.head((self.conv(x).relu() * mask[:, None]).mean(2))

    x, mask = torch.randn(2, 2, 32), torch.ones(2, 32, dtype=torch.bool)
    assert "has a mask" not in occlusion(Masked(), (x, mask)).note
    mask[1, 4:9] = False
    assert "explain each sample by itself" in method(Masked(), (x, mask)).note
