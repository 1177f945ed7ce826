"""Writes into tensors, seen just before they happen, so that what they overwrite can be copied."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode

from convarium.graph.nested import flat
from convarium.graph.tensors import Kept


class Writes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it, kept tensors are copied before the first operation that writes into their memory.

    So a model that leaves its weights alone costs no memory. What goes past torch's dispatcher,
    such as NumPy and compiled code, is not seen.
    """

    supports_higher_order_operators = True

    def __init__(self, tensors: Sequence[Kept]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tensors = tensors
        self.places: dict[Any, list[Kept]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled in here, and torch's compiler takes a second to import

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operation, after a copy of what it overwrites."""
        kwargs = kwargs or {}
        for place, name in _written(func):
            given = args[place] if place < len(args) else kwargs.get(name)
            for tensor in flat([given]):
                self.keep(tensor)
        return func(*args, **kwargs)

    def keep(self, tensor: Tensor) -> None:
        """Copy all that lies in the same memory."""
        if not self.places:
            for kept in self.tensors:
                self.places.setdefault(_place(kept.data), []).append(kept)
        for kept in self.places.get(_place(tensor), []):
            kept.copy()


@contextlib.contextmanager
def unwatched() -> Iterator[None]:
    """Inside, writes are not looked for, which takes microseconds of each operation."""
    modes = []
    while isinstance(mode := _get_current_dispatch_mode(), Writes):
        mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        modes.append(mode)
    try:
        yield
    finally:
        for mode in reversed(modes):
            mode.__enter__()  # type: ignore[no-untyped-call]


def watched() -> bool:
    """Whether writes are looked for."""
    return isinstance(_get_current_dispatch_mode(), Writes)


@functools.cache
def _written(func: Any) -> tuple[tuple[int, str], ...]:
    """Places and names of the arguments that an operation writes into."""
    schema = getattr(func, "_schema", None)
    if schema is None or not schema.is_mutable:
        return ()
    return tuple((k, x.name) for k, x in enumerate(schema.arguments) if x.is_write)


def _place(tensor: Tensor) -> Any:
    """The same for all tensors in one memory; a tensor without memory has only itself."""
    try:
        return tensor.untyped_storage()._cdata
    except RuntimeError:
        return "", id(tensor)
