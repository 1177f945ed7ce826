"""The layers of any module: which there are, and each of their calls as it happens.

A layer is a module that holds no other module; what parametrises its weights does not count.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from convarium.errors import OptionError, did_you_mean
from convarium.graph import eager
from convarium.measure.arguments import shown
from convarium.measure.running import explained, fitted, predicting

_LISTS: Final = (nn.ParameterList, nn.ParameterDict)


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


def own_weights(network: nn.Module) -> dict[str, list[nn.Parameter]]:
    """For each module that has parameters of its own, those that are no biases.

    What parametrises a weight is of the module with the weight, and a list of parameters of the
    module that holds it.
    """
    found: dict[str, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        path = name.split(".")[:-1]
        if "parametrizations" in path:
            path = path[: path.index("parametrizations")]
        while path and isinstance(network.get_submodule(".".join(path)), _LISTS):
            path.pop()
        own = found.setdefault(".".join(path), [])
        if "bias" not in ".".join(name.split(".")[len(path) :]):
            own.append(parameter)
    return found


def select(
    network: nn.Module, layers: Sequence[str] | None, argument: str = "layers"
) -> dict[str, nn.Module]:
    """The layers with these names, which may hold others; None means all leaves.

    Raises:
        OptionError: a name is not in the model, or there is none.
    """
    if layers is None:
        return leaves(network)
    names = _named(network)
    if not isinstance(layers, list | tuple) or not layers:
        raise OptionError(
            f"{argument} (={shown(layers)}) must be a list of one name or more, or None."
        )
    for layer in layers:
        if not isinstance(layer, str) or layer not in names:
            near = did_you_mean(str(layer), names)
            raise OptionError(
                f"{argument} (={shown(layer)}) is not in the model: no layer has this name.{near}"
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
def looking(network: nn.Module, x: Tensor, *, gradients: bool) -> Iterator[Tensor]:
    """Inside, the network runs in eval mode and in its own precision; afterwards it is as before.

    Gives `x` on the network's device and of its type; an error of the network is told in words.

    Backward hooks are the caller's, for training: inside, there are none. Tensors that were made in
    inference mode, which autograd refuses, stand aside for copies.
    """
    mode = torch.enable_grad() if gradients else torch.no_grad()
    with explained(network, x.shape, name="x"), predicting(network), torch.inference_mode(False):
        x = fitted(network, x)
        for module in network.modules():
            module._backward_hooks.clear()
            module._backward_pre_hooks.clear()
        _copy_inference_tensors(network)
        with mode, torch.autocast(x.device.type, enabled=False), eager(network):
            yield x


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


def _named(network: nn.Module) -> dict[str, nn.Module]:
    """Every module by its name, without what parametrises weights."""
    return {
        name: module
        for name, module in network.named_modules()
        if "parametrizations" not in name.split(".")
    }
