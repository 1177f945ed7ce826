"""Freed memory that is kept: fewer page faults for the same steps, in a process of its own."""

from __future__ import annotations

import platform

import pytest
from forked import Forked, execute

from convarium.train.allocator import keep_freed_memory

PROGRAM = """
import resource
import torch
from convarium.train.allocator import keep_freed_memory
kept = how == "kept" and keep_freed_memory()
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


def faults(how: str, folder) -> tuple[str, int]:
    done = Forked(execute, PROGRAM, {"how": how}, folder=folder).wait()
    assert done.returncode == 0, done.stderr
    kept, count = done.stdout.split()
    return kept, int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_the_steps_after_the_first_take_hardly_any_new_pages(tmp_path):
    _, plain = faults("plain", tmp_path)
    kept, few = faults("kept", tmp_path)
    assert kept == "True"
    assert plain > 5 * 3 * 48 * 2**20 / 2**16  # pages of up to 64 KiB, all of them anew
    assert few < plain / 10


def test_a_choice_of_the_user_stays(monkeypatch):
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "131072")
    assert keep_freed_memory() is False
