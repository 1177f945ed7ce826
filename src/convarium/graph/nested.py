"""Tensors inside of what modules take, return and hold: lists, dictionaries, dataclasses."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from torch import Tensor
from torch.utils._pytree import tree_flatten

_SEQUENCES: Final[Any] = (list, tuple)
_LISTS: Final[Any] = (*_SEQUENCES, type({}.values()))
_CONTAINERS: Final[tuple[Any, ...]] = (OrderedDict, dict, list, set, deque)


def tensors_in(given: Any) -> list[Tensor]:
    """In whatever a forward returns: also dictionaries, dataclasses and registered classes."""
    if isinstance(given, Tensor):
        return [given]
    if isinstance(given, tuple) and all(isinstance(x, Tensor) for x in given):
        return [*given]
    return [tensor for leaf in tree_flatten(given)[0] for tensor in _inside(leaf)]


def flat(arguments: Iterable[Any], kinds: Any = Tensor) -> list[Any]:
    """The tensors among an operation's arguments, which nests no more than lists."""
    found: list[Any] = []
    for argument in arguments:
        if isinstance(argument, kinds):
            found.append(argument)
        elif isinstance(argument, _SEQUENCES):
            found += flat(argument, kinds)
    return found


def replaced(argument: Any, by: Callable[[Any], Any], kinds: Any = Tensor) -> Any:
    """An operation's argument with other things for its tensors."""
    if isinstance(argument, kinds):
        return by(argument)
    if isinstance(argument, _LISTS):
        return [replaced(x, by, kinds) for x in argument]
    return argument


def held(things: Iterable[Any]) -> tuple[list[tuple[Any, Any]], list[Any]]:
    """Containers that can change, each with a copy of what it holds, and all else, however deep."""
    containers: dict[int, tuple[Any, Any]] = {}
    others: list[Any] = []
    left = [*things]
    while left:
        thing = left.pop()
        if isinstance(thing, tuple):
            left.extend(thing)
        elif not isinstance(thing, _CONTAINERS):
            others.append(thing)
        elif id(thing) not in containers:
            content = dict(thing) if isinstance(thing, dict) else [*thing]
            containers[id(thing)] = thing, content
            left.extend(content.values() if isinstance(content, dict) else content)
    return [*containers.values()], others


def refill(container: Any, content: Any) -> None:
    """Give a dictionary, list or set its former contents back, in their order."""
    kind = next(kind for kind in _CONTAINERS if isinstance(container, kind))
    kind.clear(container)
    if content:
        (kind.extend if issubclass(kind, list | deque) else kind.update)(container, content)


def _inside(leaf: Any) -> list[Tensor]:
    """A tensor, or the tensors in the fields of a dataclass."""
    if isinstance(leaf, Tensor):
        return [leaf]
    if not dataclasses.is_dataclass(leaf) or isinstance(leaf, type):
        return []
    return tensors_in([getattr(leaf, field.name) for field in dataclasses.fields(leaf)])
