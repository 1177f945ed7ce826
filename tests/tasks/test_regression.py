"""The regression task against scikit-learn and closed forms."""

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

TASK = tasks.Regression(("width", "age"), ("mm", ""), (10.0, 40.0), (2.0, 20.0))


def batch_of(target: torch.Tensor | None, n: int = 0, start: int = 0) -> Batch:
    index = torch.arange(start, start + (n if target is None else len(target)))
    return Batch((index,), target, None, index, None)


def evaluated(outputs: torch.Tensor, target: torch.Tensor) -> tasks.ValueEvaluation:
    meter = TASK.meter()
    cut = len(target) // 3
    meter.add(outputs[:cut], batch_of(target[:cut]))
    meter.add(outputs[cut:], batch_of(target[cut:], start=cut))
    return meter.evaluation()


def drawn(seed: int, n: int = 90) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(n, 2, generator=generator)
    noise = torch.randn(n, 2, generator=generator)
    return outputs, (outputs + 0.4 * noise) * torch.tensor([2.0, 20.0]) + torch.tensor([10.0, 40.0])


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_scikit_learn(seed):
    outputs, target = drawn(seed)
    found = evaluated(outputs, target)
    values = (outputs.double() * torch.tensor([2.0, 20.0]) + torch.tensor([10.0, 40.0])).numpy()
    truth = target.numpy()
    np.testing.assert_allclose(found.values, values, rtol=1e-6)
    assert found.score == pytest.approx(metrics.r2_score(truth, values), rel=1e-6)
    for k, row in enumerate(found.rows):
        pair = truth[:, k], values[:, k]
        assert row.mae == pytest.approx(metrics.mean_absolute_error(*pair), rel=1e-6)
        assert row.rmse == pytest.approx(metrics.root_mean_squared_error(*pair), rel=1e-6)
        assert row.r2 == pytest.approx(metrics.r2_score(*pair), rel=1e-6)
        assert row.mae_interval.low < row.mae < row.mae_interval.high
        assert row.rmse_interval.low < row.rmse < row.rmse_interval.high
        assert row.r2_interval.low < row.r2 < row.r2_interval.high
    spread = np.array([2.0, 20.0])
    expected = (((values - truth) / spread) ** 2).mean()
    assert found.loss == pytest.approx(expected, rel=1e-5)


def test_figures_are_those_of_torchmetrics():
    peer = pytest.importorskip("torchmetrics.functional")
    outputs, target = drawn(3)
    found = evaluated(outputs, target)
    assert found.score == pytest.approx(peer.r2_score(TASK.stated(outputs), target).item(), 1e-5)


def test_training_scores_are_r2_where_the_cards_moments_are_those_of_the_samples():
    outputs, target = drawn(1)
    exact = target.double()
    task = tasks.Regression(
        TASK.names, TASK.units, tuple(exact.mean(0).tolist()),
        tuple(exact.std(0, correction=0).tolist()),
    )  # fmt: skip
    score = task.score_sum(outputs, batch_of(target)).item() / len(target)
    expected = metrics.r2_score(target.numpy(), task.stated(outputs).numpy())
    assert score == pytest.approx(expected, rel=1e-4)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20))
def test_a_target_as_output_comes_back_as_it_was(numbers):
    target = torch.tensor([[value, value] for value in numbers])
    standardised = (target.double() - torch.tensor([10.0, 40.0])) / torch.tensor([2.0, 20.0])
    back = TASK.stated(standardised)
    torch.testing.assert_close(back, target, rtol=1e-6, atol=1e-5)
    assert TASK.loss(standardised, batch_of(target)).item() == pytest.approx(0, abs=1e-9)


def test_a_truth_that_never_changes_has_a_finite_score():
    flat = torch.tensor([[12.0, 60.0]]).expand(4, 2)
    assert evaluated(torch.ones(4, 2), flat).score == 1.0
    assert evaluated(torch.zeros(4, 2), flat).score == 0.0


def test_records_have_names_units_and_truth():
    record = TASK.decode(torch.tensor([[1.0, 0.5]]), batch_of(torch.tensor([[11.0, 60.0]])))[0]
    assert record.values == (12.0, 50.0)
    assert record.columns() == {"predicted_width": 12.0, "predicted_age": 50.0}
    assert record.sentence() == "width 12 mm, age 50"
    assert record.target == "width 11 mm, age 60"
    assert TASK.decode(torch.zeros(1, 2), batch_of(None, 1))[0].target is None
    one = tasks.Regression(("age",), ("years",), (40.0,), (20.0,))
    assert one.decode(torch.zeros(1, 1), batch_of(None, 1))[0].sentence() == "40 years"


def test_the_worst_is_the_furthest_in_standard_deviations_and_examples_span_the_truth():
    target = torch.tensor([[10.0 + k, 40.0] for k in range(9)])
    outputs = (target - torch.tensor([10.0, 40.0])) / torch.tensor([2.0, 20.0])
    outputs[4, 0] += 3.0  # 6 mm
    outputs[7, 1] += 1.0  # 20 years
    found = evaluated(outputs, target)
    assert found.worst(2).tolist() == [4, 7]
    assert found.examples(3).tolist() == [0, 4, 8]
    assert found.examples(99).tolist() == list(range(9))


def test_json_and_predictions_hold_every_output():
    outputs, target = drawn(0, n=6)
    found = evaluated(outputs, target)
    text = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert text["outputs"]["width"]["unit"] == "mm"
    assert text["outputs"]["age"]["r2_interval"] == list(found.rows[1].r2_interval)
    row = list(found.predictions())[2]
    assert list(row) == ["id", "target_width", "predicted_width", "target_age", "predicted_age"]
    assert row["target_age"] == target[2, 1].item()
    assert f"n {len(target)}" in found.sentence()
    assert "MAE" in found.lines()[0]
    assert " mm (" in found.lines()[0]


def test_the_mean_of_views_is_the_mean_of_values():
    views = [torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 4.0]])]
    assert TASK.stated(TASK.merge(views)).tolist() == [[13.0, 80.0]]


CARD = {
    "task": "regression",
    "classes": ["width", "age"],
    "targets": {"units": ["mm", ""], "mean": [10.0, 40.0], "std": [2.0, 20.0]},
}


def test_the_card_brings_units_mean_and_deviation():
    assert tasks.from_card(CARD) == TASK


@pytest.mark.parametrize(
    "targets",
    [
        None,
        {},
        {**CARD["targets"], "std": [2.0, 0.0]},
        {**CARD["targets"], "mean": [2.0]},
        {**CARD["targets"], "mean": ["x", 1.0]},
        {**CARD["targets"], "std": [float("nan"), 1.0]},
    ],
)
def test_a_card_that_does_not_fit_is_refused(targets):
    with pytest.raises(OptionError, match=r"std|mean"):
        tasks.from_card({**CARD, "targets": targets})


def test_unlabelled_data_and_empty_data_are_refused():
    with pytest.raises(DataError, match="no labels"):
        TASK.loss(torch.zeros(2, 2), batch_of(None, 2))
    with pytest.raises(DataError, match="no sample"):
        TASK.meter().evaluation()
