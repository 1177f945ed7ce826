"""Gradient flow: what reaches each layer of the gradient, and which units are dead.

x -> network -> loss -> gradient of the loss with respect to each layer's weights and output
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.graph.state import set_mode
from convarium.measure.arguments import batch, shown
from convarium.measure.gradients import CUT_OFF, norm, weight_norms, without_formula
from convarium.measure.leaves import Call, leaves, looking, own_weights, watch
from convarium.measure.running import open_to_hooks, reason

Loss = Callable[[Any, Any], Any]

#: Activations with an exact zero where they are off, and no gradient there.
RECTIFIERS = (nn.ReLU, nn.ReLU6)


@dataclass(frozen=True)
class LayerFlow:
    """The gradient at one call of a layer.

    Attributes:
        layer: dotted name; empty where the model itself is the layer.
        kind: name of its class.
        call: 1 for the layer's first call in the pass, 2 for its second ...
        shape: of its output, batch included.
        weight_gradient: norm of the loss's gradient with respect to the layer's weights (not
            biases); None where it has none. Shared weights have one gradient, told at each use.
        output_gradient: root mean square of the gradient with respect to the output; 0 where the
            loss does not depend on it, None where the model ran it without gradients.
        ratio: this output gradient over that of the first row; None where that is 0 or missing.
        units: number of channels of a ReLU's or ReLU6's output; None for other layers.
        dead: share of these that are 0 for every sample and position; None for other layers.
    """

    layer: str
    kind: str
    call: int
    shape: tuple[int, ...]
    weight_gradient: float | None
    output_gradient: float | None
    ratio: float | None
    units: int | None
    dead: float | None


@dataclass(frozen=True)
class GradientFlow:
    """The gradient at every layer of a network, for one batch.

    Attributes:
        loss: its value.
        training: whether the network ran in training mode.
        n: number of samples.
        rows: one for each call of a layer with weights or an activation, in the order of execution.
    """

    loss: float
    training: bool
    n: int
    rows: tuple[LayerFlow, ...]

    @property
    def dead(self) -> float | None:
        """Share of dead units among all units of rectifiers; None where there are none."""
        counted = [(row.units, row.dead) for row in self.rows if row.units and row.dead is not None]
        units = sum(n for n, _ in counted)
        return sum(n * share for n, share in counted) / units if units else None

    def to_json(self) -> dict[str, Any]:
        """The result as values for JSON."""
        return {**asdict(self), "dead": self.dead}


def gradient_flow(
    model: nn.Module,
    x: Tensor,
    target: Any = None,
    *,
    loss: Loss | None = None,
    training: bool = False,
) -> GradientFlow:
    """Norms of the loss's gradient at every layer, and the share of dead units.

    At each layer ||dL/dW||, and the root mean square of dL/dy over samples, channels and positions.
    From the first row to the last, it says how the gradient grows or shrinks on its way back.

    The network runs once forward and once back. Afterwards mode, gradients, buffers (also the
    running statistics of norms), hooks and random streams are as before, also after an error.
    Frozen weights have gradients, too: what is asked is what would reach them. Outputs are copied
    on the way, so activations that write in place cannot change what is read.

    A block that holds layers has a row where it has weights of its own, too, also in a
    `ParameterList`: it stands behind the layers, with these weights alone.

    Args:
        model: any module with one input.
        x: a batch (B, ...), preprocessed as the model needs it; whole numbers for one that looks
            them up.
        target: classes (B,) or shares of them (B, K) for the cross-entropy, or what `loss` takes.
        loss: from the model's output and the target to one number. None means the mean
            cross-entropy; without a target, the mean logit of each sample's predicted class, whose
            gradient at the output is of the same size however sure the network is.
        training: run in training mode, so that batch norms use the batch and dropout draws. At
            initialisation that is what training will see: in eval mode, batch norms divide by
            running statistics that have seen nothing yet.

    Raises:
        ShapeError: the model does not take x.
        OptionError: the loss fails or is not one number that depends on the weights, or is missing;
            no layer has weights or an activation, or none is called.

    Example:
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> flow = gradient_flow(layer, torch.tensor([[3.0, 4.0]]), loss=lambda y, _: y.sum())
        >>> flow.rows[0].weight_gradient, flow.rows[0].output_gradient
        (5.0, 1.0)

    References:
        Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural
        networks", section 4.2; He et al. 2015, arXiv:1512.03385, section 4.1 (gradients of plain
        nets); Lu et al. 2019, "Dying ReLU and initialization", arXiv:1903.06733 (dead units).
    """
    network, x = open_to_hooks(model), batch(x, 1, floating=False)
    if loss is not None and not callable(loss):
        raise OptionError(
            f"loss (={shown(loss)}) must be a function of the model's output and the target, such "
            "as torch.nn.functional.mse_loss, or None."
        )
    weights = own_weights(network)
    names = {name for name, module in leaves(network).items() if _is_activation(module)}
    layers = {n: m for n, m in network.named_modules() if n in names or n in weights}
    if not layers:
        raise OptionError(
            f"model (={type(network).__name__}) has no layer with weights and no activation to "
            "look at."
        )
    with looking(network, x, gradients=True) as x:
        for parameter in network.parameters():
            if parameter.is_leaf and parameter.is_floating_point():
                parameter.requires_grad_(True)
        if training:
            set_mode(network, training=True)
        tape = _Tape(layers)
        watch(layers, tape.see)
        leaf = x.clone()
        leaf.requires_grad_(leaf.is_floating_point())
        output = network(leaf.clone())
        tape.closed = True
        value = _loss(output, target, loss)
        rows = tape.rows(weight_norms(value, own_weights(network), leaf))
        if tape.lost and without_formula(value):
            raise OptionError(
                f"No gradient comes back to {tape.lost[0] or 'the model'}: {CUT_OFF}."
            )
    if not tape.called:
        raise OptionError(
            f"model (={type(network).__name__}) calls none of its layers, as an exported program, "
            "which is a list of operations; give the module that it was made from."
        )
    return GradientFlow(float(value.detach()), training, len(x), rows)


class _Tape:
    """Notes each call, and the gradient of its output when it comes back."""

    def __init__(self, layers: dict[str, nn.Module]) -> None:
        self.layers = layers
        self.called = self.closed = False
        self.lost: list[str] = []  # layers to which no gradient came back where one should
        self.notes: list[LayerFlow] = []
        self.gradients: dict[int, float] = {}

    def see(self, call: Call, output: Any) -> Tensor | None:
        """Hand on a copy; what is computed again in the backward pass is not noted again."""
        self.called = True
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return None
        if not self.closed:
            self._note(call, output)
        return output.clone()

    def _note(self, call: Call, output: Tensor) -> None:
        place, units, dead = len(self.notes), None, None
        if isinstance(self.layers[call.layer], RECTIFIERS) and output.ndim > 1:
            off = (output.detach() == 0).transpose(0, 1).flatten(1).all(1)
            units, dead = len(off), float(off.double().mean())
        told = (call.layer, call.kind, call.number, tuple(output.shape))
        self.notes.append(LayerFlow(*told, None, None, None, units, dead))
        if not output.requires_grad:
            return

        def back(gradient: Tensor | None) -> None:
            if gradient is None:
                self.lost.append(call.layer)
            else:
                self.gradients[place] = norm(gradient) / math.sqrt(gradient.numel())

        self.gradients[place] = 0.0
        output.register_hook(back)  # type: ignore[no-untyped-call]

    def rows(self, weights: dict[str, float]) -> tuple[LayerFlow, ...]:
        """The notes with their gradients."""
        first = self.gradients.get(0)
        rows = []
        for place, note in enumerate(self.notes):
            gradient = self.gradients.get(place)
            rows.append(
                replace(
                    note,
                    weight_gradient=weights.get(note.layer),
                    output_gradient=gradient,
                    ratio=gradient / first if first and gradient is not None else None,
                )
            )
        return tuple(rows)


def _is_activation(module: nn.Module) -> bool:
    """Whether it is an activation of torch's, or made of one."""
    return any(base.__module__ == "torch.nn.modules.activation" for base in type(module).__mro__)


