"""Running any module: on which inputs, where, its errors in words, and no trace afterwards."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from convarium.errors import ConvariumError, OptionError, ShapeError
from convarium.graph import trace, untouched, unwrapped
from convarium.graph.state import set_mode
from convarium.measure.arguments import Sizes, real, shown, whole
from convarium.models import Network

_MOST_THREADS = 1024

Found = TypeVar("Found")


def ready(model: nn.Module) -> nn.Module:
    """The network out of its wrappers, if it has numbers to compute with.

    Raises:
        OptionError: it is no module, or part of it lies on the meta device.
    """
    network = unwrapped(model)
    if any(x.is_meta for x in [*network.parameters(), *network.buffers()]):
        raise OptionError(
            f"model (={type(network).__name__}) lies on torch's meta device, where nothing runs; "
            "build it on a processor to measure it."
        )
    return network


def open_to_hooks(model: nn.Module) -> nn.Module:
    """`ready`, if hooks see what the layers of the network do.

    Raises:
        OptionError: one of `ready`'s reasons, or it is scripted.
    """
    network = ready(model)
    if any(isinstance(module, torch.jit.ScriptModule) for module in network.modules()):
        raise OptionError(
            f"model (={type(network).__name__}) is scripted and hides its layers; give the module "
            "it came from."
        )
    return network


def fitted(network: nn.Module, x: Tensor) -> Tensor:
    """`x` where the weights are and, if it is floating, of their type."""
    tensors = [*network.parameters(), *network.buffers()]
    kinds = (t.dtype for t in tensors if t.is_floating_point() and x.is_floating_point())
    return x.detach().to(tensors[0].device if tensors else x.device, next(kinds, x.dtype))


@contextlib.contextmanager
def predicting(model: nn.Module) -> Iterator[None]:
    """Inside, every part is in eval mode; afterwards the model is as before, a scripted one too."""
    modes = [(module, module.training) for module in model.modules()]
    with untouched(model):
        try:
            set_mode(model, training=False)
            yield
        finally:
            for module, mode in modes:  # a scripted module keeps its mode where no one else looks
                module.training = mode


@contextlib.contextmanager
def quiet(model: nn.Module, threads: int | None) -> Iterator[None]:
    """Inside: eval mode, no gradients, no autocast, so many threads; afterwards all is as before.

    Raises:
        OptionError: no such number of threads, or the model has lazy layers.
    """
    threads, (device, _) = checked_threads(threads), place(model)
    before = torch.get_num_threads()
    with predicting(model), torch.inference_mode(), torch.autocast(device.type, enabled=False):
        try:
            if threads is not None:
                torch.set_num_threads(threads)
            yield
        finally:
            torch.set_num_threads(before)


@contextlib.contextmanager
def explained(model: nn.Module, *shapes: Sequence[int], name: str = "an input") -> Iterator[None]:
    """Errors of a pass through the model, in words.

    Raises:
        ShapeError: the model does not take inputs of these shapes.
        OptionError: there is not enough memory.
    """
    kind = type(unwrapped(model)).__name__
    told = " and ".join(str(tuple(shape)) for shape in shapes)
    try:
        yield
    except ConvariumError:
        raise
    except Exception as error:
        why = reason(error)
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate" in why:
            raise OptionError(
                f"There is not enough memory for {kind} on {name} of shape {told}; give a smaller "
                "batch or size."
            ) from error
        raise ShapeError(
            f"{kind} does not take {name} of shape {told}: {why}; give the whole shape, batch "
            "included."
        ) from error


def reason(error: Exception) -> str:
    """What an error says, on one line; of a scripted module's, the line behind its trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    scripted = len(lines) > 1 and "TorchScript" in lines[0]
    return (lines[-1 if scripted else 0] if lines else type(error).__name__)[:200].rstrip(".;: ")


def on_random_inputs(
    model: nn.Module, shapes: Sequence[Sizes], measured: Callable[..., Found]
) -> Found:
    """What `measured` gives of inputs of these shapes, always the same, where the model is.

    They are standard normal numbers of the weights' type, or whole numbers where `trace` finds that
    the model looks them up.

    Raises:
        ShapeError: the model does not take these shapes.
        OptionError: there is not enough memory.
    """
    try:
        with explained(model, *shapes):
            return measured(*_normal(model, shapes))
    except ShapeError:
        if not _looks_up(model, shapes):
            raise
    with explained(model, *shapes):
        return measured(*_whole(model, shapes))


def _normal(model: nn.Module, shapes: Sequence[Sizes]) -> list[Tensor]:
    """Standard normal numbers; a network of convarium's gives its own."""
    device, dtype = place(model)
    network = unwrapped(model)
    if isinstance(network, Network) and len(shapes) == 1:
        shape = shapes[0]
        own = len(network.sample_shape())
        x = network.example_input(shape[0], shape[1 + own - network.spatial_dims :] or None)
        if x.shape != torch.Size(shape):
            name = network.name or type(network).__name__
            raise ShapeError(
                f"input_shape (={shape}) does not fit {name}, which takes "
                f"(B, {network.in_channels}) and {network.spatial_dims} axes."
            )
        return [x]
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(shape, generator=generator, device="cpu").to(device, dtype) for shape in shapes
    ]


def _whole(model: nn.Module, shapes: Sequence[Sizes]) -> list[Tensor]:
    """Whole numbers that every table of the model has a row for."""
    tables = [m for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)]
    rows = min((table.num_embeddings for table in tables), default=1)
    generator, (device, _) = torch.Generator().manual_seed(0), place(model)
    return [
        torch.randint(rows, shape, generator=generator, device="cpu").to(device) for shape in shapes
    ]


def _looks_up(model: nn.Module, shapes: Sequence[Sizes]) -> bool:
    """Whether `trace`, which may take another type of numbers, takes whole ones."""
    try:
        return any(value.dtype == torch.int64 for value in trace(model, shapes).inputs)
    except ConvariumError:
        return False


def passes(*, threads: int | None, warmup: int, rounds: int, seconds: float) -> dict[str, Any]:
    """The options of a timing for `paired_timing`.

    Raises:
        OptionError: one is out of range.
    """
    checked_threads(threads)
    if not real(seconds) > 0:
        raise OptionError(
            f"seconds (={shown(seconds)}) must be a number above 0; math.inf sets no limit."
        )
    return {
        "warmup": whole(0, warmup=warmup),
        "rounds": whole(1, rounds=rounds),
        "seconds": real(seconds),
    }


def checked_threads(threads: int | None) -> int | None:
    """The number of threads; None leaves torch's own.

    Raises:
        OptionError: it is none, or more than any machine has.
    """
    return None if threads is None else whole(1, _MOST_THREADS, threads=threads)


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
