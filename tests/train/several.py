"""Functions run in several processes that form a world, for tests."""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from typing import Any

import torch

from convarium.processes import World, joined

# Each process is a copy of one that has imported what takes seconds, and computed nothing yet.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch.distributed", "convarium.train.loop", "convarium.cli.train"])


def free_port() -> int:
    with socket.socket() as here:
        here.bind(("127.0.0.1", 0))
        return here.getsockname()[1]


def enter(rank: int, task: Callable[[World], Any], results: Any, words: dict[str, str]) -> None:
    torch.set_num_threads(1)
    os.environ.update(words, RANK=str(rank), LOCAL_RANK=str(rank))
    try:
        with joined() as world:
            results.put((rank, task(world)))
    except BaseException:
        results.put((rank, traceback.format_exc()))


def started(size: int, task: Callable[[World], Any]) -> tuple[list[Any], Any]:
    """Several processes with `task(world)` to do, and the queue that takes what each gives."""
    results = CONTEXT.Queue()
    world = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    words = {**os.environ, **world}
    workers = [
        CONTEXT.Process(target=enter, args=(rank, task, results, words)) for rank in range(size)
    ]
    for worker in workers:
        worker.start()
    return workers, results


def in_processes(size: int, task: Callable[[World], Any]) -> list[Any]:
    """What `task(world)` gave in each of several processes, in the order of the ranks."""
    workers, results = started(size, task)
    found = dict(results.get(timeout=120) for _ in workers)
    for worker in workers:
        worker.join()
    return [found[rank] for rank in range(size)]
