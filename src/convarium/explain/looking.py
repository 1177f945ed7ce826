"""A network that is looked at: in eval mode, frozen, out of its wrappers, and afterwards as before.

model, inputs -> eval mode, no parameter recorded, no backward hook -> run, run, ... -> as before
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from convarium.errors import ConvariumError, OptionError, ShapeError
from convarium.explain.attribution import spatial_size
from convarium.explain.checkpoints import without_checkpoints
from convarium.explain.faults import blame, mixing, padded, refuse
from convarium.graph import Graph, eager, trace, untouched, unwrapped
from convarium.graph.wrappers import all_eager
from convarium.measure.arguments import whole

Inputs = Tensor | tuple[Tensor, ...]
Forward = Callable[..., Any]

_WRAPPED = "The original of the wrapped or compiled model was used."


class _Locks:
    """One lock for each network, so that threads look at it one after another."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.of: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()

    def __call__(self, network: nn.Module) -> threading.RLock:
        with self.lock:
            return self.of.setdefault(network, threading.RLock())


_locked = _Locks()


@dataclass(frozen=True, eq=False)
class Look:
    """A network ready to be looked at.

    Attributes:
        network: out of its wrappers.
        inputs: copies of what it is given; the maps belong to the first one.
        forward: what runs: the network, or what the caller gave in its place.
        size: spatial size of the first input.
        note: what should be known about the way.
    """

    network: nn.Module
    inputs: tuple[Tensor, ...]
    forward: Forward
    size: tuple[int, ...]
    note: str

    @property
    def samples(self) -> int:
        """Length of the batch."""
        return len(self.inputs[0])

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.size)

    @property
    def covered(self) -> tuple[int, ...]:
        """Spatial size of what is read: of a short sequence, with the zeros put behind it."""
        shortest: int = getattr(self.network, "shortest_read", 0)
        return tuple(max(side, shortest) for side in self.size)

    def at_once(self, batch_size: int) -> int:
        """How many versions of the batch make up a pass of so many samples; at least one."""
        return max(1, whole(1, batch_size=batch_size) // self.samples)

    def run(self, *inputs: Tensor) -> Any:
        """The output, for copies that the network may write into."""
        return self.forward(*(x.clone() for x in inputs))

    def repeated(self, n: int) -> Tensor:
        """The first input n times, batch after batch: (n B, C, *S)."""
        return _repeated(self.inputs[0], n)

    def several(self, rows: Tensor) -> Any:
        """The output for n versions (n B, C, *S) of the first input, batch after batch."""
        n = len(rows) // self.samples
        others = (_repeated(x, n) for x in self.inputs[1:])
        return self.forward(rows, *others)

    def followed(self, target: Callable[[Any], Any] | None = None) -> Graph:
        """The operations behind what is scored; names begin with "network."."""
        called = _Called(self.network, self.forward, self.inputs, target)
        return trace(called, [tuple(x.shape) for x in self.inputs])


def device_of(network: nn.Module) -> torch.device:
    """Where its parameters are."""
    first = next(network.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def _repeated(x: Tensor, n: int) -> Tensor:
    """A copy of n times x, which lies in memory as x does: `Tensor.repeat` gives channels first."""
    return x.clone() if n == 1 else torch.cat([x] * n)


@contextlib.contextmanager
def looking(model: nn.Module, x: Inputs, forward: Forward | None = None) -> Iterator[Look]:
    """Inside, the model can be run and differentiated; afterwards it is as before.

    Threads that look at the same model wait for each other.

    Args:
        model: any module; it runs out of its wrapper.
        x: (B, C, *S) or (B, T), or a tuple of inputs.
        forward: what runs in place of `model(*inputs)`.

    Raises:
        OptionError: the model is no module, scripted, quantised or lazy; x is no tensor of numbers.
        ShapeError: the inputs do not fit the model.
    """
    network = unwrapped(model)
    inputs, size = _checked(x)
    refuse(network)
    compiled = eager(network)
    plain = model is network and isinstance(compiled, contextlib.nullcontext)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(_locked(network))
            stack.enter_context(untouched(network))
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            stack.enter_context(without_checkpoints())
            stack.enter_context(all_eager() if forward else compiled)
            if forward is not None:
                stack.enter_context(_without_wrappers(model))
            _freeze(network)
            given = tuple(x.clone() if x.is_inference() else x.detach() for x in inputs)
            told = ("" if plain else _WRAPPED, padded(given, size), mixing(network, given))
            yield Look(network, given, forward or network, size, " ".join(filter(None, told)))
    except (RuntimeError, IndexError, ValueError, AssertionError) as error:
        if forward is None and not isinstance(error, ConvariumError):
            blame(network, inputs, error)
        raise


def _checked(x: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """The inputs as a tuple, and the spatial size of the first."""
    inputs = x if isinstance(x, tuple) else (x,)
    for item in inputs or (None,):
        if not isinstance(item, Tensor):
            raise OptionError(
                f"x (={type(item).__name__}) must be a tensor (B, C, *S), prepared as the model "
                "needs it, or a tuple of tensors; `convarium explain` takes files."
            )
    size = spatial_size(inputs[0])
    if not inputs[0].is_floating_point() and inputs[0].ndim != 2:
        raise ShapeError(
            f"x holds {inputs[0].dtype}, not floating-point numbers; "
            "scale and normalise it as the model was trained: x.float() / 255, for example."
        )
    if any(item.ndim == 0 or len(item) != len(inputs[0]) for item in inputs):
        shapes = ", ".join(str(tuple(item.shape)) for item in inputs)
        raise ShapeError(f"x has inputs of shapes {shapes}; each must have the same batch axis.")
    return inputs, size


@contextlib.contextmanager
def _without_wrappers(model: nn.Module) -> Iterator[None]:
    """Inside, DataParallel and DistributedDataParallel hand calls on, for a `forward` with them.

    Their own forwards would copy the network, or prepare a backward pass that never comes.
    """
    changed: list[nn.Module] = []
    while (inner := _inner(model)) is not None:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            vars(model)["forward"] = inner
            changed.append(model)
        model = inner
    try:
        yield
    finally:
        for wrapper in changed:
            vars(wrapper).pop("forward", None)


def _inner(model: nn.Module) -> nn.Module | None:
    """The network one wrapper further in."""
    wrapper = isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel)
    inner: nn.Module | None = getattr(model, "module" if wrapper else "_orig_mod", None)
    return inner


def _freeze(network: nn.Module) -> None:
    """Eval mode, no parameter recorded; tensors of inference mode, which autograd refuses, copied.

    Modes are set one by one: a `train` method of the network's own may do more than set a flag.
    Backward hooks are the caller's, for training: they neither see nor change this gradient.
    Whoever calls this undoes it with `untouched`.
    """
    copies: dict[Tensor, Tensor] = {}
    for module in network.modules():
        module.training = False
        module._backward_hooks.clear()
        module._backward_pre_hooks.clear()
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.is_inference():
                copy = nn.Parameter(parameter.detach().clone(), requires_grad=False)
                setattr(module, name, copies.setdefault(parameter, copy))
            elif parameter.is_leaf:
                parameter.requires_grad_(False)
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_inference():
                setattr(module, name, copies.setdefault(buffer, buffer.clone()))


class _Called(nn.Module):
    """What is scored, as one module: forward and target in it, whole numbers as they were given."""

    def __init__(
        self,
        network: nn.Module,
        forward: Forward,
        inputs: tuple[Tensor, ...],
        target: Callable[[Any], Any] | None,
    ) -> None:
        super().__init__()
        self.network = network
        self.call, self.target = [forward], target  # in a list, a module is no submodule
        self.dtypes = [x.dtype for x in inputs]

    def forward(self, *inputs: Tensor) -> Any:
        given = (
            x if dtype.is_floating_point else x.to(dtype)
            for x, dtype in zip(inputs, self.dtypes, strict=True)
        )
        output = self.call[0](*given)
        return output if self.target is None else self.target(output)
