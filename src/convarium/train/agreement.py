"""Whether another arithmetic computes what float32 does: in the loss, and layer by layer.

    one step in the arithmetic -> the loss; what each layer was given from in front and from behind
    each layer alone on that, once in its arithmetic, once in float32 -> output and gradients

The gradient of the whole network would say little: with batch norms and random weights it hangs on
the last bits. Rounding the weights once, and computing on in float32, changes it as much as bf16
arithmetic does. A single layer is well conditioned, and what is wrong in it shows.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from convarium.data import Batch
from convarium.train.gradients import Pass

# Half the distance of neighbouring numbers, relative, of the coarsest format that is multiplied
# in: bf16, and TF32, which GPUs take for float32 convolutions.
_ROUNDING: Final = {"fp32": 2.0**-11, "bf16": 2.0**-8}
_ROUNDINGS: Final = 8  # that a layer may differ by
LOSS_LIMITS: Final = {"fp32": 0.02, "bf16": 0.25}  # relative


@dataclass(frozen=True)
class Agreement:
    """How far an arithmetic is from float32.

    Args:
        precision: "fp32" or "bf16", which the limits belong to.
        loss: relative difference of the loss.
        layers: the largest relative difference of a layer's output, or of its gradients.
        layer: the name of that layer.
    """

    precision: str
    loss: float
    layers: float
    layer: str

    @property
    def holds(self) -> bool:
        """Whether both differences are small enough; what is not a number is not."""
        return self.loss <= LOSS_LIMITS[self.precision] and self.layers <= layer_limit(
            self.precision
        )

    def sentence(self) -> str:
        """What differs by how much."""
        most = LOSS_LIMITS[self.precision]
        if not self.loss <= most:
            return f"the loss differs by {self.loss:.2g} of it, at most {most:g}"
        return (
            f"{self.layer or 'no layer'} differs by {self.layers:.2g}, at most "
            f"{layer_limit(self.precision):.2g}"
        )


def layer_limit(precision: str) -> float:
    """What a layer may differ by: eight roundings, 0.031 for bf16 and 0.0039 for fp32.

    References:
        Kalamkar et al. (2019), "A study of bfloat16 for deep learning training", arXiv:1905.12322,
        table 1 (8 bits of significand, so that a rounding is 2^-8); Higham (2002), "Accuracy and
        stability of numerical algorithms", sections 1.6 (conditioning) and 3.1 (errors of sums).
    """
    return _ROUNDINGS * _ROUNDING[precision]


def agreement(
    network: nn.Module, passes: Pass, reference: nn.Module, plain: Pass, batch: Batch
) -> Agreement:
    """Compare an arithmetic with plain float32, on one batch. Dropout is off, batch norms train.

    Both networks keep gradients and statistics of the batch: give copies.

    Args:
        network: in the memory order to be tried.
        passes: with the precision to be tried.
        reference: with the same weights, contiguous.
        plain: float32, contiguous.
        batch: of real samples, as training has them.
    """
    with only_norms_train(reference):
        expected = plain.backward(reference, batch, epoch=0, step=0).loss
    with only_norms_train(network):
        with _noted(network) as calls:
            loss = passes.backward(network, batch, epoch=0, step=0).loss
        worst, name = 0.0, ""
        for call in calls:
            error = _error(call, network, passes, reference)
            if not error <= worst:  # no number is worse than any
                worst, name = error, call.layer
    return Agreement(passes.precision, abs(loss - expected) / (abs(expected) or 1.0), worst, name)


def _error(call: _Call, network: nn.Module, passes: Pass, reference: nn.Module) -> float:
    """The largest difference of what a layer alone gives, forward and backward."""
    with passes.arithmetic():
        found = _alone(network.get_submodule(call.layer), call.x, call.gradient)
    with only_norms_train(reference):
        layer = reference.get_submodule(call.layer)
        exact = _alone(layer, _plain(call.x), _plain(call.gradient))
    errors = [_difference(one, other) for one, other in zip(found, exact, strict=True)]
    return next((error for error in errors if error != error), max(errors, default=0.0))


@dataclass
class _Call:
    """What a layer was given in a step: its input, and later the gradient of its output."""

    layer: str
    x: Tensor
    gradient: Tensor | None = None

    def receive(self, gradient: Tensor) -> None:
        """Keep the gradient of the output."""
        self.gradient = gradient.detach().clone()


@contextlib.contextmanager
def _noted(network: nn.Module) -> Iterator[list[_Call]]:
    """Inside, the list fills with the calls of layers that hold parameters."""
    calls: list[_Call] = []

    def note(name: str, inputs: tuple[Any, ...], output: Any) -> None:
        if len(inputs) != 1 or not isinstance(inputs[0], Tensor) or not isinstance(output, Tensor):
            return
        call = _Call(name, inputs[0].detach().clone())
        calls.append(call)
        if output.requires_grad:
            output.register_hook(call.receive)  # type: ignore[no-untyped-call]

    def hook(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        return lambda _, inputs, output: note(name, inputs, output)

    handles = [
        module.register_forward_hook(hook(name))
        for name, module in network.named_modules()
        if _is_layer(module)
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _is_layer(module: nn.Module) -> bool:
    """Whether it holds parameters and nothing but them, in parametrised form too."""
    children = {name for name, _ in module.named_children()} - {"parametrizations"}
    return not children and any(True for _ in module.parameters())


def _alone(layer: nn.Module, x: Tensor, gradient: Tensor | None) -> list[Tensor]:
    """The layer's output, and the gradients of its input and of its weights.

    Vectors are left out: the gradient of a shift in front of a batch norm is 0 but for rounding.
    """
    x = x.detach().requires_grad_(x.is_floating_point())
    output: Tensor = layer(x)
    if gradient is None:
        return [output.detach()]
    taken = [x, *(p for p in layer.parameters() if p.ndim > 1)]
    taken = [tensor for tensor in taken if tensor.requires_grad]
    gradient = gradient.to(output.dtype)
    gradients = torch.autograd.grad(output, taken, gradient, materialize_grads=True)
    return [output.detach(), *gradients]


def _plain(x: Tensor | None) -> Any:
    """The same numbers in float32, contiguous."""
    if x is None or not x.is_floating_point():
        return x
    return x.float().contiguous()


def _difference(found: Tensor, exact: Tensor) -> float:
    """Norm of the difference, relative to the norm of what is exact."""
    exact = exact.float()
    size = float(exact.norm())
    error = float((found.float() - exact).norm())
    if size == 0:
        return 0.0 if error == 0 else math.inf
    return error / size


@contextlib.contextmanager
def only_norms_train(network: nn.Module) -> Iterator[None]:
    """Inside, norms are in training mode and all else is in evaluation mode."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        for module, _ in modes:
            module.training = isinstance(module, nn.modules.batchnorm._NormBase)
        yield
    finally:
        for module, mode in modes:
            module.training = mode
