"""Padded batches: the map of each sample is the one that it has alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from convarium import explain, models
from convarium.errors import OptionError
from convarium.explain import (
    Attribution,
    fuse,
    grad_cam,
    hires_cam,
    integrated_gradients,
    layer_cam,
    layers,
    occlusion,
    score_cam,
)
from convarium.explain.methods import METHODS
from convarium.explain.resizing import Extent, resized, resized_each

LONGEST = 32
_OF_TOKENS = [name for name, method in METHODS.items() if method.layered and name != "score_cam"]


class Masked(nn.Module):
    """Means over what a mask of pictures leaves, behind a pool that halves both."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act, self.pool = nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        seen = mask.unsqueeze(1).to(x.dtype)
        maps = self.pool(self.act(self.conv(x * seen)) * seen)
        seen = (self.pool(seen) == 1).to(x.dtype)
        return self.head((maps * seen).sum((2, 3)) / seen.sum((2, 3)))


def padded(network: nn.Module, lengths: list[int], longest: int) -> tuple[Tensor, Tensor]:
    """A batch with numbers in its padding that nobody may read, and its mask."""
    x = network.example_input(len(lengths), longest)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    return torch.where(
        mask if x.ndim == 2 else mask[:, None], x, 0 if x.ndim == 2 else math.nan
    ), mask


def check_alone(network: nn.Module, method: Callable[..., Attribution], lengths: list[int]) -> None:
    """Each sample of a padded batch is explained as it is alone, with zeros behind it."""
    x, mask = padded(network, lengths, LONGEST)
    classes = [k % 3 for k in range(len(lengths))]
    heat = method(network, (x, mask), target=classes)
    assert "mask" not in heat.note
    shown = heat.display()
    assert shown.shape == (len(lengths), LONGEST)
    for row, length in enumerate(lengths):
        alone = method(network, x[row : row + 1, :, :length], target=classes[row])
        cells = alone.values.shape[1]
        torch.testing.assert_close(heat.values[row, :cells], alone.values[0])
        torch.testing.assert_close(heat.logit[row], alone.logit[0])
        torch.testing.assert_close(shown[row, :length], alone.display()[0], atol=1e-4, rtol=1e-4)
        assert not heat.values[row, cells:].any()
        assert not shown[row, length:].any()
        assert (heat.status[row], heat.target[row]) == (alone.status[0], alone.target[0])


def test_each_series_has_the_map_that_it_has_alone(method: Callable[..., Attribution]) -> None:
    torch.manual_seed(0)
    sizes = {"channels": [4, 6, 8, 8], "embedding_dim": 8}
    network = models.create("temporal_cnn", in_channels=2, num_classes=3, **sizes).double()
    check_alone(network, method, [9, 30, 3, 9])


@pytest.mark.parametrize("name", ["tcn", "inception_time", "resnet1d"])
def test_every_kind_of_network_of_series_is_explained_without_padding(name: str) -> None:
    torch.manual_seed(0)
    network = models.create(name, in_channels=2, num_classes=3).double()
    check_alone(network, grad_cam, [9, 30])


@pytest.mark.parametrize("method", [*_OF_TOKENS, "occlusion"])
def test_ids_of_texts_say_by_themselves_what_is_padding(method: str) -> None:
    torch.manual_seed(0)
    call, lengths, classes = getattr(explain, method), [3, 9, 6], [0, 1, 2]
    network = models.create("text_cnn", vocabulary=50, num_classes=3, filters=4).double().eval()
    ids = network.example_input(3, 9)
    ids[torch.arange(9) >= torch.tensor(lengths)[:, None]] = 0
    heat = call(network, ids, target=classes)
    for row, length in enumerate(lengths):
        alone = call(network, ids[row : row + 1, :length], target=classes[row])
        cells = alone.values.shape[1]
        torch.testing.assert_close(heat.values[row, :cells], alone.values[0])
        torch.testing.assert_close(heat.display()[row, :length], alone.display()[0])
        assert not heat.display()[row, length:].any()
    whole = call(network, ids, target=classes, forward=lambda x: network(x))
    assert whole.values.shape[0] == 3  # as they were given: one tensor


