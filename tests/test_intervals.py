"""Intervals against closed forms, another library, and their own coverage."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from convarium.errors import OptionError
from convarium.intervals import Interval, bootstrap, of_mean, wilson


@st.composite
def trials(draw: st.DrawFn) -> tuple[int, int]:
    n = draw(st.integers(1, 100_000))
    return draw(st.integers(0, n)), n


@given(trial=trials(), confidence=st.floats(0.5, 0.999))
def test_both_ends_solve_the_score_equation(trial: tuple[int, int], confidence: float) -> None:
    successes, n = trial
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    for end in wilson(successes, n, confidence):
        distance = (successes / n - end) ** 2
        assert math.isclose(distance, z * z * end * (1 - end) / n, rel_tol=1e-6, abs_tol=1e-12)


@given(trial=trials())
def test_wilson_equals_scipy(trial: tuple[int, int]) -> None:
    theirs = stats.binomtest(*trial).proportion_ci(0.95, method="wilson")
    assert wilson(*trial) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@given(trial=trials())
def test_wilson_holds_the_share_and_mirrors(trial: tuple[int, int]) -> None:
    successes, n = trial
    found = wilson(successes, n)
    mirrored = wilson(n - successes, n)
    assert 0 <= found.low <= successes / n <= found.high <= 1
    assert found == pytest.approx((1 - mirrored.high, 1 - mirrored.low), abs=1e-12)


def test_nothing_measured_says_nothing() -> None:
    assert wilson(0, 0) == Interval(0.0, 1.0)


def test_wilson_covers_the_truth_as_often_as_it_says() -> None:
    n, truth = 60, 0.9
    weights = stats.binom.pmf(np.arange(n + 1), n, truth)
    covered = [wilson(k, n).low <= truth <= wilson(k, n).high for k in range(n + 1)]
    assert 0.93 < float(weights[covered].sum()) < 0.98


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5), (0, -1)])
def test_counts_that_cannot_be_are_refused(successes: int, n: int) -> None:
    with pytest.raises(OptionError, match=r"successes \(="):
        wilson(successes, n)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, -0.1])
def test_a_confidence_that_is_no_share_is_refused(confidence: float) -> None:
    with pytest.raises(OptionError, match=r"confidence \(="):
        wilson(1, 2, confidence)
    with pytest.raises(OptionError, match=r"confidence \(="):
        bootstrap(lambda drawn: 0.0, 3, confidence=confidence)


def test_bootstrap_of_a_mean_is_close_to_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    found = bootstrap(lambda drawn: float(values[drawn].mean()), 400)
    half = 1.96 * values.std() / 20
    assert found == pytest.approx((values.mean() - half, values.mean() + half), abs=0.05)


def test_bootstrap_is_a_function_of_its_seed() -> None:
    values = np.arange(50.0)

    def spread(drawn: np.ndarray) -> float:
        return float(values[drawn].std())

    assert bootstrap(spread, 50, resamples=50) == bootstrap(spread, 50, resamples=50)
    assert bootstrap(spread, 50, resamples=50) != bootstrap(spread, 50, resamples=50, seed=1)


def test_bootstrap_of_a_constant_has_no_width() -> None:
    assert bootstrap(lambda drawn: 3.0, 7, resamples=20) == Interval(3.0, 3.0)


@pytest.mark.parametrize(("n", "resamples"), [(0, 10), (10, 0)])
def test_bootstrap_without_samples_or_draws_is_refused(n: int, resamples: int) -> None:
    with pytest.raises(OptionError, match="must be at least 1"):
        bootstrap(lambda drawn: 0.0, n, resamples=resamples)


@given(n=st.integers(2, 400), confidence=st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_means_are_as_much_wider_as_students_t_asks_for(n: int, confidence: float) -> None:
    """Beside the plain bootstrap of the same draws."""
    values = np.random.default_rng(n).normal(size=n)
    plain = bootstrap(lambda rows: float(values[rows].mean()), n, confidence=confidence)
    found = of_mean(values, confidence=confidence)
    tail = (1 + confidence) / 2
    wider = math.sqrt(n / (n - 1)) * stats.t.ppf(tail, n - 1) / stats.norm.ppf(tail)
    for end, expected in zip(found, plain, strict=True):
        assert end - values.mean() == pytest.approx(wider * (expected - values.mean()), rel=0.01)


def test_intervals_of_few_cover_the_mean_and_those_of_the_plain_bootstrap_do_not() -> None:
    draws = np.random.default_rng(0).normal(size=(100, 3))
    plain = [bootstrap(lambda rows, v=values: float(v[rows].mean()), 3) for values in draws]
    covered = [
        np.mean([low <= 0 <= high for low, high in ends]) for ends in (map(of_mean, draws), plain)
    ]
    assert covered[0] >= 0.93
    assert covered[1] < 0.85


def test_one_value_has_no_interval_and_equal_values_have_no_width() -> None:
    assert all(math.isnan(end) for end in of_mean(np.array([3.0])))
    assert of_mean(np.full(4, 3.0)) == Interval(3.0, 3.0)
    with pytest.raises(OptionError, match=r"n \(=0\)"):
        of_mean(np.zeros(0))
