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


def free_port() -> int:
    with socket.socket() as here:
        here.bind(("127.0.0.1", 0))
        return here.getsockname()[1]


def enter(rank: int, size: int, port: int, task: Callable[[World], Any], results: Any) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(rank))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    try:
        with joined() as world:
            results.put((rank, task(world)))
    except BaseException:
        results.put((rank, traceback.format_exc()))


def in_processes(size: int, task: Callable[[World], Any]) -> list[Any]:
    """What `task(world)` gave in each of several processes, in the order of the ranks."""
    context = multiprocessing.get_context("spawn")
    results, port = context.Queue(), free_port()
    workers = [
        context.Process(target=enter, args=(rank, size, port, task, results))
        for rank in range(size)
    ]
    for worker in workers:
        worker.start()
    found = dict(results.get(timeout=120) for _ in workers)
    for worker in workers:
        worker.join()
    return [found[rank] for rank in range(size)]
