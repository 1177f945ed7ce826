"""The controls: Sobel, ranks, similarities and intervals against other libraries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr
from skimage.filters import sobel as peer_sobel
from skimage.metrics import structural_similarity as peer_similarity
from torch import nn

from convarium.explain import Attribution, average_drop, deletion, insertion, road
from convarium.explain.controls import heat_of, random_ranks, ranks, sample_keys, sample_mean, sobel
from convarium.explain.resizing import Extent
from convarium.explain.similarity import spearman, structural_similarity


@pytest.mark.parametrize("size", [(9, 7), (1, 5), (4, 5, 6)])
def test_sobel_is_that_of_skimage(size: tuple[int, ...]) -> None:
    """Theirs is divided by the sum of the smoothing weights and by the root of the rank."""
    x = torch.randn(2, 1, *size, dtype=torch.float64)
    scale = 4 ** (len(size) - 1) * len(size) ** 0.5
    for sample, found in zip(x, sobel(x), strict=True):
        np.testing.assert_allclose(found / scale, peer_sobel(sample[0].numpy()), atol=1e-12)


def test_sobel_of_channels_is_the_root_of_their_squares() -> None:
    x = torch.randn(2, 3, 6, 5)
    single = [sobel(x[:, channel : channel + 1]).square() for channel in range(3)]
    torch.testing.assert_close(sobel(x), sum(single).sqrt())
    assert float(sobel(torch.full((1, 2, 5), 3.0)).max()) == 0


@settings(max_examples=30)
@given(n=st.integers(2, 30), levels=st.integers(1, 9), seed=st.integers(0, 99))
def test_spearman_is_that_of_scipy_with_ties(n: int, levels: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randint(levels, (2, 3, n), generator=generator).float()
    for first, second, found in zip(a, b, spearman(a, b).tolist(), strict=True):
        if len(set(first.tolist())) == 1 or len(set(second.tolist())) == 1:
            assert found == 0
        else:
            assert found == pytest.approx(spearmanr(first, second).statistic, abs=1e-6)


@pytest.mark.parametrize("size", [(20, 16), (7, 7), (9, 8, 10)])
def test_structural_similarity_is_that_of_skimage(size: tuple[int, ...]) -> None:
    a, b = torch.rand(2, 2, *size, dtype=torch.float64)
    for first, second, found in zip(a, b, structural_similarity(a, b), strict=True):
        expected = peer_similarity(
            first.numpy(), second.numpy(), data_range=1, win_size=7, use_sample_covariance=False
        )
        assert float(found) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=30)
@given(n=st.integers(1, 40), seed=st.integers(0, 99))
def test_ranks_are_those_of_scipy_where_nothing_ties(n: int, seed: int) -> None:
    heat = torch.from_numpy(np.random.default_rng(seed).permutation(n)).float()[None]
    assert ranks(heat, [seed], 0)[0].tolist() == (rankdata(-heat[0].numpy()) - 1).tolist()


def test_ties_lie_between_what_is_higher_and_lower() -> None:
    heat = torch.tensor([[0.0] * 50 + [2.0] * 50 + [1.0] * 50]).expand(2, -1)
    found = ranks(heat, [1, 2], 0)
    assert found[:, 50:100].sort(1).values.tolist() == [list(range(50))] * 2
    assert found[:, 100:].sort(1).values.tolist() == [list(range(50, 100))] * 2
    assert found[0].tolist() != found[1].tolist()
    assert found[0, :50].tolist() != sorted(found[0, :50].tolist())


def test_what_is_drawn_for_a_sample_follows_from_its_content() -> None:
    x = torch.randn(3, 2, 4)
    assert sample_keys(x)[1:2] == sample_keys(x[1:2])
    assert len(set(sample_keys(x))) == 3
    drawn = random_ranks(30, sample_keys(x), 5)
    assert drawn.sort(1).values.tolist() == [list(range(30))] * 3
    assert drawn[2].tolist() == random_ranks(30, sample_keys(x[2:]), 5)[0].tolist()
    assert drawn[0].tolist() != drawn[1].tolist()


def test_an_interval_covers_the_mean_and_narrows() -> None:
    """About 95 of 100 intervals hold the true mean 0; four times the samples halve them."""
    torch.manual_seed(0)
    means = [sample_mean(torch.randn(40)) for _ in range(40)]
    assert sum(mean.interval.low <= 0 <= mean.interval.high for mean in means) >= 34
    few, many = sample_mean(torch.randn(50)), sample_mean(torch.randn(800))
    widths = [mean.interval.high - mean.interval.low for mean in (few, many)]
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.35)
    assert sample_mean(torch.tensor([torch.nan])).n == 0


@pytest.mark.parametrize("score", [deletion, insertion, average_drop, road])
def test_maps_that_say_nothing_have_no_score_and_are_counted(score: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    x, maps = torch.rand(5, 1, 4, 4), torch.rand(5, 4, 4)
    maps[1] = 0.1
    maps[2, 0, 0] = torch.nan
    words = ("fine", "fine", "not finite", "zero gradient", "all negative")
    heat = Attribution(maps, "0", (0,) * 5, torch.ones(5), words, (4, 4))
    found = score(network, x, heat)
    assert found.score.isfinite().tolist() == [True, False, False, False, True]
    assert found.empty_maps == 3
    assert found.means().over_random.n == 2
    assert found.random.isfinite().all()
    assert score(network, x, maps).empty_maps == 2
    point = replace(heat, values=maps[:, :1, :1], status=("no spatial extent",) * 5)
    assert score(network, x, point).empty_maps == 5


def test_a_padded_map_that_is_the_same_everywhere_says_nothing() -> None:
    values, status = torch.tensor([[1.0, 1, 1, 0], [1, 2, 1, 0]]), ("fine",) * 2
    rows = (Extent((3,), (3,), (3,)),) * 2
    heat = Attribution(values, "", (0, 0), torch.ones(2), status, (4,), extents=rows)
    assert heat_of(heat, torch.zeros(2, 1, 4), (4,))[1].tolist() == [False, True]
    whole = replace(heat, extents=None)
    assert heat_of(whole, torch.zeros(2, 1, 4), (4,))[1].all()
