"""Running any module for the clock: its random input, its device, and no trace afterwards."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from convarium.errors import ConvariumError, OptionError, ShapeError
from convarium.graph import untouched, unwrapped
from convarium.models import Network

_MOST_THREADS = 1024


@contextlib.contextmanager
def quiet(model: nn.Module, threads: int | None) -> Iterator[None]:
    """Inside: eval mode, no gradients, no autocast, so many threads; afterwards all is as before.

    Raises:
        OptionError: no such number of threads; the model has lazy layers, or no memory.
    """
    checked_threads(threads)
    device, _ = place(model)
    if device.type == "meta":
        raise OptionError(
            f"{type(unwrapped(model)).__name__} lies on torch's meta device, where nothing runs; "
            "build it on a processor to measure its time."
        )
    before = torch.get_num_threads()
    modes = [(module, module.training) for module in model.modules()]
    with untouched(model), torch.inference_mode(), torch.autocast(device.type, enabled=False):
        try:
            for module, _ in modes:
                module.training = False
            if threads is not None:
                torch.set_num_threads(threads)
            yield
        finally:
            torch.set_num_threads(before)
            for module, mode in modes:  # a scripted module keeps its mode where no one else looks
                module.training = mode


@contextlib.contextmanager
def explained(model: nn.Module, shape: Sequence[int]) -> Iterator[None]:
    """Errors of a forward pass, in words.

    Raises:
        ShapeError: the model does not take inputs of this shape.
        OptionError: there is not enough memory.
    """
    name = type(unwrapped(model)).__name__
    try:
        yield
    except ConvariumError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate" in reason:
            raise OptionError(
                f"There is not enough memory for {name} on an input of shape {tuple(shape)}; "
                "give a smaller batch."
            ) from error
        raise ShapeError(
            f"{name} does not take an input of shape {tuple(shape)}: {reason}; give the whole "
            "shape, batch included."
        ) from error


def random_input(model: nn.Module, shape: Sequence[int]) -> Tensor:
    """Standard normal numbers of a shape, where the model is and of its type; always the same.

    Raises:
        ShapeError: a network of convarium's has another number of channels or axes.
    """
    device, dtype = place(model)
    network = unwrapped(model)
    if isinstance(network, Network):
        x = network.example_input(shape[0], tuple(shape[2:]) or None)
        if x.shape != torch.Size(shape):
            name = network.name or type(network).__name__
            raise ShapeError(
                f"input_shape (={tuple(shape)}) does not fit {name}, which takes "
                f"(B, {network.in_channels}) and {network.spatial_dims} axes."
            )
        return x
    generator = torch.Generator().manual_seed(0)
    return torch.randn(tuple(shape), generator=generator).to(device, dtype)


def checked_shape(input_shape: Sequence[int]) -> tuple[int, ...]:
    """The shape as a tuple.

    Raises:
        ShapeError: it is not a list of whole numbers of 1 or more, batch and channels at least.
    """
    shape = tuple(input_shape) if isinstance(input_shape, list | tuple) else ()
    if len(shape) < 2 or not all(type(n) is int and n > 0 for n in shape):
        raise ShapeError(
            f"input_shape (={input_shape!r}) must be the whole shape, batch included, such as "
            "(1, 3, 224, 224)."
        )
    return shape


def checked_threads(threads: int | None) -> None:
    """Refuse what is no number of threads.

    Raises:
        OptionError: it is not, or it is more than any machine has.
    """
    if threads is not None and (type(threads) is not int or not 1 <= threads <= _MOST_THREADS):
        raise OptionError(
            f"threads (={threads!r}) must be a whole number from 1 to {_MOST_THREADS}; "
            "None leaves torch's own."
        )


def whole(low: int, **values: int) -> None:
    """Refuse named values that are not whole numbers of `low` or more.

    Raises:
        OptionError: one is not.
    """
    for name, value in values.items():
        if type(value) is not int or value < low:
            raise OptionError(f"{name} (={value!r}) must be a whole number of {low} or more.")


def place(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Device and floating type of the first parameter or buffer; the processor without any."""
    tensors = [*model.parameters(), *model.buffers()]
    floating = (x.dtype for x in tensors if x.is_floating_point())
    device = tensors[0].device if tensors else torch.device("cpu")
    return device, next(floating, torch.get_default_dtype())


def waiting(model: nn.Module) -> Callable[[], None] | None:
    """What waits until the model's devices are done; None where calls return when they are."""
    devices = {x.device for x in [*model.parameters(), *model.buffers()]}
    busy = sorted((device for device in devices if device.type != "cpu"), key=str)

    def wait() -> None:
        for device in busy:
            torch.accelerator.synchronize(device)

    return wait if busy else None


def chip(device: torch.device) -> str:
    """The name of what computes: the processor's model, or the GPU's."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


@cache
def processor() -> str:
    """The processor's model, as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine() or "unknown"
