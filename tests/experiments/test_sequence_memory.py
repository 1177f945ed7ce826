"""Tasks of memory: targets, chance, networks of equal size, and that they are learnt."""

from __future__ import annotations

import importlib
import json
import math
import sys

import pytest
import torch


@pytest.fixture
def experiment(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "experiments"))
    return importlib.import_module("sequence_memory")


@pytest.fixture
def tasks(experiment):
    return importlib.import_module("memory_tasks")


def test_sums_are_those_of_the_marked_numbers(tasks):
    task = tasks.adding(50, test=400)
    x, sums = next(task.batches(8, 0))
    assert x.shape == (8, 2, 50)
    assert x[:, 1].sum(1).tolist() == [2.0] * 8
    torch.testing.assert_close((x[:, 0] * x[:, 1]).sum(1), sums)
    assert task.score(torch.ones(400, 1)) == pytest.approx(1 / 6, rel=0.15)
    assert task.score(task.test[1][:, None]) == 0
    again, _ = next(task.batches(8, 0))
    other, _ = next(task.batches(8, 1))
    assert torch.equal(x, again)
    assert not torch.equal(x, other)


def test_copies_are_the_symbols_of_the_beginning(tasks):
    task = tasks.copying(30)
    x, targets = next(task.batches(4, 0))
    assert (x.shape, targets.shape) == ((4, 10, 50), (4, 50))
    steps = x.argmax(1)
    assert torch.equal(steps[:, :10], targets[:, -10:])
    assert not targets[:, :-10].any()
    assert (steps[:, -11:] == 9).all()
    assert not steps[:, 10:-11].any()
    form = torch.full((200, 10, 50), -1e4)  # knows where symbols come, and not which
    form[:, 0, :40], form[:, 1:9, 40:] = 0, 0
    assert task.score(form) == pytest.approx(10 * math.log(8) / 50, rel=1e-5)
    assert task.chance == pytest.approx(10 * math.log(8) / 50)


def test_permuted_digits_are_digits_in_another_order(tasks):
    plain, permuted = tasks.images("digits"), tasks.images("digits", permuted=True)
    assert plain.test[0].shape == permuted.test[0].shape == (359, 1, 64)
    assert torch.equal(plain.test[1], permuted.test[1])
    assert torch.equal(plain.test[0].sort(2).values, permuted.test[0].sort(2).values)
    assert not torch.equal(plain.test[0], permuted.test[0])
    assert 0.85 < plain.chance < 0.91


@pytest.mark.parametrize("name", ["adding_600", "copying_1000", "digits"])
def test_networks_have_equal_parameters(experiment, tasks, name):
    settings, task = experiment.SETTINGS[name], tasks.TASKS[name]()
    counts = [
        experiment.parameters(experiment.build(network, task, settings))
        for network in experiment.NETWORKS
    ]
    assert max(counts) < 1.03 * min(counts)


@pytest.mark.parametrize("network", ["tcn", "tcn_far", pytest.param("gru", marks=pytest.mark.long)])
def test_a_short_sum_is_learnt(experiment, network):
    settings = experiment.Settings((16,) * 3, 4, 400, length=12)
    run = experiment.one_run("adding_200", network, 0, settings)
    assert run["length"] == 12
    assert run["score"] < run["chance"] / 10
    assert run["history"][-1]["step"] == 400


def test_runs_are_kept_and_drawn(experiment, tmp_path, monkeypatch):
    out = tmp_path / "memory.json"
    words = ["memory", "--tasks", "adding_200", "copying_1000", "--length", "10", "--steps", "4"]
    for networks in (["tcn"], ["tcn", "lstm"]):
        monkeypatch.setattr(
            sys, "argv", [*words, "--seeds", "0", "--networks", *networks, "--out", str(out)]
        )
        assert experiment.main() == 0
    told = json.loads(out.read_text())
    assert [(run["task"], run["network"]) for run in told["runs"]] == [
        ("adding_200", "tcn"),
        ("adding_200", "lstm"),
        ("copying_1000", "tcn"),
        ("copying_1000", "lstm"),
    ]
    monkeypatch.setattr(sys, "argv", ["memory", "--figure", "--out", str(out)])
    assert experiment.main() == 0
    assert out.with_suffix(".png").stat().st_size > 5000
    assert "adding_200, 10 steps: squared error" in out.with_suffix(".svg").read_text()
    monkeypatch.setattr(sys, "argv", [*words, "--steps", "5", "--out", str(out)])
    with pytest.raises(SystemExit, match="other settings"):
        experiment.main()
