"""Equivariance: does a layer's map move as its input moves?

x, T x -> the network, once, both in one batch -> at each layer f(x) and f(T x) -> f(T x) - T' f(x)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.graph import trace
from convarium.measure.arguments import batch, one_of
from convarium.measure.leaves import Call, looking, select, watch
from convarium.measure.places import NoCounterpartError, Places, places
from convarium.measure.rules.following import follow_graph
from convarium.measure.rules.states import State
from convarium.measure.rules.writes import without_writes
from convarium.measure.running import open_to_hooks
from convarium.measure.symmetries import Symmetry, Transform, least_shift, named

Border = Literal["all", "interior"]

_Traced = dict[tuple[str, int], tuple[State, tuple[int, ...]]]


@dataclass(frozen=True)
class LayerEquivariance:
    """How far one call of a layer is from moving as its input moves.

    Attributes:
        layer: dotted name; empty where the model itself is the layer.
        kind: name of its class.
        call: 1 for the layer's first call in the pass, 2 for its second ...
        shape: of its map for one sample, without the batch.
        steps: positions by which a shift of the input moves the map along each axis of the input;
            None for other transformations, and where there is no counterpart.
        positions: how many positions of the map were compared; 0 where none was.
        error: ||f(Tx) - T'f(x)|| / ||f(x)|| over these positions; None where there is no value.
        largest: largest absolute difference; None where there is no value.
        reason: why there is no value, else empty.
    """

    layer: str
    kind: str
    call: int
    shape: tuple[int, ...]
    steps: tuple[int, ...] | None
    positions: int
    error: float | None
    largest: float | None
    reason: str


@dataclass(frozen=True)
class Equivariance:
    """How far the layers of a network are from moving as its input moves.

    Attributes:
        transform: "shift", "flip" or "rotate".
        amount: positions along each axis; the axis that is mirrored; quarter turns.
        border: "all" or "interior".
        input_size: spatial size of the input.
        n: number of samples.
        rows: one for each call of a layer, in the order of execution.
    """

    transform: Transform
    amount: tuple[int, ...]
    border: Border
    input_size: tuple[int, ...]
    n: int
    rows: tuple[LayerEquivariance, ...]

    def to_json(self) -> dict[str, Any]:
        """The result as values for JSON."""
        return asdict(self)


def equivariance(
    model: nn.Module,
    x: Tensor,
    *,
    transform: Transform = "shift",
    amount: int | Sequence[int] | None = None,
    border: Border = "all",
    layers: Sequence[str] | None = None,
) -> Equivariance:
    """For each layer f, how far f(Tx) is from T'f(x), T' being T at the layer's resolution.

    ||f(T x) - T' f(x)|| / ||f(x)||

    A shift by t moves a map of stride j by t / j positions. It is exact (0 up to rounding) for
    convolutions and pools where t is a multiple of j: with circular padding everywhere, with zeros
    in the interior. A mirror image and a turn are exact for kernels that have the same symmetry.
    Where all positions were put together, as behind a global pool, T' changes nothing and the error
    is that of invariance.

    The model runs once, in eval mode, on a batch of x and T x together; each layer is compared when
    it has run, so no map is kept. Afterwards it is as before.

    Args:
        model: any module with one input of maps, whose forward does not depend on values.
        x: (B, C, *S), preprocessed as the model needs it.
        transform: "shift"; "flip", the mirror image along an axis; or "rotate", quarter turns in
            the plane of the last two axes, from the last but one towards the last.
        amount: of a shift, positions along each axis, or one number for all; None takes the least
            that is whole at every layer. Of a flip, the axis of S; None means the last. Of a
            rotation, quarter turns, 1 to 3; None means 1.
        border: "all" compares every position, and what a shift pushes out at one end comes in at
            the other; "interior" compares the positions that read nothing beyond the border and
            nothing of what came in.
        layers: dotted names, also of blocks; None means every module that holds no other, if its
            output has places or none at all.

    Shape:
        (B, C, *S), 1 to 3 spatial axes

    Raises:
        ShapeError: x is not such a batch, or a turn would change its shape.
        OptionError: an option is not allowed; no layer has a map; the forward cannot be followed.

    Example:
        >>> layer = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular")
        >>> result = equivariance(layer, torch.arange(6.0).reshape(1, 1, 6), amount=2)
        >>> result.rows[0].error < 1e-6, result.rows[0].steps
        (True, (2,))

    References:
        Cohen and Welling 2016, "Group equivariant convolutional networks", arXiv:1602.07576,
        section 2; Zhang 2019, arXiv:1904.11486, section 3.1 (shifts and strides).
    """
    network = open_to_hooks(model)
    size = tuple(batch(x, 3, 5).shape[2:])
    one_of(get_args(Border), border=border)
    modules = select(network, layers)
    traced = _followed(network, (1, *x.shape[1:]))
    known = _places(traced, modules, size)
    least = least_shift(known, size, closed=border == "all")
    chosen = named(transform, amount, size, least)
    meter = _Meter(len(x), chosen, border, size, traced, asked=layers is not None)
    with looking(network, x, gradients=False) as x:
        watch(modules, meter.see)
        x = x.clone()
        network(torch.cat([x, chosen(x, range(2, x.ndim))]))
    if not meter.rows:
        raise OptionError("The model has no layer with a map; name blocks of it in layers.")
    return Equivariance(transform, chosen.amount, border, size, len(x), tuple(meter.rows))


def _followed(network: nn.Module, shape: tuple[int, ...]) -> _Traced:
    """What each call's first result reads of the input, and its shape for one sample."""
    graph = without_writes(trace(network, shape))
    states = follow_graph(graph)
    return {
        (call.layer, call.call + 1): (states[value.number], value.shape)
        for call in graph.calls
        for value in call.results[:1]
        if value.number in states
    }


