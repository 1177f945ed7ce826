"""The folds' mean and interval against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from convarium.errors import OptionError
from convarium.train.fold_results import FoldResult, cross_validation


@pytest.mark.parametrize("count", [2, 3, 4, 5, 10, 21, 60])
def test_the_interval_is_students(count):
    scores = np.random.default_rng(count).uniform(0.8, 0.9, count)
    folds = [FoldResult(k + 1, 10 + k, float(s), 0.1, 3) for k, s in enumerate(scores)]
    found = cross_validation(folds, "acc")
    low, high = stats.t.interval(
        0.95, count - 1, loc=scores.mean(), scale=scores.std(ddof=1) / np.sqrt(count)
    )
    assert found.mean == pytest.approx(scores.mean())
    assert found.interval == pytest.approx((low, high), rel=1e-9)
    assert found.n == sum(10 + k for k in range(count))
    assert found.to_json()["folds"][1] == {
        "fold": 2, "n": 11, "score": scores[1], "loss": 0.1, "best_epoch": 3,
    }  # fmt: skip
    assert f"{found.mean:.4f} of {count} folds" in found.sentence()


def test_one_fold_has_no_interval():
    with pytest.raises(OptionError, match="two or more"):
        cross_validation([FoldResult(1, 10, 0.9, 0.1, 3)], "acc")
