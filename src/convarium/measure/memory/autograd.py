"""What torch keeps of an operation for its gradient, and what the gradient takes: asked of torch.

operation -> the same one on the meta device, forward and backward -> Need

An operation is run once for each kind of arguments, with shapes and without numbers, and what was
kept and made is noted by the place among its tensors.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from convarium.graph import Operation, Value
from convarium.graph.nested import flat, replaced
from convarium.measure.memory.keeps import FREQUENT, Need
from convarium.measure.memory.ledger import storage_of


def need(operation: Operation, wanted: Sequence[bool]) -> Need:
    """What the backward pass needs, where the arguments in some places have gradients."""
    rule = FREQUENT.get(operation.name)
    known = None if rule is None else rule(operation, wanted)
    if known is not None:
        return known
    key = (operation.name, len(operation.results), *_kinds(operation, iter(wanted)))
    if key not in _NEEDS:
        _NEEDS[key] = _asked(operation, wanted)
    return _NEEDS[key]


_KINDS: Final = (Value, Tensor)
_NO_ANSWER: Final = (AttributeError, IndexError, RuntimeError, TypeError, ValueError)
_NEEDS: Final[dict[Hashable, Need]] = {}


def _kinds(operation: Operation, wanted: Iterator[bool]) -> Iterator[Any]:
    """What the formulas of an operation depend on, sizes aside."""
    first = operation.results[0]
    shape = None if first is None else first.shape
    for name, given in operation.arguments.items():
        yield name
        for argument in given if isinstance(given, list | tuple) else (given,):
            if isinstance(argument, _KINDS):
                yield next(wanted), tuple(argument.shape) == shape
            elif isinstance(argument, int) and not isinstance(argument, bool):
                yield int
            else:
                yield argument if isinstance(argument, Hashable) else type(argument)


def _asked(operation: Operation, wanted: Sequence[bool]) -> Need:
    """Torch's answer; where it has none on the meta device, all is kept and nothing is shared."""
    try:
        with torch.inference_mode(False), torch.enable_grad():
            return _run(operation, wanted)
    except _NO_ANSWER:
        results = tuple(
            k for k, v in enumerate(operation.results) if v and v.dtype.is_floating_point
        )
        all_kept = () if operation.name in _NOTHING else tuple(range(len(wanted)))
        gradients = tuple((place, None) for place, has in enumerate(wanted) if has)
        return Need(all_kept, results if all_kept else (), results, gradients, extra=1.0)


_NOTHING: Final = ("pad_circular",)  # torch has it as copies
_KERNELS: Final = ("mish", "mish_", "native_group_norm")  # one each, but not on the meta device


def _run(operation: Operation, wanted: Sequence[bool]) -> Need:
    asked: list[Tensor] = []
    given: list[Tensor] = []

    def stand_in(x: Value | Tensor) -> Tensor:
        has = wanted[len(asked)]
        asked.append(torch.empty(x.shape, dtype=x.dtype, device="meta", requires_grad=has))
        given.append(asked[-1].clone() if has else asked[-1])  # what is no leaf may be written into
        return given[-1]

    arguments = {key: replaced(x, stand_in, _KINDS) for key, x in operation.arguments.items()}
    saved: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        saved.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        found = getattr(torch.ops.aten, operation.name)(**arguments)
    results = [*flat(found if isinstance(found, list | tuple) else [found])]
    places = {storage_of(x): ("result", k) for k, x in reversed([*enumerate(results)])}
    places |= {storage_of(x): ("argument", k) for k, x in reversed([*enumerate(given)])}
    kept = {places.get(storage_of(x)) for x in saved}
    beside = {
        storage_of(x): x.untyped_storage().nbytes() for x in saved if storage_of(x) not in places
    }
    reached = [k for k, x in enumerate(results) if x.requires_grad]
    total = sum(x.nbytes for x in (*given, *results))
    gradients, extra = _gradients([results[k] for k in reached], reached, asked, wanted)
    return Need(
        arguments=tuple(k for what, k in filter(None, kept) if what == "argument"),
        results=tuple(k for what, k in filter(None, kept) if what == "result"),
        reached=tuple(reached),
        gradients=gradients,
        kept=sum(beside.values()) / max(total, 1),
        extra=extra / max(total, 1) if operation.name not in _KERNELS else 0.0,
    )


def _gradients(
    results: Sequence[Tensor],
    reached: Sequence[int],
    asked: Sequence[Tensor],
    wanted: Sequence[bool],
) -> tuple[tuple[tuple[int, int | None], ...], int]:
    """Where the gradients of arguments lie, and the most bytes beside them."""
    places = [k for k, has in enumerate(wanted) if has]
    if not results:
        return (), 0
    flowing = [torch.empty_like(x) for x in results]
    leaves = [asked[k] for k in places]
    try:
        with _Meter() as meter:
            found: Any = torch.autograd.grad(results, leaves, flowing, allow_unused=True)
    except _NO_ANSWER:
        return tuple((place, None) for place in places), 0
    sources = {storage_of(x): k for k, x in zip(reached, flowing, strict=True)}
    pairs = [(k, x) for k, x in zip(places, found, strict=True) if x is not None]
    own = {storage_of(x): x.nbytes for _, x in pairs if storage_of(x) not in sources}
    gradients = tuple((place, sources.get(storage_of(x))) for place, x in pairs)
    return gradients, max(meter.most - sum(own.values()), 0)


class _Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The most bytes that are alive at once, of those that are made within it."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # as the recorder of graphs has it

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive: dict[int, int] = {}
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note what it makes."""
        before = {storage_of(x) for x in flat([*args, *(kwargs or {}).values()])}
        results = func(*args, **(kwargs or {}))
        for x in flat([results]):
            place = storage_of(x)
            if place not in before and place not in self.alive:
                storage = x.untyped_storage()
                self.alive[place] = storage.nbytes()
                weakref.finalize(storage, self.alive.pop, place, None)
        self.most = max(self.most, sum(self.alive.values()))
        return results
