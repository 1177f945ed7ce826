"""Which samples' heatmaps a report shows."""

from __future__ import annotations

import numpy as np
import pytest

from convarium.report.galleries import galleries_of
from convarium.tasks import ClassEvaluation

CLASSES = ("ape", "bee", "cat", "dog", "eel", "fly")


def evaluation(targets: list[int], labels: list[int], confidences: list[float]) -> ClassEvaluation:
    confusion = np.zeros((6, 6), np.int64)
    np.add.at(confusion, (np.array(targets, int), np.array(labels, int)), 1)
    ids = np.arange(100, 100 + len(targets))
    return ClassEvaluation(
        CLASSES, confusion, 0.5, ids, np.array(targets, int), np.array(labels, int),
        np.array(confidences, np.float32),
    )  # fmt: skip


def test_right_and_wrong_answers_from_the_surest_and_from_the_least_sure() -> None:
    """Twelve right answers of six classes, two each; the later the surer."""
    labels = [0, 1, 2, 3, 4, 5] * 2
    confidences = [0.30 + 0.05 * k for k in range(12)]
    found = galleries_of(evaluation(labels, labels, confidences))
    assert {k: v.tolist() for k, v in found.items()} == {
        "Right and confident": [111, 110, 109],
        "Right and unsure": [100, 101, 102],
    }


def test_classes_take_turns_before_one_comes_again() -> None:
    targets, labels = [0] * 6 + [1] * 2, [2] * 6 + [3] * 2
    found = galleries_of(evaluation(targets, labels, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.65, 0.3]))
    assert found["Wrong and confident"].tolist() == [100, 106, 101]
    assert found["Wrong and unsure"].tolist() == [107, 105, 104]


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_no_sample_is_shown_twice_and_no_heading_stands_alone(n: int) -> None:
    found = galleries_of(evaluation([0] * n, [0] * n, [0.5] * n))
    shown = np.concatenate([*found.values(), np.array([], int)]).tolist()
    assert sorted(shown) == list(range(100, 100 + n))
    assert all(len(ids) for ids in found.values())
