"""ROAD against a dense system written down position by position, and by counting positions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from convarium.errors import OptionError, ShapeError
from convarium.explain import road
from convarium.explain.imputing import imputed, neighbours


def dense(x: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Every removed pixel the weighted mean of its neighbours: 1/6 beside, 1/12 across."""
    height, width = removed.shape
    matrix, right = np.eye(height * width), x.reshape(len(x), -1).T.copy()
    for i, j in zip(*np.nonzero(removed), strict=True):
        row = i * width + j
        right[row], matrix[row], total = 0, 0, 0
        for a, b in itertools.product((-1, 0, 1), repeat=2):
            inside = 0 <= i + a < height and 0 <= j + b < width
            if inside and (a or b):
                weight = 1 / 6 if a == 0 or b == 0 else 1 / 12
                matrix[row, (i + a) * width + j + b] -= weight
                total += weight
        matrix[row, row] += total
    return np.linalg.solve(matrix, right).T.reshape(x.shape)


@settings(max_examples=30)
@given(
    height=st.integers(1, 9),
    width=st.integers(2, 9),
    part=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_imputation_solves_the_dense_system(
    height: int, width: int, part: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((2, height, width))
    removed = generator.permutation(height * width) < int(part * (height * width - 1))
    removed = removed.reshape(height, width)
    found = imputed(x, removed)
    np.testing.assert_allclose(found, dense(x, removed), atol=1e-9)
    assert (found[:, ~removed] == x[:, ~removed]).all()


def test_weights_of_two_dimensions_are_the_papers() -> None:
    weights = dict(neighbours(2))
    assert weights[0, 1] == weights[-1, 0] == pytest.approx(1 / 6)
    assert weights[1, 1] == weights[-1, 1] == pytest.approx(1 / 12)
    for rank in (1, 2, 3):
        assert sum(weight for _, weight in neighbours(rank)) == pytest.approx(1)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_constant_is_imputed_exactly_and_nothing_leaves_its_range(rank: int) -> None:
    size = (40, 12, 6)[rank - 1 : rank] * rank
    removed = np.random.default_rng(0).random(size) < 0.8
    np.testing.assert_allclose(imputed(np.full((2, *size), 3.5), removed), 3.5)
    x = np.random.default_rng(1).random((1, *size))
    kept = x[0][~removed]
    found = imputed(x, removed)
    assert kept.min() - 1e-9 <= found.min() <= found.max() <= kept.max() + 1e-9


@pytest.mark.parametrize(("share", "count"), [(0.5, 50), (0.29, 29), (0.999, 99), (0.005, 0)])
def test_exactly_floor_p_n_positions_go(share: float, count: int) -> None:
    """The score is the number of positions that hold what they held."""
    x, heat = torch.randn(1, 1, 10, 10), torch.randn(1, 10, 10)

    def unchanged(z: Tensor) -> Tensor:
        return (z == x).flatten(1).sum(1, keepdim=True).float()

    found = road(nn.Identity(), x, heat, shares=[share], forward=unchanged, output="score")
    assert found.removed == (count,)
    assert found.most.flatten().tolist() == [100 - count] * 3
    assert found.least.flatten().tolist() == [100 - count] * 3


def test_the_score_is_that_of_pictures_made_one_by_one() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(2 * 20, 6), nn.Tanh(), nn.Linear(6, 3)).eval()
    x, heat = torch.randn(2, 2, 4, 5), torch.randn(2, 4, 5)
    found = road(network, x, heat, shares=(0.25, 0.6), noise_std=0, batch_size=5, target=1)
    differences = torch.zeros(2)
    for sample, share in itertools.product(range(2), (0.25, 0.6)):
        order = heat[sample].flatten().argsort(descending=True)
        scores = []
        for gone in (order[: int(share * 20)], order[20 - int(share * 20) :]):
            removed = np.zeros(20, dtype=bool)
            removed[gone.numpy()] = True
            filled = dense(x[sample].double().numpy(), removed.reshape(4, 5))
            scores.append(network(torch.from_numpy(filled).float()[None]).softmax(1)[0, 1])
        differences[sample] += (scores[1] - scores[0]).detach() / 2
    torch.testing.assert_close(found.score, differences, atol=1e-5, rtol=1e-4)


def test_random_orders_have_no_difference_on_average() -> None:
    """And the right order of a linear function has one: the mean of a half against the other."""
    torch.manual_seed(0)
    x = torch.randn(60, 1, 16) ** 2
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 1, bias=False))
    network[1].weight.data.fill_(1.0)
    found = road(network, x, x[:, 0], shares=[0.5], output="score")
    means = found.means()
    assert means.random.interval.low < 0 < means.random.interval.high
    assert means.over_random.interval.low > 0
    assert means.score.n == 60


def test_seeded_noise_in_any_batch() -> None:
    x, heat = torch.randn(3, 1, 12), torch.randn(3, 12)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    first, again = (road(network, x, heat, noise_std=1.0) for _ in range(2))
    other = road(network, x, heat, noise_std=1.0, seed=1)
    single = road(network, x[1:2], heat[1:2], noise_std=1.0)
    assert torch.equal(first.score, again.score)
    assert not torch.equal(first.score, other.score)
    torch.testing.assert_close(first.most[:, 1:2], single.most)


def test_what_it_cannot_take() -> None:
    network, x, heat = nn.Flatten(), torch.randn(1, 1, 9), torch.randn(1, 9)
    for shares in ((), (0.0,), (0.5, 1.0), (float("nan"),)):
        with pytest.raises(OptionError, match="above 0 and below 1"):
            road(network, x, heat, shares=shares)
    with pytest.raises(OptionError, match="noise_std"):
        road(network, x, heat, noise_std=-1)
    with pytest.raises(ShapeError, match="deletion and insertion"):
        road(network, torch.ones(1, 9, dtype=torch.long), heat)
