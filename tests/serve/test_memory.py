"""Memory that a server does not need goes back to the system."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from convarium.serve import memory

CODE = """
import os
from convarium.serve.memory import give_back

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

pictures, kept = [], []
for k in range(1000):  # below the size for which the C library asks the system each time
    pictures.append(bytes([k % 250 + 1]) * 100_000)
    kept.append(bytes([k % 250 + 1]) * 1000)
before = resident()
pictures.clear()
held = resident()
print(give_back(), before - held, held - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library is another")
def test_holes_between_what_stays_are_given_back():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    could, at_once, then = done.stdout.split()
    assert could == "True"
    assert int(at_once) < 20e6
    assert int(then) > 60e6


def test_it_is_done_again_and_again_until_it_cannot_be(monkeypatch):
    found = iter([True, True, False])
    monkeypatch.setattr(memory, "give_back", lambda: next(found))
    asyncio.run(memory.tend(0.0))
    assert list(found) == []
