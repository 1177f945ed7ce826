"""Losses of all tasks against torch, closed forms, and gradients by finite differences."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from convarium import tasks
from convarium.data import Batch, Mix
from convarium.errors import OptionError

CLASSES = ("ape", "bee", "cat")
ONE = tasks.Classification(CLASSES)
MANY = tasks.Multilabel(CLASSES)
NUMBERS = tasks.Regression(("width", "age"), ("mm", "years"), (10.0, 40.0), (2.0, 20.0))


def batch_of(target: torch.Tensor) -> Batch:
    index = torch.arange(len(target))
    inputs = (torch.zeros(len(target), 1),)
    return Batch(inputs=inputs, target=target, mask=None, index=index, weight=None)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def focal(p: float, gamma: float) -> float:
    """Equation 4 of arXiv:1708.02002."""
    return -((1 - p) ** gamma) * math.log(p)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_focal_loss_of_classes_is_the_papers_formula(gamma):
    outputs, target = random(4, 3), torch.tensor([0, 1, 2, 2])
    objective = tasks.Objective(loss="focal", focal_gamma=gamma)
    p = outputs.double().softmax(1)[torch.arange(4), target]
    expected = sum(focal(each.item(), gamma) for each in p) / 4
    assert ONE.loss(outputs, batch_of(target), objective).item() == pytest.approx(expected, 1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_of_labels_is_the_papers_formula(gamma):
    outputs = random(2, 3)
    target = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    p = outputs.double().sigmoid()
    p_t = torch.where(target > 0, p, 1 - p).flatten()
    expected = sum(focal(each.item(), gamma) for each in p_t) / 6
    objective = tasks.Objective(loss="focal", focal_gamma=gamma)
    assert MANY.loss(outputs, batch_of(target), objective).item() == pytest.approx(expected, 1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_focal_loss_without_focus_is_the_plain_loss(smoothing):
    flat = tasks.Objective(loss="focal", focal_gamma=0.0, label_smoothing=smoothing)
    plain = tasks.Objective(label_smoothing=smoothing)
    labels = (random(5, 3, seed=2) > 0).float()
    for task, target in ((ONE, torch.tensor([0, 1, 2, 0, 1])), (MANY, labels)):
        one = task.loss(random(5, 3), batch_of(target), flat)
        two = task.loss(random(5, 3), batch_of(target), plain)
        torch.testing.assert_close(one, two)


@given(st.floats(0, 5), st.integers(0, 9))
def test_gradients_of_the_focal_losses_are_their_differences(gamma, seed):
    outputs = random(2, 3, seed=seed).double().requires_grad_()
    target = torch.tensor([seed % 3, 0])
    labels = (random(2, 3, seed=seed + 1) > 0).double()
    from convarium.tasks.focal import sigmoid_focal, softmax_focal

    def one(z):
        return softmax_focal(z, target, gamma=gamma, label_smoothing=0.1)

    def many(z):
        return sigmoid_focal(z, labels, gamma=gamma)

    assert torch.autograd.gradcheck(one, outputs, atol=1e-5)
    assert torch.autograd.gradcheck(many, outputs, atol=1e-5)


def test_sure_outputs_give_finite_losses_and_gradients():
    for gamma in (0.0, 0.5, 2.0):
        objective = tasks.Objective(loss="focal", focal_gamma=gamma)
        for task, target in ((ONE, torch.tensor([0, 1])), (MANY, torch.eye(3)[:2])):
            outputs = torch.tensor([[200.0, -200, 0], [200.0, -200, 0]]).requires_grad_()
            loss = task.loss(outputs, batch_of(target), objective)
            loss.backward()
            assert math.isfinite(loss.item())
            assert outputs.grad.isfinite().all()


def test_binary_cross_entropy_with_smoothing_is_torchs_with_softened_targets():
    outputs, labels = random(5, 3), (random(5, 3, seed=1) > 0).float()
    loss = MANY.loss(outputs, batch_of(labels), tasks.Objective(label_smoothing=0.2))
    soft = labels * 0.8 + 0.1
    expected = functional.binary_cross_entropy_with_logits(outputs, soft)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("auto", functional.mse_loss),
        ("mse", functional.mse_loss),
        ("mae", functional.l1_loss),
        ("huber", functional.smooth_l1_loss),
    ],
)
def test_losses_of_numbers_are_torchs_in_standard_deviations(name, function):
    outputs, target = random(6, 2), torch.tensor([10.0, 40.0]) + 30 * random(6, 2, seed=1)
    standardised = (target - torch.tensor([10.0, 40.0])) / torch.tensor([2.0, 20.0])
    loss = NUMBERS.loss(outputs, batch_of(target), tasks.Objective(loss=name))
    torch.testing.assert_close(loss, function(outputs, standardised), rtol=1e-5, atol=1e-6)


def test_huber_turns_straight_at_delta():
    outputs = torch.tensor([[0.5, 0.0], [3.0, 0.0]])
    target = torch.tensor([[10.0, 40.0], [10.0, 40.0]])
    loss = NUMBERS.loss(outputs, batch_of(target), tasks.Objective(loss="huber", huber_delta=2.0))
    expected = (0.5 * 0.5**2 + 2.0 * (3.0 - 1.0)) / 4
    assert loss.item() == pytest.approx(expected)


def test_mixed_samples_share_the_loss_and_numbers_the_target():
    share, weight = torch.tensor([1.0, 0.75, 0.5, 0.1]), torch.tensor([1.0, 0.0, 2.0, 0.5])
    outputs, own, partner = random(4, 3), random(4, 3, seed=1) > 0, random(4, 3, seed=2) > 0
    mix = Mix(partner.float(), share)
    batch = dataclasses.replace(batch_of(own.float()), mix=mix, weight=weight)
    for objective in (tasks.Objective(), tasks.Objective(loss="focal")):
        apart = [MANY.losses_of(outputs, each, objective).mean(1) for each in (own, partner)]
        expected = (weight * (share * apart[0] + (1 - share) * apart[1])).sum() / 4
        torch.testing.assert_close(MANY.loss(outputs, batch, objective), expected)
    values, others = 10 + random(4, 2), 10 + random(4, 2, seed=3)
    mixed = share[:, None] * values + (1 - share[:, None]) * others
    batch = dataclasses.replace(batch_of(values), mix=Mix(others, share))
    for name in NUMBERS.losses:
        objective = tasks.Objective(loss=name)
        expected = NUMBERS.loss(outputs[:, :2], batch_of(mixed), objective)
        found = NUMBERS.loss(outputs[:, :2], batch, objective)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_class_weights_multiply_the_samples_losses():
    outputs, target = random(5, 3), torch.tensor([0, 1, 2, 0, 1])
    weights = (0.5, 2.0, 1.0)
    weighed = tasks.Objective(class_weights=weights)
    rows = functional.cross_entropy(outputs, target, torch.tensor(weights), reduction="none")
    torch.testing.assert_close(ONE.loss(outputs, batch_of(target), weighed), rows.sum() / 5)
    labels = functional.one_hot(target, 3).float()
    rows = functional.binary_cross_entropy_with_logits(
        outputs, labels, torch.tensor(weights), reduction="none"
    )
    torch.testing.assert_close(MANY.loss(outputs, batch_of(labels), weighed), rows.mean())


@given(
    st.lists(st.floats(0, 5, width=32), min_size=3, max_size=3),
    st.floats(0, 0.9),
    st.integers(0, 99),
)
def test_weights_and_smoothing_together_are_torchs_sum_over_the_samples(weights, smoothing, seed):
    outputs = random(7, 3, seed=seed)
    target = torch.tensor([0, 1, 2, 0, 1, 1, seed % 3])
    torchs = torch.nn.CrossEntropyLoss(
        torch.tensor(weights), label_smoothing=smoothing, reduction="sum"
    )
    expected = torchs(outputs, target) / 7
    options = {"class_weights": tuple(weights), "label_smoothing": smoothing}
    flat = {"loss": "focal", "focal_gamma": 0.0}
    for objective in (tasks.Objective(**options), tasks.Objective(**options, **flat)):
        found = ONE.loss(outputs, batch_of(target), objective)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_focal_loss_with_weights_and_smoothing_is_its_formula():
    outputs, target, weights = random(4, 3), [0, 1, 2, 2], (0.5, 2.0, 1.0)
    objective = tasks.Objective(
        loss="focal", focal_gamma=2.0, label_smoothing=0.3, class_weights=weights
    )
    total = 0.0
    for row, own in zip(outputs.double().softmax(1).tolist(), target, strict=True):
        parts = [weight * focal(p, 2.0) for weight, p in zip(weights, row, strict=True)]
        total += 0.7 * parts[own] + 0.3 / 3 * sum(parts)
    found = ONE.loss(outputs, batch_of(torch.tensor(target)), objective)
    assert found.item() == pytest.approx(total / 4, 1e-5)


@given(st.lists(st.integers(1, 99), min_size=1, max_size=6))
def test_balanced_weights_give_each_class_its_part_and_a_mean_of_one(counts):
    weights = tasks.balanced_weights(counts)
    parts = [n * weight for n, weight in zip(counts, weights, strict=True)]
    assert parts == pytest.approx([sum(counts) / len(counts)] * len(counts))
    assert sum(parts) / sum(counts) == pytest.approx(1)


def test_pos_weight_is_torchs_in_both_losses():
    outputs, labels = random(6, 3), (random(6, 3, seed=1) > 0).float()
    yes = torch.tensor([0.25, 1.0, 7.0])
    expected = torch.nn.BCEWithLogitsLoss(pos_weight=yes)(outputs, labels)
    for more in ({}, {"loss": "focal", "focal_gamma": 0.0}):
        objective = tasks.Objective(pos_weight=tuple(yes.tolist()), **more)
        found = MANY.loss(outputs, batch_of(labels), objective)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_smoothed_and_balanced_each_answer_is_best_near_its_label(label):
    weights, pos_weight = tasks.balanced_labels([50], 5000)
    objective = tasks.Objective(class_weights=weights, pos_weight=pos_weight, label_smoothing=0.1)
    chances = torch.arange(1, 100) / 100
    task, target = tasks.Multilabel(("rare",)), torch.full((99, 1), label)
    losses = task.losses_of(chances.logit()[:, None], target, objective)
    assert chances[losses[:, 0].argmin()] == pytest.approx(0.95 if label else 0.05)


@given(st.lists(st.integers(1, 99), min_size=1, max_size=6))
def test_balanced_labels_give_yes_and_no_the_same_part_and_a_mean_of_one(counts):
    n = 100
    for count, no, factor in zip(counts, *tasks.balanced_labels(counts, n), strict=True):
        assert count * no * factor == pytest.approx(n / 2)
        assert (n - count) * no == pytest.approx(n / 2)


def test_the_loss_of_a_batch_is_the_mean_of_those_of_its_halves():
    outputs, target = random(6, 3), torch.tensor([0, 1, 2, 0, 1, 1])
    objective = tasks.Objective(class_weights=(0.2, 3.0, 1.0))
    halves = [ONE.loss(outputs[at], batch_of(target[at]), objective)
              for at in (slice(0, 3), slice(3, 6))]  # fmt: skip
    whole = ONE.loss(outputs, batch_of(target), objective)
    torch.testing.assert_close(whole, sum(halves) / 2)


@pytest.mark.parametrize(
    ("options", "task", "words"),
    [
        (
            {"loss": "bce"},
            ONE,
            "'bce'.* does not belong to classification; allowed are auto, cross",
        ),
        ({"loss": "fokal"}, MANY, "Did you mean 'focal'"),
        ({"loss": "focal"}, NUMBERS, "allowed are auto, mse, mae, huber"),
        ({"label_smoothing": 0.1}, NUMBERS, "has no classes"),
        ({"class_weights": (1.0, 1.0)}, NUMBERS, "has no classes"),
        ({"class_weights": (1.0, 1.0)}, ONE, "each of the 3 classes"),
        ({"pos_weight": (1.0, 1.0, 1.0)}, ONE, "several labels"),
        ({"pos_weight": (1.0, 1.0)}, MANY, "each of the 3 classes"),
    ],
)
def test_what_does_not_belong_to_a_task_is_refused(options, task, words):
    with pytest.raises(OptionError, match=words):
        tasks.Objective(**options).check(task)


@pytest.mark.parametrize("task", [ONE, MANY, NUMBERS])
def test_every_loss_of_a_task_is_accepted_and_its_first_is_the_default(task):
    target = {ONE: torch.tensor([0, 1]), MANY: torch.eye(3)[:2], NUMBERS: torch.ones(2, 2)}[task]
    outputs = random(2, task.head_size)
    for name in ("auto", *task.losses):
        tasks.Objective(loss=name).check(task)
    first = task.loss(outputs, batch_of(target), tasks.Objective(loss=task.losses[0]))
    assert torch.equal(first, task.loss(outputs, batch_of(target)))


@pytest.mark.parametrize(
    "options",
    [
        {"label_smoothing": 1.0},
        {"label_smoothing": float("nan")},
        {"focal_gamma": -1.0},
        {"huber_delta": 0.0},
        {"class_weights": (1.0, -1.0)},
        {"class_weights": (1.0, "2")},
        {"class_weights": 2.0},
        {"pos_weight": (1.0, -1.0)},
    ],
)
def test_numbers_outside_their_range_are_refused(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        tasks.Objective(**options)


def test_weights_of_a_class_without_samples_are_refused():
    with pytest.raises(OptionError, match="1 or more"):
        tasks.balanced_weights([3, 0])


@pytest.mark.parametrize("counts", [(0, 2), (2, 4)])
def test_labels_that_no_sample_has_or_all_have_cannot_be_balanced(counts):
    with pytest.raises(OptionError, match="between 0 and the 4"):
        tasks.balanced_labels(counts, 4)
