"""Networks inside wrappers: data parallel, distributed and compiled ones run their original."""

from __future__ import annotations

import contextlib
import reprlib
import sys
from contextlib import AbstractContextManager

import torch
from torch import nn

from convarium.errors import OptionError


def unwrapped(model: nn.Module) -> nn.Module:
    """The network itself, out of DataParallel, DistributedDataParallel and `torch.compile`.

    Raises:
        OptionError: it is no module.

    >>> network = nn.Linear(2, 2)
    >>> unwrapped(nn.DataParallel(network)) is network
    True
    """
    if not isinstance(model, nn.Module):
        raise OptionError(
            f"model (={_shown(model)}) must be a torch.nn.Module; convarium.create makes one of a "
            "name."
        )
    while True:
        attribute = _inner_attribute(model)
        if attribute is None:
            return model
        model = getattr(model, attribute)


def _shown(value: object) -> str:
    """A value in one short line."""
    return " ".join(reprlib.repr(value).split())


def _inner_attribute(model: nn.Module) -> str | None:
    """The attribute under which a wrapper keeps the network, or None where there is no wrapper."""
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return "module"
    if isinstance(getattr(model, "_orig_mod", None), nn.Module):
        return "_orig_mod"
    return None


def eager(model: nn.Module) -> AbstractContextManager[object]:
    """Inside, every part of `model` that was compiled runs as plain Python, so that hooks act.

    Nothing is imported or switched where no part was compiled.
    """
    if not any(_is_compiled(module) for module in model.modules()):
        return contextlib.nullcontext()
    return all_eager()


def all_eager() -> AbstractContextManager[object]:
    """Inside, whatever was compiled runs as plain Python; nothing is imported for it."""
    if "torch._dynamo" not in sys.modules:
        return contextlib.nullcontext()
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance


def _is_compiled(module: nn.Module) -> bool:
    if getattr(module, "_compiled_call_impl", None) is not None:  # by module.compile()
        return True
    return isinstance(getattr(module, "_orig_mod", None), nn.Module)
