"""The multilabel task against scikit-learn and torchmetrics."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from convarium import tasks
from convarium.data import Batch
from convarium.errors import DataError, OptionError

CLASSES = ("sky", "sea", "tree", "road")
TASK = tasks.Multilabel(CLASSES)


def batch_of(target: torch.Tensor | None, n: int = 0, start: int = 0) -> Batch:
    index = torch.arange(start, start + (n if target is None else len(target)))
    return Batch((index,), target, None, index, None)


def evaluated(outputs: torch.Tensor, target: torch.Tensor) -> tasks.LabelEvaluation:
    meter = TASK.meter()
    cut = len(target) // 3
    meter.add(outputs[:cut], batch_of(target[:cut]))
    meter.add(outputs[cut:], batch_of(target[cut:], start=cut))
    return meter.evaluation()


def drawn(seed: int, n: int = 120) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.bernoulli(torch.tensor([0.5, 0.3, 0.1, 0.7]).expand(n, 4), generator=generator)
    return 2 * torch.randn(n, 4, generator=generator) + 2 * target - 1, target


@pytest.mark.parametrize("seed", range(4))
def test_figures_are_those_of_scikit_learn(seed):
    outputs, target = drawn(seed)
    found, p = evaluated(outputs, target), outputs.sigmoid().numpy()
    truth, said = target.numpy() > 0.5, p >= 0.5
    f1 = metrics.f1_score(truth, said, average=None)
    assert [row.f1 for row in found.rows] == pytest.approx(f1)
    assert found.macro_f1 == pytest.approx(f1.mean())
    assert found.micro_f1 == pytest.approx(metrics.f1_score(truth, said, average="micro"))
    samples = metrics.f1_score(truth, said, average="samples", zero_division=1.0)
    assert found.score == pytest.approx(samples)
    precision = metrics.average_precision_score(truth, p, average=None)
    assert [row.average_precision for row in found.rows] == pytest.approx(precision)
    areas = metrics.roc_auc_score(truth, p, average=None)
    assert [row.auroc for row in found.rows] == pytest.approx(areas)
    figures = found.figures()
    assert figures["mean_average_precision"] == pytest.approx(precision.mean())
    assert figures["auroc"] == pytest.approx(areas.mean())
    assert figures["exact"] == pytest.approx(metrics.accuracy_score(truth, said))
    recall = metrics.recall_score(truth, said, average=None)
    assert [row.recall for row in found.rows] == pytest.approx(recall)
    assert [row.precision for row in found.rows] == pytest.approx(
        metrics.precision_score(truth, said, average=None)
    )
    expected = torch.nn.functional.binary_cross_entropy_with_logits(outputs, target)
    assert found.loss == pytest.approx(expected.item(), rel=1e-6)
    low, high = found.interval
    assert low < found.score < high


def test_figures_are_those_of_torchmetrics():
    peer = pytest.importorskip("torchmetrics.functional.classification")
    outputs, target = drawn(0)
    found, p, truth = evaluated(outputs, target), outputs.sigmoid(), target.long()
    figures = found.figures()
    expected = peer.binary_calibration_error(p.flatten(), truth.flatten(), n_bins=15, norm="l1")
    assert figures["ece"] == pytest.approx(expected.item(), rel=1e-4)
    expected = peer.multilabel_average_precision(p, truth, 4)
    assert figures["mean_average_precision"] == pytest.approx(expected.item(), rel=1e-5)
    expected = peer.multilabel_auroc(p, truth, 4)
    assert figures["auroc"] == pytest.approx(expected.item(), rel=1e-5)
    assert figures["macro_f1"] == pytest.approx(peer.multilabel_f1_score(p, truth, 4).item(), 1e-5)


ROWS = st.lists(st.tuples(*[st.tuples(st.booleans(), st.booleans())] * 4), min_size=3, max_size=30)


@given(ROWS)
def test_the_score_of_a_history_is_that_of_the_evaluation(rows):
    pairs = torch.tensor(rows)
    target, outputs = pairs[..., 0].float(), 6.0 * pairs[..., 1] - 3
    found = evaluated(outputs, target)
    total = TASK.score_sum(outputs, batch_of(target))
    assert total.item() / len(rows) == pytest.approx(found.score)
    samples = metrics.f1_score(
        target.numpy() > 0.5, outputs.numpy() > 0, average="samples", zero_division=1.0
    )
    assert found.score == pytest.approx(samples)
    text = json.dumps(found.to_json(), allow_nan=False)
    assert json.loads(text)["n"] == len(rows)
    assert len(found.lines()) == 5


def test_records_name_the_labels_from_the_threshold_on():
    outputs = torch.tensor([[2.0, -2.0, 0.0, -9.0], [-1.0, -1.0, -1.0, -1.0]])
    target = torch.tensor([[1.0, 1, 0, 0], [0, 0, 0, 0]])
    first, second = TASK.decode(outputs, batch_of(target))
    assert first.labels == ("sky", "tree")
    assert first.target == "sky; sea"
    assert first.columns()["labels"] == "sky; tree"
    assert first.columns()["top"].startswith("sky 0.881; tree 0.500")
    assert second.labels == ()
    assert second.target == second.sentence() == "(none)"
    strict = tasks.Multilabel(CLASSES, threshold=0.8).decode(outputs, batch_of(None, 2))
    assert strict[0].labels == ("sky",)
    assert strict[0].target is None


def test_the_worst_are_wrong_and_examples_take_turns_over_the_labels():
    target = torch.tensor([[1.0, 0, 0, 0]] * 3 + [[0.0, 1, 0, 0]] * 2 + [[0.0, 0, 0, 0]])
    outputs = 6 * target - 3
    outputs[1, 0], outputs[4, 3] = -1.0, 9.0
    found = evaluated(outputs, target)
    assert found.worst(9).tolist() == [4, 1]
    assert found.exact == 4
    assert sorted(found.examples(3).tolist()) == [0, 3, 5]


def test_predictions_are_rows_of_a_table():
    outputs, target = drawn(0, n=5)
    rows = list(evaluated(outputs, target).predictions())
    assert [row["id"] for row in rows] == [0, 1, 2, 3, 4]
    for k, row in enumerate(rows):
        names = [CLASSES[j] for j in np.flatnonzero(target[k].numpy())]
        assert row["target"] == "; ".join(names)


def test_the_card_brings_the_threshold():
    card = {"task": "multilabel", "classes": ["a", "b"], "threshold": 0.25}
    assert tasks.from_card(card) == tasks.Multilabel(("a", "b"), threshold=0.25)
    for bad in (0, 1.0, "0.5", None):
        with pytest.raises(OptionError, match="threshold"):
            tasks.from_card({**card, "threshold": bad})


def test_unlabelled_data_and_empty_data_are_refused():
    with pytest.raises(DataError, match="no labels"):
        TASK.loss(torch.zeros(2, 4), batch_of(None, 2))
    with pytest.raises(DataError, match="no sample"):
        TASK.meter().evaluation()
