"""The part of a network behind a layer, run again and again for other maps of that layer.

forward with a tap -> operations that depend on the tap, as they ran -> the same for other maps

What was recorded is run only where that gives what the network gives: no operation asks for a
number, none writes into a tensor that does not depend on the maps, and for the first other maps
the network's scores come out. Elsewhere the whole network runs, with the layer's output replaced.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from convarium.explain.layers import Found
from convarium.explain.looking import Look
from convarium.explain.targets import Goal

# They turn numbers into Python's, by which a network may decide what to do next.
_DECIDING: Final = frozenset({"aten::_local_scalar_dense", "aten::equal", "aten::is_nonzero"})


class Behind:
    """Scores of the network for other maps of one layer, n batches at a time.

    Args:
        look: the network and its inputs.
        found: the layer.
        goal: what is scored.
        several: n, how many batches run at once.
    """

    def __init__(self, look: Look, found: Found, goal: Goal, several: int) -> None:
        self.look, self.found, self.goal = look, found, goal
        self.rows = look.inputs[0].repeat(several, *[1] * (look.inputs[0].ndim - 1))
        tape = _Tape()
        kept: list[Tensor] = []

        def keep(output: Tensor) -> Tensor:
            kept.append(output.clone())
            return tape.begin(output.clone())

        with self._output_as(keep), tape:
            scores = goal(look.several(self.rows.clone()))
        self.maps = kept[0]
        tape.end(scores)
        self.tape = tape if tape.whole else None
        self.checked = False

    def scores(self, change: Callable[[Tensor], Tensor]) -> Tensor:
        """(n, B) scores for what `change` makes of the layer's output (n B, C, *S)."""
        maps = change(self.maps.clone())
        if self.tape is not None and self.checked:
            return self.tape.play(maps).reshape(-1, self.look.samples)
        with self._output_as(lambda _: maps.clone()):
            scores = self.goal(self.look.several(self.rows.clone()))
        if self.tape is not None:
            self.checked = _alike(self.tape.play(maps), scores)
            self.tape = self.tape if self.checked else None
        return scores.reshape(-1, self.look.samples)

    @contextlib.contextmanager
    def _output_as(self, make: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """Inside, the layer gives what `make` makes of its output."""
        handle = self.found.module.register_forward_hook(lambda module, given, out: make(out))
        try:
            yield
        finally:
            handle.remove()


@dataclass(frozen=True)
class _Slot:
    """Stands for a tensor that depends on the start."""

    number: int


class _Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Operations that depend on one tensor, in their order; the tensors they gave are not kept.

    Attributes:
        whole: whether what was recorded can stand for what ran.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled in here, and torch's compiler takes a second to import

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.steps: list[tuple[Any, Any, list[_Slot | None]]] = []
        self.slots = WeakTensorKeyDictionary()
        self.whole = True
        self.result: Any = None

    def begin(self, tensor: Tensor) -> Tensor:
        """Operations on this tensor, and on what comes of it, are recorded from now on."""
        self.slots[tensor] = _Slot(0)
        return tensor

    def end(self, result: Tensor) -> None:
        """This is what playing gives."""
        self.result = self._slotted(result)
        self.slots.clear()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run one operation, and record it if it depends on the start."""
        given = tree_map(self._slotted, (args, kwargs or {}))
        results = func(*args, **(kwargs or {}))
        if any(isinstance(x, _Slot) for x in tree_flatten(given)[0]):
            if func._schema.name in _DECIDING or _writes_elsewhere(func, *given):
                self.whole = False
            made = tree_flatten(results)[0]
            self.steps.append((func, given, [self._slot(x) for x in made]))
        return results

    def _slotted(self, x: Any) -> Any:
        return self.slots[x] if isinstance(x, Tensor) and x in self.slots else x

    def _slot(self, result: Any) -> _Slot | None:
        """Of a result: a new one, or its own where it was changed in place."""
        if not isinstance(result, Tensor):
            return None
        if result not in self.slots:
            self.slots[result] = _Slot(len(self.steps) * 1000 + len(self.slots) + 1)
        slot: _Slot = self.slots[result]
        return slot

    def play(self, maps: Tensor) -> Tensor:
        """What comes out for other maps at the start; they may be written into."""
        now: dict[Any, Any] = {_Slot(0): maps}

        def current(x: Any) -> Any:
            return now[x] if isinstance(x, _Slot) else x

        with torch.autocast(maps.device.type, enabled=False):  # its casts are recorded
            for func, given, slots in self.steps:
                args, kwargs = tree_map(current, given)
                results = tree_flatten(func(*args, **kwargs))[0]
                now.update((s, r) for s, r in zip(slots, results, strict=True) if s is not None)
        scores: Tensor = current(self.result)
        return scores


def _alike(scores: Tensor, expected: Tensor) -> bool:
    """Whether two ways to the same scores differ by no more than rounding."""
    largest = expected.abs().nan_to_num().amax().item()
    return torch.allclose(scores, expected, rtol=0, atol=1e-5 * largest, equal_nan=True)


def _writes_elsewhere(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether an operation changes a tensor that does not depend on the start."""
    arguments = func._schema.arguments
    written = [value for a, value in zip(arguments, args, strict=False) if a.is_write]
    written += [kwargs[a.name] for a in arguments if a.is_write and a.name in kwargs]
    return any(isinstance(x, Tensor) for x in tree_flatten(written)[0])