def test_pictures_of_several_sizes_have_the_map_that_they_have_alone() -> None:
    torch.manual_seed(0)
    network, x = Masked(), torch.randn(3, 2, 12, 14)
    mask = torch.zeros(3, 12, 14, dtype=torch.bool)
    for row, (high, wide) in enumerate(sizes := [(12, 6), (8, 14), (4, 4)]):
        mask[row, :high, :wide] = True
    heat = grad_cam(network, (x, mask))
    larger = heat.display(size=(24, 28))
    for row, (high, wide) in enumerate(sizes):
        one = slice(row, row + 1)
        alone = grad_cam(network, (x[one, :, :high, :wide], mask[one, :high, :wide]))
        torch.testing.assert_close(heat.display()[row, :high, :wide], alone.display()[0])
        twice = alone.display(size=(2 * high, 2 * wide))[0]
        torch.testing.assert_close(larger[row, : 2 * high, : 2 * wide], twice)
        assert heat.target[row] == alone.target[0]
    both = fuse([heat, layer_cam(network, (x, mask), layer="act")])
    assert both.values.shape == (3, 12, 14)
    assert not both.values[2, 4:].any()


def test_what_is_scored_or_masked_as_a_whole_keeps_its_padding_and_says_so() -> None:
    network, x = Masked(), torch.randn(2, 2, 6, 6)
    mask = torch.ones(2, 6, 6, dtype=torch.bool)
    mask[1, 4:] = False
    assert "has a mask" in grad_cam(network, (x, mask), target=lambda scores: scores[:, 1]).note
    assert grad_cam(network, (x, mask), target=1).note == ""
    mask[1, 0, 0] = False
    assert "has a mask" in grad_cam(network, (x, mask), target=1).note


@pytest.mark.parametrize("target", [[1], [0, 1, 2], 3, [0, 3]])
def test_targets_that_do_not_fit_are_refused(target: object) -> None:
    mask = torch.ones(2, 6, 6, dtype=torch.bool)
    mask[1, 4:] = False
    with pytest.raises(OptionError, match=r"classes for 2 samples|from 0 to 2"):
        grad_cam(Masked(), (torch.randn(2, 2, 6, 6), mask), target=target)


def test_a_baseline_is_cut_as_the_batch_is() -> None:
    network, x = Masked(), torch.randn(2, 2, 6, 6)
    mask = torch.ones(2, 6, 6, dtype=torch.bool)
    mask[1, 4:] = False
    blank = torch.randn(2, 1, 1)
    heat = integrated_gradients(network, (x, mask), target=1, baseline=blank)
    alone = integrated_gradients(network, (x[1:, :, :4], mask[1:, :4]), target=1, baseline=blank)
    torch.testing.assert_close(heat.values[1, :4], alone.values[0])
    assert not heat.values[1, 4:].any()
    with pytest.raises(OptionError, match="can be expanded to x"):
        integrated_gradients(network, (x, mask), target=1, baseline=torch.randn(5))


@pytest.mark.parametrize("length", [1, 2, 4, 5, 9])
def test_all_heat_of_a_short_text_lies_on_its_words(length: int) -> None:
    """Windows of up to five words; of a shorter text the middle of one lies behind its end."""
    torch.manual_seed(0)
    network = models.create("text_cnn", vocabulary=50, num_classes=3, filters=8).double().eval()
    ids = network.example_input(1, length)
    heat = hires_cam(network, ids, target=1)
    along = heat.resized(heat.values, (length,))
    with torch.no_grad():
        logit = network(ids)[0, 1] - network.head.bias[1]
    assert along.shape == (1, length)
    assert float(along.sum()) == pytest.approx(float(logit), rel=1e-5)
    torch.testing.assert_close(along[0, : length - 1], heat.values[0, : length - 1])


