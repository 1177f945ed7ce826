"""The learning rate against torch's own schedules and its closed form."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convarium.train.schedule import learning_rate


def test_equals_torchs_cosine_without_warmup():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=17)
    for step in range(17):
        ours = learning_rate(step, 17, peak=0.4, warmup=0.0)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()


@given(st.lists(st.integers(1, 30), max_size=5), st.floats(0.01, 1))
def test_equals_torchs_milestones(milestones, gamma):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma)
    options = {"peak": 0.4, "warmup": 0.0, "milestones": milestones, "gamma": gamma}
    for step in range(25):
        ours = learning_rate(step, 25, **options)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()


def test_milestones_count_from_the_first_step_of_the_run_also_after_a_warmup():
    def rate(step):
        return learning_rate(step, 100, peak=1.0, warmup=0.1, milestones=(5, 50), gamma=0.5)

    assert [rate(step) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert [rate(step) for step in (10, 49, 50, 99)] == pytest.approx([0.5, 0.5, 0.25, 0.25])


@given(st.integers(1, 500), st.floats(0, 0.95), st.floats(1e-6, 10))
def test_rises_then_falls_and_never_leaves_its_limits(total, warmup, peak):
    rates = [learning_rate(step, total, peak=peak, warmup=warmup) for step in range(total)]
    top = rates.index(max(rates))
    assert all(0 <= rate <= peak * (1 + 1e-12) for rate in rates)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[0] > 0
