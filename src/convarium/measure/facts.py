"""The facts of a network that the list of networks keeps: multiply-adds and field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from convarium.measure.costs import macs
from convarium.measure.field import field_and_graph


def facts(model: nn.Module, input_shape: Sequence[int]) -> dict[str, Any]:
    """Multiply-adds and receptive field of a module, as plain values for JSON.

    Nothing is computed; on the meta device the module takes no memory.

    Args:
        model: any module with one input whose dimensions after the second are places.
        input_shape: the whole shape, `(B, C, *S)` or, of ids, `(B, T)`.

    Returns:
        `macs` of the whole batch; `field`, `field_stride` and `field_with_gates` of the last map, a
        list with an entry an axis each, empty where the field cannot be followed.

    Raises:
        ShapeError: the model does not take this shape.
        OptionError: what it does depends on the values of its input.

    Example:
        >>> facts(nn.Sequential(nn.Conv1d(1, 4, 3), nn.AvgPool1d(2)), (1, 1, 10))
        {'macs': 96, 'field': [4], 'field_stride': [2], 'field_with_gates': [4]}
    """
    found, graph = field_and_graph(model, input_shape)
    return {
        "macs": sum(map(macs, graph.operations)),
        "field": list(found.size),
        "field_stride": list(found.stride),
        "field_with_gates": list(found.size_with_gates),
    }
