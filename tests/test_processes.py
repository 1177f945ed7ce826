"""Several processes that work as one: sums, values and batches of evaluation, exactly once."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch
from several import in_processes, started
from torch import distributed

from convarium import data, models, predict
from convarium.data.dataset import Part
from convarium.errors import RunError
from convarium.processes import ALONE, World, joined


def talks(world: World) -> tuple[Any, ...]:
    return (
        world.rank,
        world.sum(world.rank + 0.5, 1.0),
        world.gather({"rank": world.rank}),
        world.share(f"from {world.rank}"),
    )


def test_three_processes_hear_the_same():
    found = in_processes(3, talks)
    said = ([4.5, 3.0], [{"rank": 0}, {"rank": 1}, {"rank": 2}], "from 0")
    assert found == [(rank, *said) for rank in range(3)]


def digits_part(count: int) -> tuple[data.Part, data.Preprocessing]:
    dataset = data.open_dataset("digits")
    steps = data.Preprocessing((1, 8, 8), (0.3,), (0.4,), classes=dataset.classes)
    return Part(dataset, np.arange(count)), steps


def evaluated(world: World) -> tuple[Any, ...]:
    part, steps = digits_part(157)
    torch.manual_seed(0)
    network = models.create("convnet", in_channels=1, channels=[8, 16]).eval()
    predictor = predict.Predictor(network, {"task": "classification", **steps.to_card()})
    found = predictor.evaluate(part, batch_size=32, world=world)
    return (
        found.n,
        found.loss,
        found.ids.tolist(),
        found.labels.tolist(),
        found.confidences.tolist(),
    )


def test_an_evaluation_of_two_processes_is_that_of_one_to_the_last_bit():
    alone = evaluated(ALONE)
    assert alone[0] == 157
    assert in_processes(2, evaluated) == [alone, alone]


def leaves(world: World) -> str:
    if world.rank == 1:
        os._exit(3)
    try:
        world.sum(1.0)
    except RunError as error:
        return str(error)
    return "nothing noticed"


def test_the_death_of_one_process_is_one_sentence_in_the_other():
    workers, results = started(2, leaves)
    rank, said = results.get(timeout=120)
    for worker in workers:
        worker.join()
    assert rank == 0
    assert "Another process of the job ended" in said
    assert workers[1].exitcode == 3


def test_a_job_of_one_needs_no_group(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with joined() as world:
        assert world is ALONE
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with joined() as world:
        assert world.alone
        assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(
    ("gpus", "local_rank", "chosen", "backend"),
    [(4, 3, 3, "cpu:gloo,cuda:nccl"), (3, 3, 0, "gloo"), (0, 3, None, "gloo")],
)
def test_each_process_has_a_gpu_and_nccl_where_there_are_enough(
    monkeypatch, gpus, local_rank, chosen, backend
):
    asked = []
    words = {"RANK": "7", "WORLD_SIZE": "8", "LOCAL_RANK": str(local_rank)}
    for name, value in {**words, "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", asked.append)
    monkeypatch.setattr(distributed, "init_process_group", lambda name, **_: asked.append(name))
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: None)
    with joined() as world:
        assert (world.rank, world.size, world.local_rank) == (7, 8, local_rank)
    assert asked == [*([] if chosen is None else [chosen]), backend]


@pytest.mark.parametrize(
    ("rank", "size", "words"),
    [("2", "2", "must be from 0 to"), ("one", "2", "must be whole numbers")],
)
def test_an_environment_that_cannot_be_is_refused(monkeypatch, rank, size, words):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", size)
    with pytest.raises(RunError, match=words), joined():
        pass