def _loss(output: Any, target: Any, loss: Loss | None) -> Tensor:
    """The one number that is differentiated.

    Raises:
        OptionError: it is not one number that depends on the weights, or none was given.
    """
    value: Any
    if loss is not None:
        try:
            value = loss(output, target)
        except Exception as error:
            raise OptionError(
                f"loss (={shown(loss)}) fails: {reason(error)}; give a function of the model's "
                "output and the target."
            ) from error
    elif not isinstance(output, Tensor) or output.ndim != 2:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise OptionError(
            f"loss (=None): the model returns {shape}, not logits (B, classes); give a function "
            "of its output and the target, such as torch.nn.functional.mse_loss."
        )
    elif target is None:
        value = output.amax(1).mean()
    else:
        value = _cross_entropy(output, target)
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
        raise OptionError(
            "loss must give a tensor of one number that depends on the model's weights; reduce it, "
            "as with .mean(), and leave out detach() and .item()."
        )
    scalar: Tensor = value.reshape(())
    return scalar


def _cross_entropy(output: Tensor, target: Any) -> Tensor:
    """Its mean over the batch.

    Raises:
        OptionError: the target holds no classes of the output.
    """
    try:
        given = torch.as_tensor(target, device=output.device)
    except Exception as error:
        raise OptionError(
            f"target (={shown(target)}) must be a tensor of classes or shares, or None."
        ) from error
    shares = given.is_floating_point() and given.shape == output.shape
    if not shares:
        kind = given.is_floating_point() or given.is_complex()
        whole = not kind and given.shape == output.shape[:1]
        if not whole or given.min() < 0 or given.max() >= output.shape[1]:
            raise OptionError(
                f"target (={shown(given)}) must hold a class from 0 to "
                f"{output.shape[1] - 1} for each of {len(output)} samples, or shares of them of "
                f"shape {tuple(output.shape)}; for anything else, give a loss."
            )
        given = given.long()
    return nn.functional.cross_entropy(output, given)
