"""The C library's memory: kept for the next step instead of being given back to the system.

A training step takes and frees the same large pieces of memory as the one before. By default glibc
asks the system for each piece above 32 MiB, which hands out fresh pages one fault at a time. And
each thread has a store of its own, which gives back what another thread frees: so there is one.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of mallopt(3)
_LARGEST: Final = (2**30, 2**25)  # older versions of glibc take no more than the second
_SET_BY_HAND: Final = (
    "MALLOC_ARENA_MAX",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "GLIBC_TUNABLES",
    "LD_PRELOAD",
)


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory up to the end of the process; whether it does.

    Only on Linux with glibc, and not where the environment says something about its memory. It
    counts for the whole process, so a command may call it, and a library should not.
    """
    if sys.platform != "linux" or any(name in os.environ for name in _SET_BY_HAND):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    kept = any(mallopt(_MMAP_THRESHOLD, size) for size in _LARGEST)
    return bool(kept and mallopt(_TRIM_THRESHOLD, 2**31 - 1) and mallopt(_ARENA_MAX, 1))
