"""Two of torch's modes that see what a module executes, and give shapes instead of numbers."""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from convarium.graph.indexing import fixed_lists, numbers
from convarium.graph.nested import flat, replaced, tensors_in
from convarium.graph.records import Call, Operation, Value
from convarium.graph.schema import composite, parts, told
from convarium.graph.shapes import SHORT_CUTS

_WHOLE: Final = frozenset(
    {"lstm", "gru", "rnn_tanh", "rnn_relu", "scaled_dot_product_attention"}
    | {"stft", "istft", "cdist", "inner", "multi_dot", "linalg_multi_dot"}
    | {f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3)}
)
# Recorded for their multiply-adds also where the input does not reach them.
_PRODUCTS: Final = frozenset(
    {f"{name}{end}" for name in ("addmm", "addmv", "baddbmm", "addbmm") for end in ("", "_")}
    | {"mm", "bmm", "mv", "dot", "convolution", "_scaled_dot_product_flash_attention_for_cpu"}
)
# Autocast makes these narrow, and those wide.
_NARROWED: Final = _PRODUCTS | {"addr", "conv_tbc"}
_WIDENED: Final = frozenset({"avg_pool3d", "grid_sampler_2d", "grid_sampler_3d", "prod"})
# What is in their arguments as a list is made a tensor, by torch on the device of the input.
_BRACKETS: Final = frozenset({Tensor.__getitem__, Tensor.__setitem__})
_MAKERS: Final = frozenset({torch.tensor, torch.as_tensor})


