"""The effective receptive field: how much each input moves a position, not only whether it can.

    x -> y at the middle of the last map -> |d y / d x|, summed over channels, mean over samples

Of token ids, whose vectors are looked up, the gradient is that with respect to these vectors.

Of n equal layers with k uniform taps the field has (k - 1) n + 1 inputs, and its weight is nearly a
Gaussian of standard deviation sqrt(n (k^2 - 1) / 12): it grows with the square root of the depth.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.graph import Call, Graph, trace
from convarium.graph.state import set_mode
from convarium.measure.arguments import batch
from convarium.measure.field import last_map, name_of
from convarium.measure.gradients import CUT_OFF
from convarium.measure.leaves import Call as Seen
from convarium.measure.leaves import looking, select, watch
from convarium.measure.rules.following import follow_sample
from convarium.measure.rules.reach import inside
from convarium.measure.rules.states import State
from convarium.measure.running import open_to_hooks
from convarium.measure.verdict import axes_of

_IDS = (torch.int64, torch.int32)


@dataclass(frozen=True)
class EffectiveField:
    """How the weight of a field is spread.

    Attributes:
        layer: whose map it was measured at, told as `receptive_field` tells it.
        position: which position of that map, along each axis.
        values: `(*S)` float64, mean |gradient| of each place of the input, summing to 1.
        centre: mean place along each axis, weighted by `values`.
        deviation: standard deviation along each axis, in inputs.
        area_50: places that hold half of the weight, the heaviest first.
        area_95: places that hold 95 % of it.
        theoretical: places of the theoretical field, cut off at the input's borders; 0 where that
            field is unknown.
        n: samples that were averaged.
        box: the theoretical field along each axis, cut off at the input's borders; of what goes
            around a circle all of that axis. Empty where that field is unknown.
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
    box: tuple[range, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Everything but the map, for JSON."""
        told = {key: value for key, value in vars(self).items() if key != "values"}
        return {**told, "box": [[side.start, side.stop] for side in self.box]}

    def sentence(self) -> str:
        """The result in words."""
        text = f"At {self.layer or 'the output'}, 95 % of the weight lies on {self.area_95:,} "
        if self.theoretical:
            text += f"of the {self.theoretical:,} places that the field has inside the input "
            text += f"({self.area_95 / self.theoretical:.0%})"
        else:
            text += "places of the input"
        return f"{text}, half of it on {self.area_50:,}."


def effective_receptive_field(
    model: nn.Module,
    x: Tensor,
    *,
    layer: str | None = None,
    position: Sequence[int] | None = None,
    training: bool = False,
) -> EffectiveField:
    """How much the inputs move a position of a map: the mean of |d y / d x|.

    The gradient is that of the sum over the position's channels; its absolute values are summed
    over the input's channels and averaged over samples.

    Args:
        model: any module with one input.
        x: `(B, C, *S)` real or random inputs, on any device and of any floating type, or token ids
            `(B, T)`; more samples give a smoother field.
        layer: dotted name of the layer whose map is asked; None takes the last map with places, as
            `receptive_field` finds it, or where no layer returns that one, the last that one does.
        position: a whole number for each axis of that map; None takes the middle.
        training: whether the model is in training mode meanwhile.

    Raises:
        ShapeError: `x` does not fit.
        OptionError: the layer is unknown, its result has no places, the input does not reach it,
            the position is outside of it, or the model has no memory.

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
    given: Any = x
    ids = isinstance(given, Tensor) and given.ndim == 2 and given.dtype in _IDS
    network, x = open_to_hooks(model), batch(x, 2 if ids else 3, floating=not ids)
    if layer is not None:
        select(network, [layer], "layer")
    found = _map(network, tuple(x.shape), (layer, position), training)
    gradient = _gradient(network, x, found, training)
    values = gradient.double().abs().sum(1).mean(0).cpu()
    total = values.sum()
    if not total > 0:
        raise OptionError(
            f"No input moves {found.name or 'the output'} at {found.position}: every gradient is "
            "0, as where no whole window fits or each ReLU is closed; ask about another position, "
            "or give other inputs."
        )
    return _described(found, values / total, len(x))


class _Map(NamedTuple):
    """Where to measure: a call of a layer, the name that is told, a position, and its field."""

    call: Call
    name: str
    position: tuple[int, ...]
    box: tuple[range, ...]


def _map(
    network: nn.Module,
    shape: tuple[int, ...],
    asked: tuple[str | None, Sequence[int] | None],
    training: bool,
) -> _Map:
    """The last map that a layer returns, or that of the last call of the one named."""
    layer, place = asked
    batch = trace(network, shape, training=training)
    graph, states = follow_sample(network, batch, training=training)
    for call in _calls(graph, states, layer):
        value = call.results[0]
        state = states.get(value.number)
        dims = None if state is None else [r.dim for r in state.reaches if r.spread]
        unknown = layer is not None and state is not None and bool(state.unknown)
        rank = len(axes_of(shape)) + 2
        if unknown or (len(value.shape) == rank and dims == [*range(2, rank)]):
            name = name_of(graph, states, value)[0] if layer is None else layer
            position = _position(place, value.shape[2:])
            return _Map(call, name, position, _box(state, position, value.shape))
    if layer is None:
        raise OptionError(
            "The model's layers return no map of the input's axes that the input reaches; give a "
            "part that has one, and for an exported program the module that it was made from."
        )
    raise OptionError(
        f"layer (={layer!r}) has no map of the input's axes that the input reaches; name another."
    )


def _position(place: Sequence[int] | None, size: Sequence[int]) -> tuple[int, ...]:
    """Where on a map is asked: its middle, or the position named."""
    if place is None:
        return tuple(n // 2 for n in size)
    whole = [type(i) is int for i in place]
    inside = len(place) == len(size) and all(0 <= i < n for i, n in zip(place, size, strict=True))
    if not all(whole) or not inside:
        words = " x ".join(map(str, size))
        raise OptionError(
            f"position (={tuple(place)}) must be a whole number for each axis of a map of {words}, "
            "counted from 0."
        )
    return tuple(place)


def _calls(graph: Graph, states: dict[int, State], layer: str | None) -> Iterator[Call]:
    """Those that may be meant, the likeliest first; of those with one result, the innermost."""
    calls = [call for call in reversed(graph.calls) if call.results]
    if layer is not None:
        yield from (call for call in calls if call.layer == layer)
        return
    made = {call.results[0].number: call for call in calls}
    for number in (last_map(graph, states).number, *made):
        if number in made:
            yield made[number]


def _box(
    state: State | None, position: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[range, ...]:
    """The inputs that a position of a map of a shape can depend on, along each axis."""
    if state is None or state.unknown:
        return ()
    found = []
    for reach, seen, i in zip(state.reaches, state.seen, position, strict=True):
        first, last = (int(ends[i]) for ends in inside(reach, seen, shape))
        found.append(range(first, last + 1) if first <= last else range(0))
    return tuple(found)


def _described(found: _Map, values: Tensor, n: int) -> EffectiveField:
    places = [torch.arange(k, dtype=torch.float64, device="cpu") for k in values.shape]
    sides = [_along(values, k) for k in range(values.ndim)]
    centre = [float((p * s).sum()) for p, s in zip(places, sides, strict=True)]
    spread = [
        float((((p - c) ** 2) * s).sum() ** 0.5)
        for p, s, c in zip(places, sides, centre, strict=True)
    ]
    heaviest = values.flatten().sort(descending=True).values.cumsum(0)
    half, most = (int((heaviest < share - 1e-12).sum()) + 1 for share in (0.5, 0.95))
    return EffectiveField(
        layer=found.name,
        position=found.position,
        values=values,
        centre=tuple(centre),
        deviation=tuple(spread),
        area_50=half,
        area_95=most,
        theoretical=math.prod(map(len, found.box)) if found.box else 0,
        n=n,
        box=found.box,
    )


def _along(values: Tensor, axis: int) -> Tensor:
    """The weight along one axis."""
    others = [k for k in range(values.ndim) if k != axis]
    return values.sum(others) if others else values


def _gradient(network: nn.Module, x: Tensor, found: _Map, training: bool) -> Tensor:
    """The gradient of one position of a layer's result."""
    kept: list[Tensor] = []
    layer = found.call.layer

    def keep(call: Seen, result: Any) -> None:
        map_ = result[0] if isinstance(result, list | tuple) else result
        if call.number == found.call.call + 1 and isinstance(map_, Tensor):
            kept.append(map_.clone())  # before it is overwritten

    with looking(network, x, gradients=True) as x:
        set_mode(network, training=training)
        network.requires_grad_(False)
        watch({layer: network.get_submodule(layer)}, keep)
        inputs = [x.clone().requires_grad_()] if x.is_floating_point() else _looked_up(network)
        network(inputs[0] if x.is_floating_point() else x)
        if not kept or kept[0].ndim != len(axes_of(x.shape)) + 2:
            raise OptionError(
                f"layer (={layer!r}) has no map of the input's axes that the input reaches; name "
                "another one."
            )
        if not inputs or not kept[0].requires_grad:
            raise OptionError(f"No gradient of {found.name or 'the output'} reaches x: {CUT_OFF}.")
        chosen = kept[0].sum((0, 1))[found.position]
        gradients = torch.autograd.grad(chosen, inputs)
    return gradients[0] if x.is_floating_point() else torch.stack(gradients).sum(0).transpose(1, 2)


def _looked_up(network: nn.Module) -> list[Tensor]:
    """The vectors (B, T, E) that a network looks up from here on, each with a gradient of its own.

    Whoever calls this undoes it with `untouched`.
    """
    found: list[Tensor] = []

    def lift(_: nn.Module, __: Any, vectors: Tensor) -> Tensor:
        found.append(vectors.detach().requires_grad_())
        return found[-1]

    for module in network.modules():
        if isinstance(module, nn.Embedding):
            module.register_forward_hook(lift)
    return found