def _places(traced: _Traced, modules: Iterable[str], size: tuple[int, ...]) -> list[Places]:
    """Of the layers that are asked for, where they can be known."""
    found, wanted = [], set(modules)
    for (layer, _), (state, shape) in traced.items():
        try:
            if layer in wanted:
                found.append(places(state, shape, size))
        except NoCounterpartError:
            continue
    return found


class _Meter:
    """Compares each call's two halves, of x and of T x, as soon as they are there."""

    def __init__(
        self,
        n: int,
        symmetry: Symmetry,
        border: Border,
        size: tuple[int, ...],
        traced: _Traced,
        *,
        asked: bool,
    ) -> None:
        self.n, self.symmetry, self.border, self.size = n, symmetry, border, size
        self.traced, self.asked = traced, asked
        self.rows: list[LayerEquivariance] = []

    def see(self, call: Call, output: Any) -> None:
        """One row, unless it is a layer that nobody asked for and that has no map."""
        state, shape = self.traced.get((call.layer, call.number), (None, ()))
        if not self.asked and not self._is_map(output, state):
            return
        told = (call.layer, call.kind, call.number, tuple(shape[1:]))
        try:
            if state is None or not self._is_whole(output, shape):
                raise NoCounterpartError("its output is not one map for each sample")
            self.rows.append(LayerEquivariance(*told, *self._compare(output, state, shape)))
        except NoCounterpartError as reason:
            self.rows.append(LayerEquivariance(*told, None, 0, None, None, str(reason)))

    def _is_map(self, output: Any, state: State | None) -> bool:
        """Whether it has as many axes as the input, or no places at all."""
        if state is None or not isinstance(output, Tensor):
            return False
        return output.ndim == len(self.size) + 2 or all(each.whole for each in state.reaches)

    def _is_whole(self, output: Any, shape: tuple[int, ...]) -> bool:
        """Whether it holds what one sample gives, for each sample and its transformed twin."""
        expected = (2 * self.n * shape[0], *shape[1:])
        return isinstance(output, Tensor) and output.shape == expected

    def _compare(self, output: Tensor, state: State, shape: tuple[int, ...]) -> tuple[Any, ...]:
        """Steps, positions, relative error, largest difference and no reason."""
        where = places(state, shape, self.size)
        moved = self.symmetry.counterpart(where, closed=self.border == "all")
        before, after = output.detach().chunk(2)
        wide = torch.promote_types(output.dtype, torch.float32)
        expected, after = moved(before, where.dims).to(wide), after.to(wide)
        positions = math.prod(where.lengths)
        if self.border == "interior":
            mask = self._interior(where, moved, state).to(output.device)
            expected, after = (_at(mask, each, where.dims) for each in (expected, after))
            positions = int(mask.sum())
        difference = after - expected
        if not difference.isfinite().all():
            raise NoCounterpartError("it holds NaN or infinity")
        norm, distance = _norm(expected), _norm(difference)
        if norm == 0 and distance > 0:
            raise NoCounterpartError("f(x) is zero and f(Tx) is not")
        largest = float(difference.abs().max())
        return moved.steps, positions, distance / norm if norm else 0.0, largest, ""

    def _interior(self, where: Places, moved: Symmetry, state: State) -> Tensor:
        """Which positions of both maps depend on nothing but what both inputs show."""
        if any(gate is not None for gate in state.gates):
            raise NoCounterpartError("its gates or statistics read the border")
        none = (0,) * len(self.size)
        inside = where.inside(self.symmetry.steps or none, moved.steps or none)
        mask = torch.from_numpy(inside)
        if moved.steps is None:
            mask = mask & moved(mask, range(mask.ndim))
        if not mask.any():
            raise NoCounterpartError("the border reaches every position")
        return mask


def _at(mask: Tensor, y: Tensor, dims: Sequence[int | None]) -> Tensor:
    """The values of a map at some of its places."""
    given = [dim for dim in dims if dim is not None]
    return y.movedim(given, list(range(-len(given), 0)))[..., mask]


def _norm(y: Tensor) -> float:
    return float(torch.linalg.vector_norm(y, dtype=torch.float64))
