"""What a network is made of, so that what was found out about it holds while nothing changes.

modules, what they hold besides tensors, the shapes of these -> a value to compare; None: unknown
"""

from __future__ import annotations

import dataclasses
import types
import weakref
from typing import Any, Final

import torch
from torch import nn

from convarium.explain.looking import Look

_PLAIN: Final = (str, bytes, int, float, complex, type, torch.dtype, torch.device, torch.Size)
_INTERNAL: Final = frozenset(vars(nn.Module())) | {"_backward_hooks"}
_NESTED: Final = (tuple, list, set, frozenset, dict)


class _UnknownError(Exception):
    """Something is held that may change without being another thing."""


def state_of(look: Look) -> Any:
    """What a network's path through its layers depends on, to be compared by `==`.

    None where that cannot be told: hooks, another `forward`, objects of other kinds.
    """
    if look.forward is not look.network:
        return None
    classes: dict[type, Any] = {}
    try:
        modules = tuple(
            (name, weakref.ref(module), _held(module, classes))
            for name, module in look.network.named_modules(remove_duplicate=False)
        )
    except _UnknownError:
        return None
    return tuple((x.shape, x.dtype) for x in look.inputs), modules


def _held(module: nn.Module, classes: dict[type, Any]) -> Any:
    """Of one module: its class, plain values, shapes."""
    if module._forward_hooks or module._forward_pre_hooks:
        raise _UnknownError
    kind = type(module)
    if kind not in classes:
        classes[kind] = _class(kind)
    own = tuple(
        (name, _frozen(value)) for name, value in vars(module).items() if name not in _INTERNAL
    )
    tensors = (*module._parameters.items(), *module._buffers.items())
    return classes[kind], own, tuple((name, None if t is None else t.shape) for name, t in tensors)


def _class(kind: type) -> Any:
    """A class, what it runs, and the plain values in it, which may be switches."""
    switches = tuple(
        (name, value)
        for base in kind.__mro__[: kind.__mro__.index(nn.Module)]
        for name, value in vars(base).items()
        if isinstance(value, (*_PLAIN, types.FunctionType))
    )
    return kind, switches


def _frozen(value: Any) -> Any:
    """A value that stays as it is now, with its kind, since 1 == True."""
    if isinstance(value, dict):
        return dict, tuple((_frozen(k), _frozen(v)) for k, v in value.items())
    if isinstance(value, _NESTED):
        return type(value), tuple(map(_frozen, value))
    if value is None or isinstance(value, _PLAIN):
        return type(value), value
    if isinstance(value, types.BuiltinFunctionType) or _is_plain_function(value):
        return value
    if isinstance(value, nn.Module):
        return weakref.ref(value)
    if dataclasses.is_dataclass(value):
        return type(value), tuple(
            (each.name, _frozen(getattr(value, each.name))) for each in dataclasses.fields(value)
        )
    raise _UnknownError


def _is_plain_function(value: Any) -> bool:
    return isinstance(value, types.FunctionType) and value.__closure__ is None
