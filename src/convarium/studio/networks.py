"""The view *Networks*: the catalogue as rows, one network in full, two side by side.

catalogue, measure, report -> plain values for JSON
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from convarium.errors import OptionError
from convarium.models import catalogue, weights
from convarium.report import wording

if TYPE_CHECKING:
    from convarium.measure import Cost, ReceptiveField

LARGEST: Final = 2**28  # numbers in one input
_NONE: Mapping[str, Any] = MappingProxyType({})
_COMPARED: Final = {
    "parameters": "parameters",
    "macs": "multiply-adds",
    "layers": "layers with parameters",
    "parameter_bytes": "bytes of the weights",
    "forward_bytes": "bytes of a forward pass",
    "training_bytes": "bytes of a training step, without its optimiser",
    "field": "field of the last map",
    "stride": "inputs from one position to the next",
    "accuracy": "best published top-1, %",
}


def every() -> dict[str, Any]:
    """The whole catalogue, a row a network, small enough to be filtered where it is shown.

    Example:
        >>> row = next(row for row in every()["networks"] if row["name"] == "resnet50")
        >>> row["parameters"], row["field"], row["input"]
        (25557032, 427, '3x224x224')
    """
    rows = [_row(row) for row in catalogue.read()]
    return {"networks": rows, "families": list(dict.fromkeys(row["family"] for row in rows))}


def network(name: str, size: str = "", options: Mapping[str, Any] = _NONE) -> dict[str, Any]:
    """All about one network: facts, a drawing by its parts, and a row a layer.

    Args:
        name: of the catalogue.
        size: of one sample, `3x224x224` or `224`; nothing is the network's own.
        options: keywords that differ from the row's, as `create` takes them.

    Raises:
        UnknownModelError: no network has this name.
        OptionError: an option or the size is not allowed.
        ShapeError: the network does not take inputs of this size.
    """
    from convarium import measure, report
    from convarium.models.structure import Part

    stored, given = catalogue.find(name), read_size(size)
    row = stored
    if options or given is not None:
        _check(given, {**stored, **options})
        row = catalogue.describe(name, options, shape=given)
    shape = (1, *row["parts"][0]["shape"])
    model = catalogue.without_memory(name, options)
    cost, field = measure.cost(model, shape), measure.receptive_field(model, shape)
    kept = ("name", "family", "class", "summary", "references", "source", "year", "heatmap_layer")
    return {
        **{key: row[key] for key in kept},
        "input": wording_of(shape[1:]),
        "outputs": wording_of(row["parts"][-1]["shape"]),
        "facts": _facts(name, options, cost, field),
        "sentence": field.sentence(),
        "drawing": report.draw_network([Part.from_row(part) for part in row["parts"]], name),
        "growth": report.draw_field_growth(field, name) if field.size else "",
        "layers": _layers(cost, field),
        "initial": row["initial"],
        "options": _options(row, stored),
        "weights": [] if options else [dataclasses.asdict(each) for each in weights.rows(name)],
    }


def side_by_side(
    one: str, other: str, sizes: Sequence[str] = ("", ""), options: Sequence[Any] = (_NONE, _NONE)
) -> dict[str, Any]:
    """Two networks, and their facts in rows with the second as a multiple of the first.

    Args:
        one: a name of the catalogue.
        other: another, or the same with another size or other options.
        sizes: of one sample of each, as `network` takes them.
        options: of each.

    Raises:
        UnknownModelError: no network has one of the names.
        OptionError: an option or a size is not allowed, or there are not two of them.
        ShapeError: a network does not take inputs of its size.
    """
    if len(sizes) != 2 or len(options) != 2:
        raise OptionError("sizes and options must be two each, one for each network.")
    told = [network(*each) for each in zip((one, other), sizes, options, strict=True)]
    rows = [
        {"name": words, "values": (pair := [each["facts"][key] for each in told])}
        | {"ratio": _ratio(*pair)}
        for key, words in _COMPARED.items()
    ]
    return {"networks": told, "rows": rows}


def get_warm() -> None:
    """Look at one small network, since torch loads much when shapes are first asked for."""
    network("convnet", "16")


def read_size(text: str) -> tuple[int, ...] | int | None:
    """`3x224x224` as a tuple, `224` as a number, and nothing as None.

    Raises:
        OptionError: it is none of these, or no input of this size is looked at.

    >>> read_size("3x32x32"), read_size(" 32 "), read_size("")
    ((3, 32, 32), 32, None)
    """
    text = text.strip().lower()
    if not text:
        return None
    if not re.fullmatch(r"[1-9]\d{0,9}(x[1-9]\d{0,9})*", text):
        raise OptionError(f"size (={text[:40]!r}) must look like 3x224x224 or 224.")
    lengths = tuple(map(int, text.split("x")))
    return lengths if len(lengths) > 1 else lengths[0]


def wording_of(shape: Sequence[int]) -> str:
    """A shape as it is read and written: `wording_of((3, 224, 224))` is 3x224x224."""
    return "x".join(map(str, shape))


def _check(given: tuple[int, ...] | int | None, row: Mapping[str, Any]) -> None:
    """Refuse an input of more numbers than a page can wait for."""
    channels, rank = row["in_channels"], row["spatial_dims"]
    whole = isinstance(channels, int) and isinstance(rank, int) and 0 < rank <= 3
    numbers = prod(given) if isinstance(given, tuple) else (given or 1) ** (rank if whole else 1)
    if numbers * (1 if isinstance(given, tuple) or not whole else channels) > LARGEST:
        raise OptionError(f"size must hold at most {LARGEST:,} numbers; give a smaller one.")


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """One line of the table."""
    kept = ("name", "family", "year", "summary", "parameters", "macs", "spatial_dims", "input_kind")
    published = weights.rows(row["name"])
    return {
        **{key: row[key] for key in kept},
        "field": min(row["field"], default=None),
        "stride": max(row["field_stride"], default=None),
        "input": wording_of(row["parts"][0]["shape"]),
        "accuracy": max((each.accuracy for each in published if each.accuracy), default=None),
        "weights": len(published),
    }


def _facts(
    name: str, options: Mapping[str, Any], cost: Cost, field: ReceptiveField
) -> dict[str, Any]:
    """Numbers that two networks are compared by; None is what is not known."""
    published = [] if options else weights.rows(name)
    return {
        "parameters": cost.parameters,
        "macs": cost.macs,
        "layers": sum(bool(row.parameters) for row in cost.rows),
        "parameter_bytes": cost.parameter_bytes,
        "forward_bytes": cost.forward_bytes,
        "training_bytes": cost.training_bytes,
        "field": min(field.size, default=None),
        "stride": max(field.stride, default=None),
        "accuracy": max((each.accuracy for each in published if each.accuracy), default=None),
    }


def _layers(cost: Cost, field: ReceptiveField) -> list[dict[str, Any]]:
    """A row a layer: shape without the batch, parameters, multiply-adds, memory, field."""
    from convarium.measure.layer_table import layer_table

    return [
        {**row.to_json(), "shape": wording_of(row.shape[1:]), "part": row.layer.partition(".")[0]}
        | {"size": wording.axes(row.size) if row.size else ""}
        | {"stride": wording.axes(row.stride) if row.stride else ""}
        for row in layer_table(cost, field)
    ]


def _options(row: Mapping[str, Any], stored: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every option with its value, what else it may be, and the value of the catalogue's row."""
    return [
        {"name": name, "value": value, "choices": row["choices"].get(name, [])}
        | {"own": stored["options"].get(name)}
        for name, value in row["options"].items()
    ]


def _ratio(one: float | None, other: float | None) -> float | None:
    """The second as a multiple of the first, where both are known and the first is not 0."""
    return other / one if one and other is not None else None
