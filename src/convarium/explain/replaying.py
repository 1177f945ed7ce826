"""The part of a network behind a layer, run again and again for other maps of that layer.

forward with a tap -> operations that depend on the tap, as they ran -> the same for other maps

What was recorded is run only where that gives what the network gives: no operation asks for a
number, none writes into a tensor that does not depend on the maps, and for the first other maps
the network's scores come out. Elsewhere the whole network runs, with the layer's output replaced.
Where all that was recorded is affine in the maps, one gradient says what every change does.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from convarium.explain.layers import Found
from convarium.explain.looking import Look
from convarium.explain.reading import Reading, gradient_of, remarks, tapped, with_axes
from convarium.explain.targets import Goal, Target, goal

# They turn numbers into Python's, or into sizes, by which a network decides what to do next.
_DECIDING: Final = frozenset(
    f"aten::{name}"
    for name in (
        *("_local_scalar_dense", "equal", "is_nonzero", "nonzero", "masked_select", "bincount"),
        *("_unique", "_unique2", "unique_dim", "unique_consecutive", "repeat_interleave"),
    )
)
# Affine in all that they are given, and in any one argument while the others are constant.
_SUMS: Final = frozenset(f"aten::{name}" for name in ("add", "sub", "cat", "stack"))
_LINEAR: Final = frozenset(
    f"aten::{name}"
    for name in (
        *("view", "_unsafe_view", "_reshape_alias", "alias", "clone", "expand", "_to_copy"),
        *("permute", "transpose", "t", "squeeze", "unsqueeze", "select", "slice", "gather"),
        *("mean", "sum", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d"),
        *("_adaptive_avg_pool3d", "mm", "bmm", "addmm", "mul", "convolution"),
    )
)


class Behind:
    """Scores of the network for other maps of one layer, n batches at a time.

    Args:
        look: the network and its inputs.
        found: the layer.
        target: what is scored.
        several: n, how many batches run at once.

    Attributes:
        goal: the target, resolved.
        maps: (n B, C, *S) the layer's own output.
        score: (n B,) of that.
        connected: whether the score was computed from the layer, as far as that can be followed.
    """

    def __init__(self, look: Look, found: Found, target: Target | Goal, several: int = 1) -> None:
        self.look, self.found, self.several = look, found, several
        tape = _Tape()
        with tape:
            output, self.maps = tapped(
                look, found, recorded=False, several=several, begin=tape.begin
            )
        self.goal = target if isinstance(target, Goal) else goal(output, target, look.samples)
        with tape:
            self.score = self.goal(output)
        tape.end(self.score)
        self.tape = tape if tape.whole else None
        self.connected = not tape.whole or isinstance(tape.result, _Slot)
        self.checked = False

    def reading(self) -> Reading:
        """What is known of the input itself, without a gradient."""
        look, maps = self.look, with_axes(self.maps, self.look.rank)
        note = remarks(look, self.found, maps, connected=self.connected)
        classes = self.goal.classes
        return Reading(
            layer=self.found.name,
            activation=maps,
            gradient=None,
            score=self.score,
            target=classes,
            input_size=look.size,
            covered=look.covered,
            note=note,
        )

    def scores(self, change: Callable[[Tensor], Tensor]) -> Tensor:
        """(n, B) scores for what `change` makes of the layer's output (n B, C, *S)."""
        known = self._played(change(self.maps.clone())) if self.checked else None
        if known is not None:
            return known.reshape(-1, self.look.samples)
        maps = change(self.maps.clone())
        with self._output(maps):
            scores = self.goal(self.look.several(self.look.repeated(self.several)))
        played = self._played(maps)
        self.checked = played is not None and _alike(played, scores)
        self.tape = self.tape if self.checked else None
        return scores.reshape(-1, self.look.samples)

    def _played(self, maps: Tensor) -> Tensor | None:
        """By the tape; None where there is none, or where it does not fit other numbers."""
        try:
            return None if self.tape is None else self.tape.play(maps)
        except (RuntimeError, IndexError, ValueError):  # such as sizes that depend on numbers
            self.tape = None
            return None

    def slope(self) -> Tensor | None:
        """Gradient of the scores, (n B, C, *S), where they are affine in the maps; else None.

        There y - y(A_k = 0) is the sum over positions of slope_k A_k, without another pass.
        """
        tape = self.tape
        if tape is None or not tape.affine:
            return None
        self.scores(torch.zeros_like)
        if not self.checked:
            return None
        with torch.enable_grad():
            leaf = self.maps.detach().requires_grad_()
            return gradient_of(tape.play(leaf.clone()), leaf)

    @contextlib.contextmanager
    def _output(self, maps: Tensor) -> Iterator[None]:
        """Inside, the layer gives copies of these maps."""
        handle = self.found.module.register_forward_hook(lambda *_: maps.clone())
        try:
            yield
        finally:
            handle.remove()


