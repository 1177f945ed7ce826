"""Functions run in several processes that form a world, for tests."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from forked import CONTEXT

from convarium.cli import main
from convarium.processes import World, joined


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


def commanded(words: list[str], world: World) -> tuple[int, str, str]:
    """Exit code of the command in one of the processes, and what it printed."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = main(words)
    return code, out.getvalue(), errors.getvalue()


def killed(words: list[str], shard: int) -> list[str]:
    """Run the command by torchrun in two processes, of which one is killed within a shard.

    The job without that death, as a list of words.
    """
    job = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    job += ["--master-port", str(free_port())]
    mortal = [*job, str(Path(__file__).with_name("mortal.py")), str(shard), *words]
    if subprocess.run(mortal, capture_output=True, timeout=120, check=False).returncode == 0:
        raise AssertionError("the job outlived the death of a worker")
    return [*job, "-m", "convarium", *words]
