"""The state of a module, taken and put back, so that whoever looks into a network leaves no trace.

What is put back: mode, attributes, hooks, submodules, parameters and buffers of every submodule,
`requires_grad`, `.grad`, the values of parameters and of buffers; tensors, NumPy's arrays and
random generators that are plain attributes or lie in lists, tuples, dictionaries and sets that are;
these containers too; the random streams of torch, of Python's `random` and of NumPy; torch's
gradient mode. Parameters are copied when something is about to write into them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Final

import torch
from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.graph.nested import held, refill
from convarium.graph.streams import global_streams, held_streams
from convarium.graph.tensors import Kept
from convarium.graph.writes import Writes

_TORCHS: Final = frozenset(vars(nn.Module()))
_DICTIONARIES: Final = tuple(k for k, value in vars(nn.Module()).items() if isinstance(value, dict))


@contextlib.contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Whatever happens inside, the model and the random streams are afterwards as before.

    Inside, every `.grad` starts as None, so that gradients the caller has gathered are neither
    added to nor overwritten. Buffers are copied at once, parameters before the first operation that
    writes into them, so it is cheap: about ten milliseconds for a ResNet-50 on one core.

    What lies inside of any other Python object that the model holds, such as a counter that keeps
    its number, or outside of the model, such as a global variable, is not looked at.

    Args:
        model: any module; its lazy layers must have seen their first input.

    Raises:
        OptionError: a lazy layer has no shape yet, so there is no state to return to.

    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    >>> with untouched(network):
    ...     network.eval()(torch.ones(1, 1, 4, 4)).sum().backward()
    >>> network.training, network[0].weight.grad
    (True, None)
    """
    modules = [_Module(module) for module in model.modules()]
    with torch.inference_mode(False), torch.no_grad():
        tensors = _kept(modules)
    streams = [*global_streams(), *held_streams(x for m in modules for x in m.others)]
    gradients = torch.is_grad_enabled()
    for tensor in tensors:
        tensor.set_aside_gradient()
    overwritten = [kept for kept in tensors if not kept.tensor.is_meta]
    try:
        with Writes(overwritten) if overwritten else contextlib.nullcontext():
            yield
    finally:
        torch.set_grad_enabled(gradients)
        for module in modules:
            module.restore()
        for tensor in tensors:
            tensor.restore()
        for put_back in streams:
            put_back()


def set_mode(model: nn.Module, *, training: bool) -> None:
    """Put a model in training or in eval mode; `untouched` puts back what it was.

    For eval mode the parts are set one by one: a `train` method of the model's own may do more, and
    that of an exported program refuses. Training mode is what the model's own `train` makes of it,
    such as one that leaves frozen norms in eval mode.

    Raises:
        OptionError: the model has no training mode.

    >>> network = nn.Sequential(nn.Dropout(0.5))
    >>> set_mode(network, training=False)
    >>> network.training, network[0].training
    (False, False)
    """
    if not training:
        for module in model.modules():
            module.training = False
        return
    try:
        model.train()
    except RuntimeError as error:
        raise OptionError(
            f"{type(model).__name__} has no training mode ({error}), as exported programs have "
            "none; give the module that it was made from."
        ) from error


class _Module:
    """Class and attributes of one module; containers are remembered with their contents.

    Hook handles refer to the very dictionaries of the module, so these are refilled, not replaced.

    Attributes:
        others: what its plain attributes are, or hold in lists and dictionaries.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.kind = type(module)
        self.attributes = dict(vars(module))
        own = [value for name, value in self.attributes.items() if name not in _TORCHS]
        self.contents, self.others = held(own)
        for name in _DICTIONARIES:
            if isinstance(value := self.attributes.get(name), dict):
                self.contents.append((value, value.copy() if value else ()))

    def restore(self) -> None:
        if type(self.module) is not self.kind:  # a parametrisation was registered
            object.__setattr__(self.module, "__class__", self.kind)
        for container, content in self.contents:
            if content or container:
                refill(container, content)
        present = vars(self.module)
        present.clear()
        present.update(self.attributes)


def _kept(modules: list[_Module]) -> list[Kept]:
    """Parameters, buffers and tensors that are or lie in plain attributes, each once.

    The values of parameters are not copied yet, since there may be gigabytes of them.
    """
    parameters = _once(x for m in modules for x in m.module._parameters.values())
    buffers = _once(x for m in modules for x in m.module._buffers.values())
    plain = _once(x for m in modules for x in m.others if isinstance(x, Tensor))
    if any(nn.parameter.is_lazy(tensor) for tensor in (parameters | buffers).values()):
        raise OptionError(
            "model has lazy layers without a shape; run one batch through it first: model(x)."
        )
    later = {*parameters, *(n for n, tensor in plain.items() if isinstance(tensor, nn.Parameter))}
    tensors = parameters | buffers | plain
    return [Kept(tensor, copied=n not in later) for n, tensor in tensors.items()]


def _once(tensors: Iterable[Tensor | None]) -> dict[int, Tensor]:
    return {id(tensor): tensor for tensor in tensors if tensor is not None}
