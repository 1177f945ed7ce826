"""Ranking and calibration against scikit-learn, torchmetrics and the papers' formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from convarium import tasks
from convarium.data import Batch
from convarium.tasks import scores


def evaluated(outputs: torch.Tensor, target: torch.Tensor, temperature: float = 1.0):
    classes = tuple(f"c{k}" for k in range(outputs.shape[1]))
    meter = tasks.Classification(classes, temperature).meter()
    for at in (slice(0, 7), slice(7, None)):
        index = torch.arange(len(target))[at]
        meter.add(outputs[at], Batch((index,), target[at], None, index, None))
    return meter.evaluation()


def drawn(seed: int, n: int = 200, classes: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, classes, (n,), generator=generator)
    noise = torch.randn(n, classes, generator=generator) * 2
    return noise + 2 * torch.nn.functional.one_hot(target, classes), target


@pytest.mark.parametrize("seed", range(4))
def test_figures_of_classes_are_those_of_torchmetrics(seed):
    peer = pytest.importorskip("torchmetrics.functional.classification")
    outputs, target = drawn(seed)
    found, p, k = evaluated(outputs, target), outputs.softmax(1), outputs.shape[1]
    expected = peer.multiclass_calibration_error(p, target, k, n_bins=15, norm="l1")
    assert found.ece == pytest.approx(expected.item(), rel=1e-4)
    expected = peer.multiclass_auroc(p.double(), target, k, average="macro")
    assert found.auroc == pytest.approx(expected.item(), rel=1e-5)
    expected = peer.multiclass_accuracy(p, target, k, top_k=5, average="micro")
    assert found.stated.top(5) == pytest.approx(expected.item())
    expected = peer.multiclass_f1_score(p, target, k, average="macro")
    assert found.macro_f1 == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_figures_of_classes_are_those_of_scikit_learn(seed):
    outputs, target = drawn(seed)
    found, p = evaluated(outputs, target), outputs.softmax(1)
    truth, stated = target.numpy(), p.double().numpy()
    stated = stated / stated.sum(1, keepdims=True)
    assert found.auroc == pytest.approx(
        metrics.roc_auc_score(truth, stated, multi_class="ovr", average="macro"), rel=1e-6
    )
    assert found.stated.nll == pytest.approx(metrics.log_loss(truth, stated), rel=1e-5)
    brier = metrics.brier_score_loss(truth, stated, scale_by_half=False)
    assert found.stated.brier == pytest.approx(brier, rel=1e-5)
    for top in (1, 2, 5):
        expected = metrics.top_k_accuracy_score(truth, stated, k=top)
        assert found.stated.top(top) == pytest.approx(expected)
    assert found.stated.top(1) == found.accuracy
    assert found.loss == pytest.approx(found.stated.nll, rel=1e-6)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_areas_with_ties_are_those_of_scikit_learn(pairs):
    values = np.array([value / 5 for value, _ in pairs], np.float32)
    positive = np.array([truth for _, truth in pairs])
    if positive.all() or not positive.any():
        assert math.isnan(scores.auroc(values, positive))
        return
    assert scores.auroc(values, positive) == pytest.approx(metrics.roc_auc_score(positive, values))
    expected = metrics.average_precision_score(positive, values)
    assert scores.average_precision(values, positive) == pytest.approx(expected)


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=60))
def test_every_probability_is_in_the_bin_that_holds_it(pairs):
    stated = np.array([p for p, _ in pairs], np.float32)
    came = np.array([truth for _, truth in pairs])
    bins = scores.reliability(stated, came)
    assert len(bins) == 15
    assert sum(each.n for each in bins) == len(pairs)
    by_hand = 0.0
    for k, each in enumerate(bins):
        inside = (stated.astype(float) * 15 > k) & (stated.astype(float) * 15 <= k + 1)
        inside |= (stated == 0) if k == 0 else False
        assert each.n == inside.sum()
        if each.n:
            by_hand += each.n * abs(came[inside].mean() - stated[inside].mean(dtype=float))
    assert scores.calibration_error(bins) == pytest.approx(by_hand / len(pairs))


def test_a_class_without_samples_is_left_out_of_the_mean_area():
    outputs, target = drawn(0, classes=4)
    some = target < 3
    found = evaluated(outputs[some], target[some])
    p = outputs[some].softmax(1).numpy()
    areas = [metrics.roc_auc_score(target[some].numpy() == k, p[:, k]) for k in range(3)]
    assert found.auroc == pytest.approx(np.mean(areas))


def test_tied_outputs_rank_as_they_are_named():
    found = evaluated(torch.zeros(9, 8), torch.arange(9) % 8)
    assert found.stated.ranks.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0]
    assert found.stated.top(1) == found.accuracy


def test_probabilities_beyond_the_budget_are_not_kept_and_nothing_else_changes(monkeypatch):
    outputs, target = drawn(1)
    whole = evaluated(outputs, target)
    small = scores.Kept(budget=8 * 4 * 100)
    monkeypatch.setattr(scores, "Kept", lambda: small)
    cut = evaluated(outputs, target)
    assert cut.auroc is None
    assert cut.stated.rows is None
    kept = {key: value for key, value in whole.summary().items() if key != "auroc"}
    assert kept == {key: value for key, value in cut.summary().items() if key != "auroc"}
    assert not any("AUROC" in line for line in cut.lines())


def test_top_five_needs_more_than_five_classes():
    outputs, target = drawn(0, classes=5)
    assert "top5" not in evaluated(outputs, target).summary()
    outputs, target = drawn(0, classes=6)
    found = evaluated(outputs, target)
    assert found.summary()["top5"] == found.stated.top(5)
    assert any(f"top-5 accuracy {found.stated.top(5):.2%}" in line for line in found.lines())
    json = found.to_json()
    assert sum(row["n"] for row in json["reliability"]) == 200
