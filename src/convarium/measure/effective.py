"""The effective receptive field: how much each input moves a position, not only whether it can.

    x -> y at the middle of the last map -> |d y / d x|, summed over channels, mean over samples

Of n equal layers with k uniform taps the field has (k - 1) n + 1 inputs, and its weight is nearly a
Gaussian of standard deviation sqrt(n (k^2 - 1) / 12): it grows with the square root of the depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convarium.errors import OptionError, ShapeError
from convarium.graph import eager, trace, untouched, unwrapped
from convarium.measure.field import Field, field_of
from convarium.measure.following import follow_graph


@dataclass(frozen=True)
class EffectiveField:
    """How the weight of a field is spread.

    Attributes:
        layer: whose map it was measured at.
        position: which position of that map, along each axis.
        values: `(*S)` float64, mean |gradient| of each place of the input, summing to 1.
        centre: mean place along each axis, weighted by `values`.
        deviation: standard deviation along each axis, in inputs.
        area_50: places that hold half of the weight, the heaviest first.
        area_95: places that hold 95 % of it.
        theoretical: places of the theoretical field, cut off at the input's borders.
        n: samples that were averaged.
    """

    layer: str
    position: tuple[int, ...]
    values: Tensor
    centre: tuple[float, ...]
    deviation: tuple[float, ...]
    area_50: int
    area_95: int
    theoretical: int
    n: int

    def to_json(self) -> dict[str, Any]:
        """Everything but the map, for JSON."""
        return {key: value for key, value in vars(self).items() if key != "values"}

    def sentence(self) -> str:
        """The result in words."""
        share = self.area_95 / max(self.theoretical, 1)
        return (
            f"At {self.layer or 'the output'}, 95 % of the weight lies on {self.area_95:,} of the "
            f"{self.theoretical:,} places that the field has inside the input ({share:.0%}), "
            f"half of it on {self.area_50:,}."
        )


def effective_receptive_field(
    model: nn.Module, x: Tensor, *, layer: str | None = None, training: bool = False
) -> EffectiveField:
    """How much the inputs move the middle position of a map: the mean of |d y / d x|.

    The gradient is that of the sum over the position's channels; its absolute values are summed
    over the input's channels and averaged over samples.

    Args:
        model: any module with one input.
        x: `(B, C, *S)` real or random inputs; more samples give a smoother field.
        layer: dotted name of the layer whose map is asked; None takes the last map with places, as
            `receptive_field` finds it.
        training: whether the model is in training mode meanwhile.

    Raises:
        ShapeError: `x` does not fit.
        OptionError: the layer is unknown, its result has no places, or the input does not reach it.

    Example:
        >>> model = nn.Sequential(*[nn.Conv1d(1, 1, 3, padding=1, bias=False) for _ in range(4)])
        >>> _ = [nn.init.ones_(m.weight) for m in model]
        >>> field = effective_receptive_field(model, torch.zeros(1, 1, 21))
        >>> round(field.deviation[0] ** 2, 6)   # n (k^2 - 1) / 12
        2.666667

    References:
        Luo, Li, Urtasun, Zemel 2016, "Understanding the effective receptive field in deep
        convolutional neural networks", arXiv:1701.04128, section 2.
    """
    network = unwrapped(model)
    if x.ndim < 3 or not x.is_floating_point():
        raise ShapeError("x must be a floating-point tensor (B, C, *S).")
    if layer is not None and layer not in dict(network.named_modules()):
        raise OptionError(f"layer (={layer!r}) is no layer of this model.")
    name, field = _map(network, (1, *x.shape[1:]), layer, training)
    gradient, position = _gradient(network, x, name, training)
    values = gradient.double().abs().sum(1).mean(0).cpu()
    total = values.sum()
    if not total > 0:
        raise OptionError(
            f"No input moves {name or 'the output'} at {position}: every gradient is 0; give "
            "inputs or a network for which it is not."
        )
    values = values / total
    return _described(name, position, values, _inside(field, position, x.shape[2:]), len(x))


def _map(
    network: nn.Module, shape: tuple[int, ...], layer: str | None, training: bool
) -> tuple[str, Field]:
    """The last layer whose result is a map, or the one named, and the field of its last call."""
    graph = trace(network, shape, training=training)
    states = follow_graph(graph)
    for call in reversed(graph.calls):
        if layer not in (None, call.layer) or not call.results:
            continue
        value = call.results[0]
        state = states.get(value.number)
        dims = None if state is None else [r.dim for r in state.reaches if r.spread]
        unknown = layer is not None and state is not None and state.unknown
        if unknown or (len(value.shape) == len(shape) and dims == [*range(2, len(shape))]):
            return call.layer, field_of(call.layer, call.kind, value, states, shape[2:])
    told = "The model" if layer is None else f"layer (={layer!r})"
    raise OptionError(
        f"{told} has no map of the input's axes that the input reaches; name another."
    )


def _described(
    layer: str, position: tuple[int, ...], values: Tensor, theoretical: int, n: int
) -> EffectiveField:
    places = [torch.arange(k, dtype=torch.float64) for k in values.shape]
    sides = [_along(values, k) for k in range(values.ndim)]
    centre = [float((p * s).sum()) for p, s in zip(places, sides, strict=True)]
    spread = [
        float((((p - c) ** 2) * s).sum() ** 0.5)
        for p, s, c in zip(places, sides, centre, strict=True)
    ]
    heaviest = values.flatten().sort(descending=True).values.cumsum(0)
    half, most = (int((heaviest < share - 1e-12).sum()) + 1 for share in (0.5, 0.95))
    return EffectiveField(
        layer, position, values, tuple(centre), tuple(spread), half, most, theoretical, n
    )


def _along(values: Tensor, axis: int) -> Tensor:
    """The weight along one axis."""
    others = [k for k in range(values.ndim) if k != axis]
    return values.sum(others) if others else values


def _gradient(
    network: nn.Module, x: Tensor, name: str, training: bool
) -> tuple[Tensor, tuple[int, ...]]:
    """The gradient of the middle position of a layer's result, and that position."""
    kept: list[Tensor] = []

    def keep(module: nn.Module, given: Any, result: Any) -> None:
        map_ = result[0] if isinstance(result, list | tuple) else result
        kept.append(map_.clone() if isinstance(map_, Tensor) else map_)  # before it is overwritten

    with untouched(network), torch.inference_mode(False), torch.enable_grad(), eager(network):
        network.train(training)
        network.requires_grad_(False)
        network.get_submodule(name).register_forward_hook(keep)
        inputs = x.detach().clone().requires_grad_()
        output = network(inputs)
        y = kept[-1] if kept else output
        if not isinstance(y, Tensor) or y.ndim != x.ndim or not y.requires_grad:
            raise OptionError(
                f"layer (={name!r}) has no map of the input's axes that the input reaches; name "
                "another one."
            )
        position = tuple(n // 2 for n in y.shape[2:])
        chosen = y.sum((0, 1))[position]
        (gradient,) = torch.autograd.grad(chosen, inputs)
    return gradient, position


def _inside(field: Field, position: tuple[int, ...], sizes: torch.Size) -> int:
    """Places of the theoretical field of a position that are inside the input."""
    if not field.size:
        return 0  # nothing is known
    count = 1
    axes = zip(field.start, field.stride, field.size, position, sizes, strict=True)
    for start, stride, size, i, n in axes:
        first = int(start + stride * i)
        count *= max(min(first + size, n) - max(first, 0), 0)
    return count
