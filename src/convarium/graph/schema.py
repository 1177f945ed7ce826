"""What torch's dispatcher says of one operation, read once."""

from __future__ import annotations

import functools
from typing import Any, Final

import torch

_COMPOSITE: Final = torch._C.DispatchKey.CompositeImplicitAutograd


@functools.cache
def told(func: Any) -> tuple[list[str], list[str], bool]:
    """Names of an operation's arguments and of those it writes into; whether it is pointwise."""
    arguments = func._schema.arguments
    written = [argument.name for argument in arguments if argument.is_write]
    return [argument.name for argument in arguments], written, torch.Tag.pointwise in func.tags


@functools.cache
def composite(func: Any) -> bool:
    """Whether it is made of other operations, as torch's dispatcher takes it apart.

    In inference mode, and for tensors that were made in it, torch hands on the whole.
    """
    made: bool = torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), _COMPOSITE.name)
    return made


def parts(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run what a composite operation is made of, by torch's own rule and not by Python's."""
    return func._op_dk(_COMPOSITE, *args, **kwargs)
