"""The classification task against closed forms, scikit-learn and torch's own loss."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from convarium import tasks
from convarium.data import Batch, Mix
from convarium.errors import DataError, OptionError

CLASSES = ("ape", "bee", "cat")


def batch_of(targets: list[int] | None, start: int = 0) -> Batch:
    n = 4 if targets is None else len(targets)
    target = None if targets is None else torch.tensor(targets)
    index = torch.arange(start, start + n)
    return Batch(inputs=(torch.zeros(n, 1),), target=target, mask=None, index=index, weight=None)


def evaluate(outputs: torch.Tensor, targets: list[int]) -> tasks.ClassEvaluation:
    meter = tasks.Classification(CLASSES).meter()
    cut = len(targets) // 2
    meter.add(outputs[:cut], batch_of(targets[:cut]))
    meter.add(outputs[cut:], batch_of(targets[cut:], start=cut))
    return meter.evaluation()


def test_loss_of_equal_logits_is_the_entropy_of_the_classes():
    loss = tasks.Classification(CLASSES).loss(torch.zeros(2, 3), batch_of([0, 2]))
    assert loss.item() == pytest.approx(math.log(3))


def test_label_smoothing_mixes_the_target_with_the_uniform_distribution():
    outputs = torch.tensor([[2.0, 0.0, -1.0]], dtype=torch.float64).float()
    log_p = outputs.log_softmax(1)[0]
    soft = torch.tensor([0.1 / 3, 0.9 + 0.1 / 3, 0.1 / 3])
    smoothed = tasks.Objective(label_smoothing=0.1)
    loss = tasks.Classification(CLASSES).loss(outputs, batch_of([1]), smoothed)
    assert loss.item() == pytest.approx(-(soft * log_p).sum().item(), rel=1e-6)


def test_mixed_samples_have_the_soft_targets_loss_and_samples_their_weights():
    outputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    share, weight = torch.tensor([1.0, 0.75, 0.5, 0.1]), torch.tensor([1.0, 0.0, 2.0, 0.5])
    one_hot = torch.eye(3)
    own, partner = [0, 1, 2, 2], [1, 2, 2, 0]
    soft = share[:, None] * one_hot[own] + (1 - share)[:, None] * one_hot[partner]
    mix = Mix(torch.tensor(partner), share)
    batch = dataclasses.replace(batch_of(own), mix=mix, weight=weight)
    for smoothing in (0.0, 0.2):
        rows = torch.nn.functional.cross_entropy(
            outputs, soft, label_smoothing=smoothing, reduction="none"
        )
        loss = tasks.Classification(CLASSES).loss(
            outputs, batch, tasks.Objective(label_smoothing=smoothing)
        )
        assert loss.item() == pytest.approx((rows * weight).sum().item() / 4, rel=1e-6)


def test_bf16_outputs_are_measured_in_float32():
    outputs = torch.tensor([[8.0, 8.03125, 0.0]]).bfloat16()
    loss = tasks.Classification(CLASSES).loss(outputs, batch_of([0]))
    assert loss.dtype == torch.float32


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=40))
def test_figures_are_those_of_scikit_learn(pairs):
    truth, guess = (list(column) for column in zip(*pairs, strict=True))
    outputs = torch.nn.functional.one_hot(torch.tensor(guess), 3).float() * 5
    evaluation = evaluate(outputs, truth)
    labels = [0, 1, 2]
    assert evaluation.accuracy == pytest.approx(metrics.accuracy_score(truth, guess))
    expected = metrics.confusion_matrix(truth, guess, labels=labels)
    np.testing.assert_array_equal(evaluation.confusion, expected)
    present = sorted(set(truth))
    macro = metrics.f1_score(truth, guess, labels=present, average="macro", zero_division=0)
    assert evaluation.macro_f1 == pytest.approx(macro)
    precision, recall, _, support = metrics.precision_recall_fscore_support(
        truth, guess, labels=labels, zero_division=np.nan
    )
    rows = evaluation.rows
    np.testing.assert_allclose([row.precision for row in rows], precision)
    np.testing.assert_allclose([row.recall for row in rows], recall)
    assert [row.n for row in rows] == support.tolist()
    low, high = evaluation.macro_f1_interval
    assert 0 <= low <= high <= 1


def test_loss_of_uneven_batches_is_the_mean_over_samples():
    outputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    evaluation = evaluate(outputs, [0, 1, 2, 0, 1])
    expected = torch.nn.functional.cross_entropy(outputs, torch.tensor([0, 1, 2, 0, 1]))
    assert evaluation.loss == pytest.approx(expected.item(), rel=1e-6)


def test_most_confident_errors_come_first():
    outputs = torch.tensor([[5.0, 0, 0], [0.1, 0, 0], [3.0, 0, 0], [0, 9.0, 0]])
    evaluation = evaluate(outputs, [1, 1, 1, 1])
    assert evaluation.worst(10).tolist() == [0, 2, 1]
    assert evaluation.worst(1).tolist() == [0]


def test_examples_take_turns_over_the_classes():
    evaluation = evaluate(torch.zeros(7, 3), [0, 0, 0, 0, 2, 2, 1])
    assert evaluation.examples(5).tolist() == [0, 6, 4, 1, 5]


def test_records_name_classes_and_probabilities_sum_to_one():
    outputs = torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    records = tasks.Classification(CLASSES).decode(outputs, batch_of(None))
    assert [record.label for record in records] == ["bee", "ape", "cat", "ape"]
    assert all(sum(record.probabilities) == pytest.approx(1) for record in records)
    assert records[0].confidence == pytest.approx(math.e**2 / (math.e**2 + 2))
    assert all(record.target is None for record in records)
    assert records[0].columns()["label"] == "bee"
    assert records[3].columns()["top"].startswith("ape ")  # all equal: the label comes first


def test_json_has_no_nan_for_a_class_without_samples():
    evaluation = evaluate(torch.eye(3)[[0, 0]] * 9, [0, 0])
    rows = evaluation.to_json()["classes"]
    assert rows[2]["precision"] is None
    assert rows[2]["recall"] is None
    assert "2 of 2" in evaluation.sentence()


def test_unlabelled_data_and_empty_data_are_refused():
    task = tasks.Classification(CLASSES)
    with pytest.raises(DataError, match="no labels"):
        task.loss(torch.zeros(4, 3), batch_of(None))
    with pytest.raises(DataError, match="no sample"):
        task.meter().evaluation()


def test_unknown_task_names_the_close_match():
    with pytest.raises(OptionError, match="'classification'"):
        tasks.from_card({"task": "clasification", "classes": []})
