"""Members of a network that take turns at the rows: each learns, in one process and in several."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sequences import write_pair
from several import in_processes

from convarium import data, models, train
from convarium.processes import ALONE, World
from convarium.train.learner import Learner
from convarium.train.lightning_adapter import lightning_module


class Plain(torch.nn.Module):
    """Instead of a norm, whose statistics would be those of a process's own rows."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        return x


def members(count: int = 5, **options) -> torch.nn.Module:
    torch.manual_seed(0)
    small = {"channels": [3, 4], "kernel_sizes": [3, 3], "in_channels": 1, "num_classes": 2}
    return models.create("fcn", **small, members=count, **options)


def learnt(
    world: World, folder: Path, size: int = 4, accumulate: int = 1
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Which of five members each step moves, (steps, 5), and the weights after two epochs."""
    parts = data.split(data.open_dataset(folder))
    config = train.TrainConfig(
        epochs=2, batch_size=size, accumulate=accumulate, flip=False, precision="fp32",
        layout="contiguous", compile="off", optimizer="adamw", weight_decay=0.1,
    )  # fmt: skip
    model = members()
    for block in (*model.stage1, *model.stage2):
        block.norm = Plain()
    learner = Learner(model, parts, config, data.fit_preprocessing(parts.train), world)
    moved = []
    for epoch in range(2):
        for step, batch in enumerate(learner.batches(epoch)):
            learner.gradient(batch, epoch=epoch, step=step)
            before = [block.conv.weight.clone() for block in model.stage1]
            learner.update(0.01)
            after = [block.conv.weight for block in model.stage1]
            moved.append([not torch.equal(*two) for two in zip(before, after, strict=True)])
    return np.array(moved), {name: v.numpy().copy() for name, v in model.state_dict().items()}


@pytest.mark.parametrize(("size", "accumulate"), [(4, 1), (8, 2), (2, 1)])
def test_batches_of_fewer_rows_than_members_train_every_member(tmp_path, size, accumulate):
    folder = write_pair(tmp_path / "ramps")
    moved, _ = learnt(ALONE, folder, size, accumulate)
    times = moved.sum(0)
    assert times.min() >= 1
    assert times.max() - times.min() <= 1 + (size > 5)
    assert moved.sum(1).max() == min(size, 5)


@pytest.mark.parametrize(
    ("size", "accumulate"), [(4, 1), pytest.param(8, 2, marks=pytest.mark.long)]
)
def test_two_processes_train_the_members_that_one_trains(tmp_path, size, accumulate):
    task = functools.partial(
        learnt, folder=write_pair(tmp_path / "ramps"), size=size, accumulate=accumulate
    )
    moved, weights = task(ALONE)
    for found, own in in_processes(2, task):
        assert np.array_equal(found, moved)
        for name, value in weights.items():
            np.testing.assert_allclose(own[name], value, rtol=2e-3, atol=2e-4)


def test_batches_of_fewer_rows_than_twice_the_members_are_warned_of(tmp_path):
    parts = data.split(data.open_dataset(write_pair(tmp_path / "ramps")))
    steps = data.fit_preprocessing(parts.train)
    options = {"epochs": 1, "flip": False, "precision": "fp32"}
    for size, told in ((9, 1), (10, 0)):
        config = train.TrainConfig(batch_size=size, **options)
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            train.fit(members(), parts, config, preprocessing=steps)
        said = [str(each.message) for each in found]
        assert len(said) == told
        assert all("batches of 9 leave each of 5 members a sample or so" in line for line in said)


def test_lightnings_steps_deal_the_rows_out_too():
    pytest.importorskip("lightning")
    from convarium.tasks import Classification

    model = members().train()
    module = lightning_module(model, Classification(classes=("0", "1")), train.TrainConfig())
    module.log = lambda *_, **__: None
    for _ in range(2):
        module.training_step((torch.randn(3, 1, 12), torch.tensor([0, 1, 0])), 0).backward()
    assert all(block.conv.weight.grad.any() for block in model.stage1)
