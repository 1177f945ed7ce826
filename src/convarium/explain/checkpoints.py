"""Reentrant gradient checkpointing, which `torch.autograd.grad` cannot look into, set aside.

A part that runs under it is not recorded, and its backward pass refuses to be asked for a gradient.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from torch.utils import checkpoint


class _Plainly:
    """Stands in for torch's checkpoint: runs the part, and nothing of it again later."""

    @staticmethod
    def apply(run: Callable[..., Any], keep_random_state: bool, *inputs: Any) -> Any:
        """The output of the part."""
        return run(*inputs)


class _Aside:
    """The switch, which all threads share: off again when the last one has left."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.kept: Any = None

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with self.lock:
            if not self.inside:
                self.kept = checkpoint.CheckpointFunction
                vars(checkpoint)["CheckpointFunction"] = _Plainly
            self.inside += 1
        try:
            yield
        finally:
            with self.lock:
                self.inside -= 1
                if not self.inside:
                    vars(checkpoint)["CheckpointFunction"] = self.kept


#: Inside, whatever runs under reentrant checkpointing runs plainly.
without_checkpoints = _Aside()
