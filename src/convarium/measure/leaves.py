"""The layers of any module: which there are, and each of their calls as it happens.

A layer is a module that holds no other module; what parametrises its weights does not count.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convarium.errors import OptionError, ShapeError, did_you_mean
from convarium.graph import eager, untouched


@dataclass(frozen=True)
class Call:
    """One call of a layer in a forward pass.

    Attributes:
        layer: dotted name; empty where the model itself is the layer.
        kind: name of its class.
        number: 1 for the layer's first call, 2 for its second ...
    """

    layer: str
    kind: str
    number: int


def leaves(network: nn.Module) -> dict[str, nn.Module]:
    """Modules that hold no other module, by dotted name, as they are registered.

    >>> block = nn.Sequential(nn.Conv1d(1, 1, 3), nn.Sequential(nn.ReLU()))
    >>> list(leaves(block))
    ['0', '1.0']
    """
    return {
        name: module
        for name, module in _named(network).items()
        if all(child == "parametrizations" for child, _ in module.named_children())
    }


def select(network: nn.Module, layers: Sequence[str] | None) -> dict[str, nn.Module]:
    """The layers with these names, which may hold others; None means all leaves.

    Raises:
        OptionError: a name is not in the model, or there is none.
    """
    if layers is None:
        return leaves(network)
    names = _named(network)
    if isinstance(layers, str) or not layers:
        raise OptionError(f"layers (={layers!r}) must be a list of one name or more, or None.")
    for layer in layers:
        if layer not in names:
            raise OptionError(
                f"layers (={layer!r}) is not in the model.{did_you_mean(layer, names)}"
            )
    return {name: names[name] for name in names if name in layers}


def watch(modules: Mapping[str, nn.Module], see: Callable[[Call, Any], Tensor | None]) -> None:
    """Let `see` look at each call's output, before anything can overwrite it.

    What `see` returns takes the place of the output, unless it is None. The hooks stay: call this
    inside `looking`, which takes them away.
    """
    counts = dict.fromkeys(modules, 0)

    def attach(name: str, module: nn.Module) -> None:
        def hook(module: nn.Module, inputs: Any, output: Any) -> Tensor | None:
            counts[name] += 1
            return see(Call(name, type(module).__name__, counts[name]), output)

        module.register_forward_hook(hook)

    for name, module in modules.items():
        attach(name, module)


@contextlib.contextmanager
def looking(network: nn.Module, device: torch.device, *, gradients: bool) -> Iterator[None]:
    """Inside, the network runs in eval mode and in its own precision; afterwards it is as before.

    Backward hooks are the caller's, for training: inside, there are none. Modes are set one by one,
    because a `train` method of the network's own may do more than set a flag. Tensors that were
    made in inference mode, which autograd refuses, stand aside for copies.
    """
    mode = torch.enable_grad() if gradients else torch.no_grad()
    plain = torch.autocast(device.type, enabled=False)
    with untouched(network), torch.inference_mode(False), mode, plain, eager(network):
        for module in network.modules():
            module.training = False
            module._backward_hooks.clear()
            module._backward_pre_hooks.clear()
        _copy_inference_tensors(network)
        yield


def _copy_inference_tensors(network: nn.Module) -> None:
    """Whoever calls this undoes it with `untouched`."""
    copies: dict[Tensor, Tensor] = {}
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.is_inference():
                copy = nn.Parameter(parameter.detach().clone(), requires_grad=False)
                setattr(module, name, copies.setdefault(parameter, copy))
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_inference():
                setattr(module, name, copies.setdefault(buffer, buffer.clone()))


def check_maps(x: Tensor) -> tuple[int, ...]:
    """The spatial size of a batch of maps.

    Raises:
        ShapeError: not (B, C, *S) with 1 to 3 spatial axes, no sample, or whole numbers.
    """
    if not 3 <= x.ndim <= 5 or 0 in x.shape or not x.is_floating_point():
        raise ShapeError(
            f"x has shape {tuple(x.shape)} and type {x.dtype}; it must be (B, C, *S), floating "
            "point, with at least one sample and 1 to 3 spatial axes."
        )
    return tuple(x.shape[2:])


def _named(network: nn.Module) -> dict[str, nn.Module]:
    """Every module by its name, without what parametrises weights."""
    return {
        name: module
        for name, module in network.named_modules()
        if "parametrizations" not in name.split(".")
    }
