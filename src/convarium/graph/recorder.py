"""Two of torch's modes that see what a module executes, and give shapes instead of numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from convarium.graph.records import Call, Operation, Value
from convarium.graph.shapes import SHORT_CUTS

_WHOLE: Final = frozenset(
    {"lstm", "gru", "rnn_tanh", "rnn_relu", "scaled_dot_product_attention"}
    | {f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3)}
)


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
        self.kept: list[Any] = []  # so that no identity is given twice
        self.memories: dict[int, int] = {}
        self.written: set[int] = set()  # memory into which something of the input was written
        self.stack: list[tuple[str, int, int]] = []
        self.given: list[tuple[Value, ...]] = []
        self.counts: dict[str, int] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operation: for real if it is of constants, else for its shape."""
        kwargs = kwargs or {}
        given = [*_flat(args), *_flat(kwargs.values())]
        reached = [self.reached(x) for x in given]  # each is asked, since asking names it
        traced = any(reached)
        if not traced and not any(x.is_meta for x in given):
            return func(*args, **_with_numbers(given, kwargs))
        name = func._opname
        if name == "index":
            args = (args[0], [_numbers(x) for x in args[1]], *args[2:])
        if name in ("_local_scalar_dense", "equal", "is_nonzero") and traced:
            raise ValueNeededError
        if "device" in kwargs:
            kept = {key: value for key, value in kwargs.items() if key != "pin_memory"}
            kwargs = {**kept, "device": torch.device("meta")}
        original = args, kwargs
        args = tuple(_replaced(x, self.twin) for x in args)
        kwargs = {key: _replaced(x, self.twin) for key, x in kwargs.items()}
        short_cut = None if "out" in kwargs else SHORT_CUTS.get(name)
        results = NotImplemented if short_cut is None else short_cut(func, *args, **kwargs)
        if results is NotImplemented:
            results = func(*args, **kwargs)
        if traced:
            self.record(func, original, results)
        return results

    def twin(self, tensor: Tensor) -> Tensor:
        """The tensor without its memory, the same one each time."""
        if tensor.is_meta:
            return tensor
        if id(tensor) not in self.twins:
            twin = torch.empty_strided(
                tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta"
            )
            self.memories[twin.untyped_storage()._cdata] = self.memory(tensor)
            self.twins[id(tensor)] = (tensor, twin)
        return self.twins[id(tensor)][1]

    def record(self, func: Any, given: tuple[Any, Any], results: Any) -> None:
        """Note the operation, its arguments by name, and what it gave."""
        args, kwargs = given
        names = [argument.name for argument in func._schema.arguments]
        arguments = dict(zip(names, args, strict=False)) | kwargs
        seen = {key: _replaced(x, self.value) for key, x in arguments.items()}
        listed = results if isinstance(results, list | tuple) else (results,)
        made = tuple(self.new(x) if isinstance(x, Tensor) else None for x in listed)
        pointwise = torch.Tag.pointwise in func.tags
        layer, call, _ = self.stack[-1] if self.stack else ("", 0, 0)
        name = func._opname
        writes = func._schema.is_mutable
        self.operations.append(Operation(name, layer, call, seen, made, pointwise, writes))
        for argument in func._schema.arguments if writes else ():
            if argument.is_write and isinstance(x := arguments.get(argument.name), Tensor):
                self.written.add(x.untyped_storage()._cdata)

    def reached(self, tensor: Tensor) -> bool:
        """Whether it depends on the input, also by what was written into its memory."""
        if id(tensor) in self.known:
            return True
        if not self.written or tensor.untyped_storage()._cdata not in self.written:
            return False
        self.new(tensor)
        return True

    def memory(self, tensor: Tensor) -> int:
        """The number of its memory, whose identity is not given to another one meanwhile."""
        storage = tensor.untyped_storage()
        self.kept.append((tensor, storage))
        return self.memories.setdefault(storage._cdata, len(self.memories))

    def value(self, tensor: Tensor) -> Value | Tensor:
        """What stands for a tensor in the record: itself, if the input does not reach it."""
        return self.known.get(id(tensor), tensor)

    def new(self, tensor: Tensor) -> Value:
        """The value that a tensor is from now on."""
        place = self.memory(tensor)
        shape, first = tuple(tensor.shape), int(tensor.storage_offset())
        steps = zip(shape, tensor.stride(), strict=True)
        last = first + sum(max(n - 1, 0) * int(step) for n, step in steps)
        value = Value(len(self.values), shape, tensor.dtype, place, (first, last))
        self.values.append(value)
        self.known[id(tensor)] = value
        return value

    def values_in(self, given: Any) -> tuple[Value, ...]:
        """The values among whatever a module takes or returns."""
        return tuple(self.known[id(x)] for x in _tensors(given) if self.reached(x))

    def stand_in(self, tensor: Tensor) -> Tensor:
        """For functions that compare devices before they are dispatched."""
        if self.reached(tensor):
            return tensor
        with torch.utils._python_dispatch._disable_current_modes():
            return self.twin(tensor)

    def place(self) -> str:
        """Where the model is now, for an error."""
        names = [name for name, _, _ in self.stack if name]
        return f" (in {names[-1]})" if names else ""

    def listening(self) -> _Listening:
        """Within it, calls of modules are noted."""
        return _Listening(self)

    def enter(self, name: str, given: Any) -> None:
        """A module's forward begins."""
        call = self.counts.get(name, 0)
        self.counts[name] = call + 1
        self.stack.append((name, call, len(self.operations)))
        self.given.append(self.values_in(given))

    def leave(self, name: str, module: nn.Module, given: Any) -> None:
        """A module's forward has ended."""
        _, call, start = self.stack.pop()
        arguments, results = self.given.pop(), self.values_in(given)
        kind = type(module).__name__
        leaf = all(name == "parametrizations" for name, _ in module.named_children())
        own, stop = type(module).__module__.startswith("torch.nn."), len(self.operations)
        self.calls.append(Call(name, call, kind, leaf, own, arguments, results, start, stop))


