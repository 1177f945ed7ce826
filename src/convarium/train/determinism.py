"""Algorithms that give the same bits again, on GPUs too, and the switches that a run has."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, Final

import torch

from convarium.errors import ConvariumError

_REFUSED: Final = "does not have a deterministic implementation"  # torch's words


def switches() -> dict[str, Any]:
    """Torch's switches that equal bits depend on, as they stand.

    >>> sorted(switches())
    ['cudnn_benchmark', 'cudnn_tf32', 'deterministic', 'matmul_precision']
    """
    return {
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
    }


@contextlib.contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Inside, where it is wanted, torch takes algorithms that give the same bits again.

    Algorithms are not chosen by timing. Afterwards the switches are as they were, but for the
    environment's CUBLAS_WORKSPACE_CONFIG, which cuBLAS reads once.

    Raises:
        ConvariumError: the network computes what has no such algorithm.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    enabled = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    timed = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    except RuntimeError as error:
        if _REFUSED not in str(error):
            raise
        raise ConvariumError(
            f"deterministic (=True) cannot be: {str(error).partition(_REFUSED)[0]}gives other bits "
            "each time on this device; leave it out, or choose another network."
        ) from error
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warns)
        torch.backends.cudnn.benchmark = timed
