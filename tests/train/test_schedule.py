"""The learning rate against torch's own schedules and its closed forms."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from convarium.errors import OptionError
from convarium.train.config import TrainConfig, options
from convarium.train.schedule import learning_rate

((AUTO, *SCHEDULES),) = (f.metadata["choices"] for name, _, _, f in options() if name == "schedule")


def torchs(build, total):
    """The rates of torch's schedule, step by step, with a peak of 0.4."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    schedule = build(optimizer)
    for step in range(total):
        yield optimizer.param_groups[0]["lr"]
        optimizer.step()
        if step < total - 1:
            schedule.step()


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("cosine", lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=17)),
        ("linear", lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, total_iters=17)),
        ("linear", lambda o: lr_scheduler.PolynomialLR(o, total_iters=17, power=1.0)),
        ("constant", lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
        ("step", lambda o: lr_scheduler.MultiStepLR(o, [9, 13])),  # 17 / 2 and 3 * 17 / 4
    ],
)
def test_equals_torchs_schedule_without_warmup(name, build):
    for step, theirs in enumerate(torchs(build, 17)):
        ours = learning_rate(step, 17, peak=0.4, warmup=0.0, schedule=name)
        assert ours == pytest.approx(theirs, abs=1e-12)


def test_torchs_one_cycle_ends_lower_unless_it_is_told_where():
    def build(optimizer):
        return lr_scheduler.OneCycleLR(optimizer, max_lr=0.4, total_steps=17, cycle_momentum=False)

    *_, last = torchs(build, 17)
    ours = learning_rate(16, 17, peak=0.4, warmup=0.3, schedule="one_cycle")
    assert (ours, last) == (pytest.approx(0.4 / 10_000), pytest.approx(0.4 / 250_000))


@given(st.integers(2, 60), st.floats(0.0, 0.95))
def test_one_cycle_equals_torchs(total, warmup):
    assume(abs(warmup * total - 1) > 1e-6)  # torch divides by the length of the rise

    def build(optimizer):
        return lr_scheduler.OneCycleLR(
            optimizer, max_lr=0.4, total_steps=total, pct_start=warmup, cycle_momentum=False,
            div_factor=25, final_div_factor=1e4 / 25,
        )  # fmt: skip

    for step, theirs in enumerate(torchs(build, total)):
        ours = learning_rate(step, total, peak=0.4, warmup=warmup, schedule="one_cycle")
        assert ours == pytest.approx(theirs, rel=1e-9)


@given(st.lists(st.integers(1, 30), max_size=5), st.floats(0.01, 1))
def test_equals_torchs_milestones(milestones, gamma):
    options = {"peak": 0.4, "warmup": 0.0, "milestones": milestones, "gamma": gamma}
    found = torchs(lambda o: lr_scheduler.MultiStepLR(o, milestones, gamma), 25)
    for step, theirs in enumerate(found):
        assert learning_rate(step, 25, schedule="step", **options) == pytest.approx(theirs)


def test_milestones_count_from_the_first_step_of_the_run_also_after_a_warmup():
    def rate(step):
        options = {"milestones": (5, 50), "gamma": 0.5}
        return learning_rate(step, 100, peak=1.0, warmup=0.1, schedule="step", **options)

    assert [rate(step) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert [rate(step) for step in (10, 49, 50, 99)] == pytest.approx([0.5, 0.5, 0.25, 0.25])


@given(st.sampled_from(SCHEDULES), st.integers(1, 500), st.floats(0, 0.95), st.floats(1e-6, 10))
def test_rises_then_falls_and_never_leaves_its_limits(schedule, total, warmup, peak):
    rates = [
        learning_rate(step, total, peak=peak, warmup=warmup, schedule=schedule)
        for step in range(total)
    ]
    top = rates.index(max(rates))
    assert all(0 <= rate <= peak * (1 + 1e-12) for rate in rates)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[0] > 0


def test_a_single_step_of_one_cycle_has_the_peak():
    for warmup in (0.0, 0.3, 0.99):
        assert learning_rate(0, 1, peak=0.4, warmup=warmup, schedule="one_cycle") == 0.4
    assert learning_rate(1, 2, peak=0.4, warmup=0.3, schedule="one_cycle") == pytest.approx(4e-5)


def test_milestones_alone_mean_the_step_schedule():
    config = TrainConfig()
    assert config.schedule == AUTO == "auto"
    assert config.chosen_schedule == "cosine"
    assert dataclasses.replace(config, milestones=(3, 5)).chosen_schedule == "step"
    for name in SCHEDULES:
        assert TrainConfig(schedule=name).chosen_schedule == name


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name != "step"])
def test_milestones_beside_another_schedule_are_refused(name):
    assert TrainConfig(schedule="step", milestones=(3, 5)).chosen_schedule == "step"
    with pytest.raises(OptionError, match=f"milestones .* belong to .*'step', not to '{name}'"):
        TrainConfig(schedule=name, milestones=(3, 5))