@dataclass(frozen=True)
class _Slot:
    """Stands for a tensor that depends on the start."""

    number: int


class _Step(NamedTuple):
    """An operation as it ran: what it was given, what it made, and what nobody needs after it."""

    call: Any
    given: Any
    made: list[_Slot | None]
    over: list[_Slot]


class _Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Operations that depend on one tensor, in their order; the tensors they gave are not kept.

    Attributes:
        whole: whether what was recorded can stand for what ran.
        affine: whether every operation is affine in the start.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled in here, and torch's compiler takes a second to import

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.steps: list[_Step] = []
        self.slots = WeakTensorKeyDictionary()
        self.numbers = itertools.count(1)
        self.whole = self.affine = True
        self.result: Any = None

    def begin(self, tensor: Tensor) -> Tensor:
        """A copy; operations on it, and on what comes of it, are recorded from now on."""
        start = tensor.clone()
        self.slots[start] = _Slot(0)
        return start

    def end(self, result: Tensor) -> None:
        """This is what playing gives."""
        self.result = self._slotted(result)
        self.slots.clear()
        kept = {self.result}
        for step in reversed(self.steps):
            used = {x for x in tree_flatten((step.given, step.made))[0] if isinstance(x, _Slot)}
            step.over.extend(used - kept)
            kept |= used

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run one operation, and record it if it depends on the start."""
        if not self.slots:  # before the layer, where nothing can depend on it
            return func(*args, **(kwargs or {}))
        given = tree_map(self._slotted, (args, kwargs or {}))
        results = func(*args, **(kwargs or {}))
        if any(isinstance(x, _Slot) for x in tree_flatten(given)[0]):
            if _decides(func, args) or _writes_elsewhere(func, *given):
                self.whole = False
            made = tree_flatten(results)[0]
            self.affine = self.affine and _affine(func, given, made)
            self.steps.append(_Step(func, given, [self._slot(x) for x in made], []))
        return results

    def _slotted(self, x: Any) -> Any:
        return self.slots[x] if isinstance(x, Tensor) and x in self.slots else x

    def _slot(self, result: Any) -> _Slot | None:
        """Of a result: a new one, or its own where it was changed in place."""
        if not isinstance(result, Tensor):
            return None
        if result not in self.slots:
            self.slots[result] = _Slot(next(self.numbers))
        slot: _Slot = self.slots[result]
        return slot

    def play(self, maps: Tensor) -> Tensor:
        """What comes out for other maps at the start; they may be written into."""
        now: dict[Any, Any] = {_Slot(0): maps}

        def current(x: Any) -> Any:
            return now[x] if isinstance(x, _Slot) else x

        with torch.autocast(maps.device.type, enabled=False):  # its casts are recorded
            for call, given, made, over in self.steps:
                args, kwargs = tree_map(current, given)
                results = tree_flatten(call(*args, **kwargs))[0]
                now.update((s, r) for s, r in zip(made, results, strict=True) if s is not None)
                for slot in over:
                    del now[slot]
        scores: Tensor = current(self.result)
        return scores


def _alike(scores: Tensor, expected: Tensor) -> bool:
    """Whether two ways to the same scores differ by no more than rounding."""
    largest = expected.abs().nan_to_num().amax().item()
    if scores.shape != expected.shape:
        return False
    return torch.allclose(scores, expected, rtol=0, atol=1e-5 * largest, equal_nan=True)


def _affine(call: Any, given: Any, made: list[Any]) -> bool:
    """Whether what an operation made is affine in what it was given of the start."""
    name = call._schema.name.removesuffix("_")
    varying = sum(isinstance(x, _Slot) for x in tree_flatten(given)[0])
    numbers = all(isinstance(x, Tensor) and x.is_floating_point() for x in made)
    return numbers and (name in _SUMS or (name in _LINEAR and varying == 1))


def _decides(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether what follows may depend on numbers that an operation is given."""
    name = func._schema.name
    chosen = tree_flatten(args[1:])[0] if name == "aten::index" else ()
    masks = any(isinstance(x, Tensor) and x.dtype == torch.bool for x in chosen)
    return name in _DECIDING or masks


def _writes_elsewhere(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether an operation changes a tensor that does not depend on the start."""
    arguments = func._schema.arguments
    written = [value for a, value in zip(arguments, args, strict=False) if a.is_write]
    written += [kwargs[a.name] for a in arguments if a.is_write and a.name in kwargs]
    return any(isinstance(x, Tensor) for x in tree_flatten(written)[0])
