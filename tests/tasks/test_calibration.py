"""Temperature scaling: the minimum, found by other means too; and no label changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from convarium import tasks
from convarium.data import Batch
from convarium.errors import DataError, OptionError
from convarium.tasks.calibration import sigmoid_temperature, softmax_temperature

CLASSES = ("ape", "bee", "cat", "dog")


def drawn(seed: int, n: int = 300, sharpness: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Honest outputs and the classes drawn from them, then made `sharpness` times as sure."""
    generator = torch.Generator().manual_seed(seed)
    outputs = 2 * torch.randn(n, 4, generator=generator)
    target = torch.multinomial(outputs.softmax(1), 1, generator=generator)[:, 0]
    return outputs * sharpness, target


def batch_of(target: torch.Tensor) -> Batch:
    index = torch.arange(len(target))
    return Batch((index,), target, None, index, None)


@given(st.integers(0, 99), st.floats(0.05, 20))
def test_the_temperature_is_the_minimum_that_scipy_finds(seed, sharpness):
    outputs, target = drawn(seed, sharpness=sharpness)

    def cost(inverse: float) -> float:
        return torch.nn.functional.cross_entropy(outputs.double() * inverse, target).item()

    best = optimize.minimize_scalar(cost, bounds=(1e-3, 1e3), method="bounded",
                                    options={"xatol": 1e-9})  # fmt: skip
    found = softmax_temperature(outputs, target)
    assert cost(1 / found) <= best.fun + 1e-9
    assert cost(1 / found) <= cost(1.0) + 1e-12


@given(st.integers(0, 99), st.floats(0.1, 10))
def test_the_temperature_of_labels_is_a_minimum_too(seed, sharpness):
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(200, 3, generator=generator)
    target = torch.bernoulli(outputs.sigmoid(), generator=generator)
    outputs = outputs * sharpness

    def cost(inverse: float) -> float:
        return torch.nn.functional.binary_cross_entropy_with_logits(
            outputs.double() * inverse, target.double()
        ).item()

    best = 1 / sigmoid_temperature(outputs, target)
    assert cost(best) <= min(cost(best * 1.001), cost(best / 1.001), cost(1.0)) + 1e-12


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_outputs_made_surer_get_that_temperature_back(sharpness):
    outputs, target = drawn(0, n=20_000, sharpness=sharpness)
    assert softmax_temperature(outputs, target) == pytest.approx(sharpness, rel=0.05)


def test_calibration_lowers_the_error_and_changes_no_label():
    outputs, target = drawn(1, n=5000, sharpness=3.0)
    plain = tasks.Classification(CLASSES)
    found = plain.calibrate(outputs, target)
    assert found.ece_after < found.ece_before / 4
    assert found.n == 5000
    card = {"task": "classification", "classes": CLASSES, "calibration": found.to_card()}
    scaled = tasks.from_card(card)
    before, after = (task.meter() for task in (plain, scaled))
    for meter in (before, after):
        meter.add(outputs, batch_of(target))
    one, two = before.evaluation(), after.evaluation()
    assert one.ece == pytest.approx(found.ece_before, rel=1e-6)
    assert two.ece == pytest.approx(found.ece_after, rel=1e-6)
    np.testing.assert_array_equal(one.labels, two.labels)
    assert one.loss == two.loss
    assert two.stated.nll < one.stated.nll
    expected = torch.nn.functional.cross_entropy(outputs / found.temperature, target)
    assert two.stated.nll == pytest.approx(expected.item(), rel=1e-5)
    records = [task.decode(outputs[:50], batch_of(target[:50])) for task in (plain, scaled)]
    for first, second in zip(*records, strict=True):
        assert first.label == second.label
    p = (outputs[:50] / found.temperature).softmax(1)
    np.testing.assert_allclose([r.probabilities for r in records[1]], p, rtol=1e-5)


def test_equal_outputs_after_division_do_not_change_the_label():
    outputs = torch.tensor([[1.0, 1.0 + 2**-23, 0.0, 0.0]])
    hot = tasks.Classification(CLASSES, temperature=100.0)
    assert hot.decode(outputs, batch_of(torch.tensor([0])))[0].label == "bee"


def test_a_perfect_validation_says_nothing_about_the_temperature():
    target = torch.arange(4).repeat(5)
    outputs = torch.eye(4)[target] * 5
    assert softmax_temperature(outputs, target) == 1.0
    assert tasks.Classification(CLASSES).calibrate(outputs, target).temperature == 1.0
    assert sigmoid_temperature(outputs - 2, torch.eye(4)[target]) == 1.0


def test_outputs_that_know_nothing_end_at_the_largest_temperature():
    outputs = torch.tensor([[5.0, 0, 0, 0], [0, 5.0, 0, 0], [0, 0, 5.0, 0]])
    assert softmax_temperature(outputs, torch.tensor([3, 3, 3])) == pytest.approx(100.0)


def test_labels_are_decided_as_without_a_temperature():
    outputs = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    target = (outputs + torch.randn(50, 4) > 0).float()
    plain = tasks.Multilabel(CLASSES, threshold=0.3)
    hot = tasks.Multilabel(CLASSES, threshold=0.3, temperature=4.0)
    both = [task.decode(outputs, batch_of(target)) for task in (plain, hot)]
    assert [r.labels for r in both[0]] == [r.labels for r in both[1]]
    assert both[0][0].probabilities != both[1][0].probabilities
    found = plain.calibrate(outputs, target)
    assert found.n == 50


def test_numbers_have_nothing_to_calibrate_and_no_samples_are_refused():
    numbers = tasks.Regression(("age",), ("",), (0.0,), (1.0,))
    assert numbers.calibrate(torch.zeros(3, 1), torch.zeros(3, 1)) is None
    empty = torch.zeros(0, 4)
    with pytest.raises(DataError, match="no samples"):
        tasks.Classification(CLASSES).calibrate(empty, torch.zeros(0, dtype=torch.int64))
    with pytest.raises(DataError, match="no samples"):
        tasks.Multilabel(CLASSES).calibrate(empty, empty)


@pytest.mark.parametrize("value", [0, -1.0, float("inf"), "2", None, True])
def test_a_card_with_a_temperature_that_is_none_is_refused(value):
    card = {"task": "classification", "classes": ["a"], "calibration": {"temperature": value}}
    with pytest.raises(OptionError, match="above 0"):
        tasks.from_card(card)
    with pytest.raises(OptionError, match="above 0"):
        tasks.from_card({**card, "calibration": [1.5]})
