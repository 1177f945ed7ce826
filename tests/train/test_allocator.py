"""Freed memory that is kept: fewer page faults for the same steps, in a process of its own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from convarium.train.allocator import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "kept" else False
torch.set_num_threads(1)
def step():
    return [torch.zeros(12 * 2**20) for _ in range(3)]  # 48 MiB each: above what glibc keeps
for _ in range(4):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(root, how: str, **environment: str) -> tuple[str, int]:
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, how],
        env={**os.environ, "PYTHONPATH": str(root / "src"), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    kept, count = found.stdout.split()
    return kept, int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_the_steps_after_the_first_take_hardly_any_new_pages(root):
    _, plain = faults(root, "plain")
    kept, few = faults(root, "kept")
    assert kept == "True"
    assert plain > 5 * 3 * 48 * 2**20 / 2**16  # pages of up to 64 KiB, all of them anew
    assert few < plain / 10


def test_a_choice_of_the_user_stays(root):
    kept, _ = faults(root, "kept", MALLOC_MMAP_THRESHOLD_="131072")
    assert kept == "False"