class Region(nn.Module):
    """The mean of maps over a region that a mask marks; the maps see beyond it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act, self.head = nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Linear(4, 3)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        seen = mask.unsqueeze(1).to(x.dtype)
        return self.head((self.act(self.conv(x)) * seen).sum((2, 3)) / seen.sum((2, 3)))


class OfOneSize(Masked):
    """Reads pictures of 6 by 6 alone."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(36, 3)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        assert x.shape[2:] == (6, 6)
        return super().forward(x, mask) + self.dense(x[:, 0].flatten(1))


@pytest.mark.parametrize("kind", [Region, OfOneSize])
def test_a_mask_that_hides_no_padding_leaves_the_batch_whole(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    network, x = kind(), torch.randn(2, 2, 6, 6)
    mask = torch.ones(2, 6, 6, dtype=torch.bool)
    mask[1, 4:] = False
    heat = grad_cam(network, (x, mask), target=1, layer="act")
    whole = grad_cam(network, (x, mask), target=lambda scores: scores[:, 1], layer="act")
    assert heat.extents is None
    assert "has a mask" in heat.note
    torch.testing.assert_close(heat.values, whole.values)


def test_the_layer_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = Masked(), torch.randn(3, 2, 8, 8)
    mask = torch.ones(3, 8, 8, dtype=torch.bool)
    mask[1, 4:], mask[2, :, 6:] = False, False
    found = []
    search = layers.last_map
    monkeypatch.setattr(layers, "last_map", lambda *given: found.append(1) or search(*given))
    heat = grad_cam(network, (x, mask))
    assert len(found) == 1
    assert heat.extents is not None
    assert heat.layer == grad_cam(network, (x[:1], mask[:1])).layer


def test_a_window_is_no_longer_than_a_sample() -> None:
    network, x = Masked(), torch.randn(2, 2, 6, 6)
    mask = torch.ones(2, 6, 6, dtype=torch.bool)
    mask[1, 4:] = False
    heat = occlusion(network, (x, mask), target=1, window=5, stride=2)
    alone = occlusion(network, (x[1:, :, :4], mask[1:, :4]), target=1, window=(4, 5), stride=2)
    torch.testing.assert_close(heat.values[1, :4], alone.values[0])
    assert "no longer than a sample" in heat.note
    assert occlusion(network, (x, mask), target=1, window=4).note == ""
    with pytest.raises(OptionError, match="window"):
        occlusion(network, (x, mask), target=1, window=7)


@pytest.mark.parametrize("cells", [[0.2, 1.0, 0.2, 0.2], [1.0]])
def test_a_coarse_map_of_a_short_series_keeps_its_peak(cells: list[float]) -> None:
    """Cells that lie behind the series are left out, as they hold no mass of single steps."""
    maps, extent = torch.tensor([cells]), Extent((len(cells),), (8,), (3,))
    along = resized_each(maps, (3,), [extent], (3,))
    expected = [0.2, 0.4, 0.8] if len(cells) == 4 else [1.0, 1.0, 1.0]  # linear between cells
    torch.testing.assert_close(along, torch.tensor([expected]))


def test_a_pooled_map_goes_to_another_size_as_it_does_alone() -> None:
    torch.manual_seed(0)
    maps, extent = torch.randn(1, 4), Extent((4,), (8,), (8,))
    torch.testing.assert_close(resized_each(maps, (12,), [extent], (8,)), resized(maps, (12,)))


def test_score_cam_of_a_short_series_is_that_of_the_series_with_zeros_behind() -> None:
    torch.manual_seed(0)
    sizes = {"channels": [4, 6, 8, 8], "embedding_dim": 8}
    network = models.create("temporal_cnn", in_channels=2, num_classes=3, **sizes).double()
    x = torch.randn(1, 2, 3, dtype=torch.float64)
    longer = nn.functional.pad(x, (0, network.shortest_read - 3))
    for layer in ("stage1", None):
        short, whole = (score_cam(network, each, target=1, layer=layer) for each in (x, longer))
        torch.testing.assert_close(short.values, whole.values)
