"""What excites a channel, where samples are padded or have different lengths."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

from convarium import models
from convarium.data import Batch
from convarium.explain import exciting_inputs


def batch(*samples: Tensor, first: int = 0) -> Batch:
    """Series of several lengths as a batch with its mask."""
    longest = max(x.shape[1] for x in samples)
    x = torch.stack([nn.functional.pad(x, (0, longest - x.shape[1])) for x in samples])
    lengths = torch.tensor([x.shape[1] for x in samples])
    mask = torch.arange(longest) < lengths[:, None]
    index = first + torch.arange(len(samples))
    return Batch(inputs=(x,), target=None, mask=mask, index=index, weight=None)


def series(*lengths: int) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, length) for length in lengths]


@pytest.mark.parametrize("layer", ["stage1", "stage2"])
def test_padding_excites_nothing(layer: str) -> None:
    """Lengths that the pools divide: a padded sample is excited as it is alone."""
    torch.manual_seed(0)
    network = models.create("resnet1d", in_channels=2, num_classes=3).eval()
    samples = series(32, 8, 16, 24)
    alone = exciting_inputs(network, [x.unsqueeze(0) for x in samples], layer, 1, most=4)
    padded = [batch(*samples[:2]), batch(*samples[2:], first=2)]
    together = exciting_inputs(network, padded, layer, 1, most=4)
    assert [one.id for one in together.inputs] == [one.id for one in alone.inputs]
    for one, single in zip(together.inputs, alone.inputs, strict=True):
        assert one.value == pytest.approx(single.value, rel=1e-5)
        assert (one.place, one.patch) == (single.place, single.patch)


def test_the_largest_value_of_a_map_is_not_sought_in_the_padding() -> None:
    """A bias of 5 where nothing is; -1 where the series is."""
    network = nn.Sequential(nn.Conv1d(1, 1, 1), nn.AvgPool1d(2))
    nn.init.constant_(network[0].weight, -6)
    nn.init.constant_(network[0].bias, 5)

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = network

        def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
            return self.body(x).mean(2)

    found = exciting_inputs(Masked(), [batch(torch.ones(1, 12), torch.ones(1, 5))], "body", 0)
    assert [one.value for one in found.inputs] == [-1, -1]
    assert [one.patch for one in found.inputs] == [((0, 2),), ((0, 2),)]


def test_padding_of_texts_excites_nothing() -> None:
    """The bias of a channel is the largest value that nothing at all gives."""
    torch.manual_seed(0)
    network = models.create("text_cnn", vocabulary=50, num_classes=3, filters=4).eval()
    layer, lengths = "stage1.0.convs.0", (4, 9, 6)
    torch.nn.init.constant_(network.get_submodule(layer).bias, 3)
    torch.nn.init.constant_(network.get_submodule(layer).weight, -3)
    ids = network.example_input(3, 9)
    ids[torch.arange(9) >= torch.tensor(lengths)[:, None]] = 0
    texts = [ids[row : row + 1, :length] for row, length in enumerate(lengths)]
    alone = exciting_inputs(network, texts, layer, 1, most=3)
    together = exciting_inputs(network, [ids], layer, 1, most=3)
    assert {one.id: lengths[one.id] >= one.patch[0][1] for one in together.inputs} == dict.fromkeys(
        range(3), True
    )
    for one, single in zip(together.inputs, alone.inputs, strict=True):
        assert one.value == pytest.approx(single.value, rel=1e-5)
        assert (one.id, one.place, one.patch) == (single.id, single.place, single.patch)


def test_patches_of_batches_of_several_lengths_are_their_own() -> None:
    network = nn.Sequential(nn.Conv1d(1, 1, 3, padding=1, bias=False))
    nn.init.ones_(network[0].weight)
    long, short = torch.zeros(1, 1, 30), torch.zeros(1, 1, 8)
    long[0, 0, 25], short[0, 0, 3] = 9, 5
    found = exciting_inputs(network, [long, short], "0", 0)
    assert [(one.id, one.patch) for one in found.inputs] == [(0, ((23, 26),)), (1, ((1, 4),))]
    whole = nn.Sequential(nn.AdaptiveMaxPool1d(1))
    found = exciting_inputs(whole, [long, short], "0", 0)
    assert [one.patch for one in found.inputs] == [((0, 30),), ((0, 8),)]


def test_samples_without_a_finite_value_are_left_out() -> None:
    x = torch.ones(3, 1, 6)
    x[1] = torch.nan
    x[2, 0, 4] = torch.inf
    found = exciting_inputs(nn.Sequential(nn.Conv1d(1, 1, 1, bias=False)), [x], "0", 0)
    assert (found.seen, found.not_finite) == (3, 1)
    assert sorted(one.id for one in found.inputs) == [0, 2]
    assert json.dumps([one.value for one in found.inputs], allow_nan=False)