class ValueNeededError(Exception):
    """The model asked for a number that only the input's values give."""


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation, and gives shapes for what depends on the input."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled in here, and torch's compiler takes a second to import

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.network = network
        self.operations: list[Operation] = []
        self.calls: list[Call] = []
        self.values: list[Value] = []
        self.known: dict[int, Value] = {}
        self.twins: dict[int, tuple[Tensor, Tensor]] = {}
        self.watched: list[weakref.ref[Any]] = []
        self.memories: dict[int, int] = {}
        self.numbers = itertools.count()
        self.written: set[int] = set()  # memory into which something of the input was written
        self.stack: list[tuple[str, int, int]] = []
        self.given: list[tuple[Value, ...]] = []
        self.counts: dict[str, int] = {}
        self.narrow: torch.dtype | None = None  # the type of numbers that autocast wants now

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operation: for real if it is of constants, else for its shape."""
        kwargs = kwargs or {}
        if composite(func):
            with self:
                return parts(func, args, kwargs)
        if self.narrow is not None:
            args = self.autocast(func._opname, args)
        given = flat(args) + flat(kwargs.values())
        reached = [self.reached(x) for x in given]  # each is asked, since asking names it
        metas = [x.is_meta for x in given]
        traced, name = any(reached), func._opname
        if not traced and not any(metas):
            results = func(*args, **_with_numbers(given, kwargs))
            return self.record(func, (args, kwargs), results, traced)
        if name == "index":
            args = (args[0], [y for x in args[1] for y in numbers(x)], *args[2:])
        if name in ("_local_scalar_dense", "equal", "is_nonzero") and traced:
            raise ValueNeededError
        if "device" in kwargs:
            kept = {key: value for key, value in kwargs.items() if key != "pin_memory"}
            kwargs = {**kept, "device": torch.device("meta")}
        original = args, kwargs
        if not all(metas):
            args = tuple(replaced(x, self.twin) for x in args)
            kwargs = {key: replaced(x, self.twin) for key, x in kwargs.items()}
        short_cut = None if "out" in kwargs else SHORT_CUTS.get(name)
        results = NotImplemented if short_cut is None else short_cut(func, *args, **kwargs)
        if results is NotImplemented:
            results = func(*args, **kwargs)
        return self.record(func, original, results, traced)

    def autocast(self, name: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """What autocast does to the arguments of an operation on devices that it knows."""
        if name not in _NARROWED and name not in _WIDENED:
            return args
        kind = torch.float32 if name in _WIDENED else self.narrow
        with self:  # what it does is seen
            return tuple(replaced(x, functools.partial(_cast, kind=kind)) for x in args)

    def twin(self, tensor: Tensor) -> Tensor:
        """The tensor without its memory, the same one each time."""
        if tensor.is_meta:
            return tensor
        if id(tensor) not in self.twins:
            first = int(tensor.storage_offset())
            last = first + sum(
                (n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True)
            )
            memory = torch.empty(max(last + 1, 0), dtype=tensor.dtype, device="meta")
            twin = memory.as_strided(tensor.shape, tensor.stride(), first)
            self.memories[twin.untyped_storage()._cdata] = self.memory(tensor)
            self.twins[id(tensor)] = self.twins[id(twin)] = (tensor, twin)
        return self.twins[id(tensor)][1]

    def record(self, func: Any, given: tuple[Any, Any], results: Any, traced: bool) -> Any:
        """Note the operation, its arguments by name, and what it gave."""
        if not traced and func._opname not in _PRODUCTS:
            return results
        args, kwargs = given
        names, written, pointwise = told(func)
        arguments = dict(zip(names, args, strict=False)) | kwargs
        seen = {key: replaced(x, self.value) for key, x in arguments.items()}
        listed = results if isinstance(results, list | tuple) else (results,)
        made = tuple(self.new(x, traced) if isinstance(x, Tensor) else None for x in listed)
        layer, call, _ = self.stack[-1] if self.stack else ("", 0, 0)
        writes = traced and func._schema.is_mutable
        self.operations.append(Operation(func._opname, layer, call, seen, made, pointwise, writes))
        for name in written if writes else ():
            if isinstance(x := arguments.get(name), Tensor):
                self.written.add(x.untyped_storage()._cdata)
        return results

    def reached(self, tensor: Tensor) -> bool:
        """Whether it depends on the input, also by what was written into its memory."""
        if id(tensor) in self.known:
            return True
        if not self.written or tensor.untyped_storage()._cdata not in self.written:
            return False
        self.new(tensor)
        return True

    def memory(self, tensor: Tensor) -> int:
        """The number of its memory, as long as any tensor is in it."""
        storage = tensor.untyped_storage()
        place = storage._cdata
        if place not in self.memories:
            self.memories[place] = next(self.numbers)
            self.watch(storage, self.forget_memory, place)
        return self.memories[place]

    def watch(self, thing: Any, forget: Callable[[int], Any], key: int) -> None:
        """Forget it when it dies, since its identity may be given to another one."""
        self.watched.append(weakref.ref(thing, lambda _: forget(key)))

    def forget_memory(self, place: int) -> None:
        """Nobody holds it any more."""
        number = self.memories.pop(place)
        self.written.discard(place)
        if self.operations:
            self.operations[-1].frees.append(number)

    def value(self, tensor: Tensor) -> Value | Tensor:
        """What stands for a tensor in the record: itself, if the input does not reach it."""
        return self.known.get(id(tensor), self.twins.get(id(tensor), (tensor,))[0])

    def new(self, tensor: Tensor, traced: bool = True) -> Value:
        """The value that a tensor is from now on; nothing depends on one that is not traced."""
        place = self.memory(tensor)
        shape, steps = tuple(tensor.shape), tensor.stride()
        first = last = int(tensor.storage_offset())
        for n, step in zip(shape, steps, strict=True):
            last += max(n - 1, 0) * int(step)
        value = Value(len(self.values), shape, tensor.dtype, place, (first, last), steps)
        self.values.append(value)
        if traced:
            if id(tensor) not in self.known:
                self.watch(tensor, self.known.pop, id(tensor))
            self.known[id(tensor)] = value
        return value

    def values_in(self, given: Any) -> tuple[Value, ...]:
        """The values among whatever a module takes or returns."""
        return tuple(self.known[id(x)] for x in tensors_in(given) if self.reached(x))

    def stand_in(self, tensor: Tensor) -> Tensor:
        """For functions that compare devices before they are dispatched."""
        if tensor.is_meta or self.reached(tensor):
            return tensor
        with torch.utils._python_dispatch._disable_current_modes():
            return self.twin(tensor)

    def place(self) -> str:
        """Where the model is now, for an error."""
        names = [name for name, _, _ in self.stack if name]
        return f" (in {names[-1]})" if names else ""

    def enter(self, name: str, given: Any) -> None:
        """A module's forward begins."""
        call = self.counts.get(name, 0)
        self.counts[name] = call + 1
        self.stack.append((name, call, len(self.operations)))
        self.given.append(self.values_in(given))

    def leave(self, kind: tuple[str, bool, bool], given: Any) -> None:
        """The forward of a module of some kind has ended."""
        name, call, start = self.stack.pop()
        arguments, results = self.given.pop(), self.values_in(given)
        stop = len(self.operations)
        self.calls.append(Call(name, call, *kind, arguments, results, start, stop))


