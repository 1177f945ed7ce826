"""Memory that the C library keeps for later: given back to the system while the server runs.

Threads take and free decoded pictures and batches of all sizes beside small things that stay. The
C library keeps the holes between them, more of them the longer a server runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
from typing import Final

EVERY: Final = 10.0  # seconds


async def tend(seconds: float = EVERY) -> None:
    """Give free memory back every so many seconds, until cancelled."""
    while await asyncio.to_thread(give_back):
        await asyncio.sleep(seconds)


def give_back() -> bool:
    """Give free memory back now; False where the C library has no way to (it is not glibc)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
        return True
    return False