class _Listening:
    """Hooks on every module that tell the recorder where the model is."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.handles: list[Any] = []

    def __enter__(self) -> None:
        for name, module in self.recorder.network.named_modules():
            self.handles += self._listen(name, module)

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _listen(self, name: str, module: nn.Module) -> Iterator[Any]:
        def enter(module: nn.Module, args: Any) -> None:
            self.recorder.enter(name, args)

        def leave(module: nn.Module, args: Any, given: Any) -> None:
            self.recorder.leave(name, module, given)

        yield module.register_forward_pre_hook(enter, prepend=True)
        yield module.register_forward_hook(leave)


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
        if getattr(func, "__name__", "") in _WHOLE:
            twins = [_replaced(x, self.recorder.stand_in) for x in (args, kwargs.values())]
            return func(*twins[0], **dict(zip(kwargs, twins[1], strict=True)))
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


def _tensors(given: Any) -> list[Tensor]:
    """In whatever a forward returns: also dictionaries and registered classes."""
    if isinstance(given, Tensor):
        return [given]
    if isinstance(given, tuple) and all(isinstance(x, Tensor) for x in given):
        return [*given]
    return [x for x in tree_flatten(given)[0] if isinstance(x, Tensor)]


def _flat(arguments: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among an operation's arguments, which nests no more than lists."""
    for argument in arguments:
        if isinstance(argument, Tensor):
            yield argument
        elif isinstance(argument, list | tuple):
            yield from _flat(argument)


def _replaced(argument: Any, by: Callable[[Tensor], Any]) -> Any:
    """An operation's argument with other things for its tensors."""
    if isinstance(argument, Tensor):
        return by(argument)
    if isinstance(argument, list | tuple | type({}.values())):
        return [_replaced(x, by) for x in argument]
    return argument


def _numbers(index: Any) -> Any:
    """Fixed masks as the numbers that they pick, since the shape of the result depends on them."""
    if not isinstance(index, Tensor) or index.is_meta or index.dtype != torch.bool:
        return index
    return index.nonzero()[:, 0] if index.ndim == 1 else index


def _with_numbers(given: list[Tensor], kwargs: dict[str, Any]) -> dict[str, Any]:
    """What is made from nothing has values, also on the device of the input."""
    if given or getattr(kwargs.get("device"), "type", "") != "meta":
        return kwargs
    return {**kwargs, "device": torch.device("cpu")}
