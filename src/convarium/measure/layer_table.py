"""What a layer costs beside what it sees: the rows of a cost and of a field, joined.

rows of cost, rows of field -> the same layer, the same call -> a row a layer
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from convarium.errors import OptionError
from convarium.measure.costs import Cost, LayerCost
from convarium.measure.field import Field, ReceptiveField


@dataclass(frozen=True)
class LayerFacts:
    """One call of a layer, or of a function beside the layers.

    Attributes:
        layer: dotted name; a function is told by its operation after a colon.
        kind: class of the layer, or the operation.
        shape: of its result, batch included; () for a layer that is never called.
        parameters: that no earlier row has counted.
        macs: multiply-adds of the batch.
        activation_bytes: of the tensors that it made.
        size: inputs along each axis that a position sees, without gates; empty where it has no
            places any more, or where nothing is known.
        stride: inputs from one position to the next.
        status: of the field; empty for what only reshapes.
    """

    layer: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    macs: int
    activation_bytes: int
    size: tuple[int, ...]
    stride: tuple[int | float, ...]
    status: str

    def to_json(self) -> dict[str, Any]:
        """Values for JSON."""
        return asdict(self)


def layer_table(cost: Cost, field: ReceptiveField) -> tuple[LayerFacts, ...]:
    """Cost and field of each layer side by side, in the order of execution.

    A layer that computes by functions of its own has the field of the last of them.

    Args:
        cost: of a model and a shape.
        field: of the same model and shape.

    Raises:
        OptionError: the two are of inputs of different sizes.

    Example:
        >>> from torch import nn
        >>> from convarium.measure import cost, receptive_field
        >>> model = nn.Sequential(nn.Conv1d(1, 2, 3), nn.MaxPool1d(2))
        >>> rows = layer_table(cost(model, (1, 1, 8)), receptive_field(model, (1, 1, 8)))
        >>> [(row.layer, row.parameters, row.macs, row.size) for row in rows]
        [('0', 8, 36, (3,)), ('1', 0, 0, (4,))]
    """
    batch = cost.input_shape[0]
    if not isinstance(batch, int) or cost.input_shape[1:] != field.input_shape[1:]:
        raise OptionError(
            f"cost is of an input of shape {cost.input_shape} and field of one of "
            f"{field.input_shape}; measure both with the same shape."
        )
    fields, alone = _partners(cost.rows, field.rows)
    rows = [_joined(row, fields.get(place)) for place, row in enumerate(cost.rows)]
    for place, found in reversed(alone):  # from the end, so that the places before stay right
        shape = (batch * found.shape[0] // field.shape[0], *found.shape[1:])
        free = LayerCost(found.layer, found.kind, shape, 0, 0, 0)
        rows.insert(place, _joined(free, found))
    return tuple(rows)


def _partners(
    costs: Sequence[LayerCost], fields: Sequence[Field]
) -> tuple[dict[int, Field], list[tuple[int, Field]]]:
    """The field of each cost by its place, and the fields that have no cost, with their places."""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(costs):
        if row.shape:  # what is never called has no field
            places.setdefault(row.layer, []).append(place)
    names = [f.layer if f.layer in places else f.layer.partition(":")[0] for f in fields]
    found: dict[str, list[Field]] = {}
    for name, field in zip(names, fields, strict=True):
        found.setdefault(name, []).append(field)
    partner: dict[int, Field] = {}
    for name, calls in places.items():
        several = found.get(name, [])
        each, rest = divmod(len(several), len(calls))
        for k, place in enumerate(calls if several else ()):
            partner[place] = several[-1 if rest else (k + 1) * each - 1]
    place_of = {id(field): place for place, field in partner.items()}
    alone, after = [], 0
    for name, field in zip(names, fields, strict=True):
        if name in places:
            after = max(after, place_of.get(id(field), -1) + 1)
        else:
            alone.append((after, field))
    return partner, alone


def _joined(row: LayerCost, field: Field | None) -> LayerFacts:
    local = field is not None and field.status in ("exact", "bound")
    return LayerFacts(
        **vars(row),
        size=field.size if field and local else (),
        stride=field.stride if field and local else (),
        status=field.status if field else "",
    )
