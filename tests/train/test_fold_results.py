"""The folds' mean and interval against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from convarium.errors import OptionError
from convarium.train.fold_results import FoldResult, cross_validation


def folds_of(scores):
    return [FoldResult(k + 1, 10 + k, float(s), 0.1, 3) for k, s in enumerate(scores)]


def student(scores, link, slope):
    """Student's interval where `link` takes the mean, by the delta method."""
    error = scores.std(ddof=1) / np.sqrt(len(scores)) * slope(scores.mean())
    return stats.t.interval(0.95, len(scores) - 1, loc=link(scores.mean()), scale=error)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 10, 21, 60])
def test_the_interval_of_shares_is_students_of_the_logit(count):
    scores = np.random.default_rng(count).uniform(0.8, 0.9, count)
    found = cross_validation(folds_of(scores), "acc")
    low, high = student(scores, special.logit, lambda m: 1 / (m * (1 - m)))
    assert found.mean == pytest.approx(scores.mean())
    assert found.interval == pytest.approx((special.expit(low), special.expit(high)), rel=1e-9)
    assert found.n == sum(10 + k for k in range(count))
    assert found.to_json()["folds"][1] == {
        "fold": 2, "n": 11, "score": scores[1], "loss": 0.1, "best_epoch": 3,
    }  # fmt: skip
    assert f"{found.mean:.4f} of {count} folds" in found.sentence()


def test_close_scores_have_students_plain_interval():
    scores = 0.85 + 1e-5 * np.random.default_rng(0).normal(size=8)
    found = cross_validation(folds_of(scores), "acc").interval
    assert found == pytest.approx(student(scores, lambda m: m, lambda m: 1), abs=1e-9)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_the_interval_of_scores_below_zero_is_students_of_the_distance_from_one(count):
    scores = np.linspace(-1.5, 0.95, count)
    found = cross_validation(folds_of(scores), "r2").interval
    low, high = student(scores, lambda m: -np.log(1 - m), lambda m: 1 / (1 - m))
    assert found == pytest.approx((1 - np.exp(-low), 1 - np.exp(-high)), rel=1e-9)
    assert found.high < 1


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_shares_stay_between_zero_and_one(scores):
    found = cross_validation(folds_of(scores), "acc")
    assert 0 <= found.interval.low <= found.mean + 1e-12
    assert found.mean - 1e-12 <= found.interval.high <= 1


def test_one_fold_has_no_interval():
    with pytest.raises(OptionError, match="two or more"):
        cross_validation([FoldResult(1, 10, 0.9, 0.1, 3)], "acc")


def test_scores_that_differ_by_less_than_numbers_tell_have_an_interval_too():
    for scores in ([1.0, 1 - 2**-53], [1.0, 1.0], [0.0, 5e-324], [0.0, 0.0]):
        low, high = cross_validation(folds_of(scores), "acc").interval
        assert 0 <= low <= high <= 1