class Functions(TorchFunctionMode):
    """For what has to be seen before torch's dispatcher takes it apart.

    Circular padding is kept whole, since the dispatcher sees many copies; functions that compare
    the devices of their arguments get weights without memory, as the input has none.
    """

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch's, or note it as one operation."""
        kwargs = kwargs or {}
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                return self.autocast(device, func, types, args, kwargs)
        if getattr(func, "__name__", "") in _WHOLE:
            twins = [replaced(x, self.recorder.stand_in) for x in (args, kwargs.values())]
            if self.recorder.narrow is not None:
                cast = functools.partial(_cast, kind=self.recorder.narrow)
                twins = [replaced(x, cast) for x in twins]
            return func(*twins[0], **dict(zip(kwargs, twins[1], strict=True)))
        if func in _BRACKETS:
            args = (args[0], fixed_lists(args[1]), *args[2:])
        elif func in _MAKERS:
            kwargs = _with_numbers(flat(args), kwargs)
        if func is not nn.functional.pad:
            return func(*args, **kwargs)
        given = dict(zip(("input", "pad", "mode", "value"), args, strict=False)) | kwargs
        x, recorder = given["input"], self.recorder
        if given.get("mode") != "circular" or id(x) not in recorder.known:
            return func(*args, **kwargs)
        with torch.utils._python_dispatch._disable_current_modes():
            padded = func(*args, **kwargs)
        layer, call, _ = recorder.stack[-1] if recorder.stack else ("", 0, 0)
        seen = {"self": recorder.known[id(x)], "pad": list(given["pad"])}
        results = (recorder.new(padded),)
        recorder.operations.append(Operation("pad_circular", layer, call, seen, results))
        return padded

    def autocast(self, device: str, *given: Any) -> Any:
        """Call a function with the recorder casting, since torch's autocast leaves out "meta"."""
        self.recorder.narrow = torch.get_autocast_dtype(device)
        torch.set_autocast_enabled(device, False)
        try:
            return self.__torch_function__(*given)
        finally:
            torch.set_autocast_enabled(device, True)
            self.recorder.narrow = None


def _cast(tensor: Tensor, kind: torch.dtype | None) -> Tensor:
    """As another type of floating-point numbers; float64 stays, as autocast has it."""
    casts = tensor.is_floating_point() and tensor.dtype not in (kind, torch.float64)
    return tensor.to(kind) if casts else tensor


def _with_numbers(given: list[Tensor], kwargs: dict[str, Any]) -> dict[str, Any]:
    """What is made from nothing has values, also on the device of the input."""
    if given or getattr(kwargs.get("device"), "type", "") != "meta":
        return kwargs
    return {**kwargs, "device": torch.device("cpu")}
