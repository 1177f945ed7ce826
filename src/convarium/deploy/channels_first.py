"""Layers on the last axis of a map, in models of OpenVINO's, as what they are: 1x1 convolutions.

    moved to the end -> norm -> linear -> gelu -> linear -> moved back
    norm over channels -> 1x1 convolution -> gelu -> 1x1 convolution

Networks such as ConvNeXt move the channels to the end and back for the sake of their linear layers.
In 8 bits that costs more than the layers gain.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from convarium.deploy.artefact import runtime_package

_LEAST: Final = 3  # axes of a map: batch, channels, positions

Key = tuple[str, int]


def channels_first(model: Any) -> Any:
    """Compute with the channels first what stands between two moves of them, in place.

    Args:
        model: of OpenVINO's; what cannot be computed so, or is also used elsewhere, stays as it is.
    """
    operations = model.get_ordered_ops()
    first: dict[Key, Any] = {}  # values that have channels last -> the same with channels first
    made: dict[str, Any] = {}  # operations that were made anew, by name
    back = []
    for operation in operations:
        kind, inputs = operation.get_type_name(), operation.input_values()
        known = any(_key(each) in first for each in inputs)
        if kind == "Transpose" and known and _is_back(inputs):
            back.append(operation)
        elif kind == "Transpose" and _is_away(inputs):
            first[_key(operation.output(0))] = inputs[0]
        elif known and kind in _MAKERS:
            new = _MAKERS[kind](operation, [first.get(_key(each), each) for each in inputs])
            if new is not None:
                first[_key(operation.output(0))], made[operation.get_name()] = new, operation
    _leave_shared(operations, made, {each.get_name() for each in back})
    for operation in back:
        before = operation.input_value(0)
        node = before.get_node()
        if node.get_name() in made:
            operation.output(0).replace(first[_key(before)])
        elif node.get_type_name() == "Transpose":  # there and back
            operation.output(0).replace(node.input_value(0))
    model.validate_nodes_and_infer_types()
    return model


def _is_away(inputs: list[Any]) -> bool:
    """Whether channels go to the end of a map."""
    order = _constant(inputs[1])
    if order is None or len(order) < _LEAST or not inputs[0].get_partial_shape().rank.is_static:
        return False
    return bool(order.tolist() == [0, *range(2, len(order)), 1])


def _is_back(inputs: list[Any]) -> bool:
    """Whether channels come back from the end."""
    order = _constant(inputs[1])
    if order is None or len(order) < _LEAST:
        return False
    return bool(order.tolist() == [0, len(order) - 1, *range(1, len(order) - 1)])


def _leave_shared(operations: list[Any], made: dict[str, Any], back: set[str]) -> None:
    """Take out what would be computed twice: read by others too, or made from such."""
    readers: dict[str, list[str]] = defaultdict(list)
    for operation in operations:
        for each in operation.input_values():
            readers[each.get_node().get_name()].append(operation.get_name())
    could, count = set(made), -1
    while count != len(made):
        count = len(made)
        for name, operation in reversed(list(made.items())):
            before = {each.get_node().get_name() for each in operation.input_values()}
            if not made.keys() | back >= set(readers[name]) or before & (could - made.keys()):
                del made[name]


def _norm(operation: Any, inputs: list[Any]) -> Any | None:
    rank, axes = _rank(inputs[0]), _constant(inputs[1])
    if axes is None or axes.reshape(-1).tolist() not in ([-1], [rank - 1]):
        return None
    told = operation.get_attributes()
    kept = (told["normalize_variance"], told["eps"], told["eps_mode"])
    return _opset().mvn(inputs[0], np.array([1]), *kept).output(0)


def _linear(operation: Any, inputs: list[Any]) -> Any | None:
    told, weight = operation.get_attributes(), _constant(inputs[1])
    if told["transpose_a"] or weight is None or weight.ndim != 2:
        return None
    weight = weight if told["transpose_b"] else weight.T
    axes = _rank(inputs[0]) - 2
    ones, zeros = [1] * axes, [0] * axes
    kernel = np.ascontiguousarray(weight.reshape(*weight.shape, *ones))
    return _opset().convolution(inputs[0], kernel, ones, zeros, zeros, ones).output(0)


def _pair(operation: Any, inputs: list[Any]) -> Any | None:
    """A sum or product with numbers of the channels, or of two maps that were both moved."""
    pairs = list(zip(operation.input_values(), inputs, strict=True))
    rank, *others = {_rank(each) for own, each in pairs if _key(own) != _key(each)}
    if others:
        return None
    given = []
    for own, each in pairs:
        values = _constant(each)
        if _key(own) != _key(each):
            given.append(each)
        elif values is None or values.ndim > rank:  # another map, which was not moved
            return None
        elif values.size == max(values.shape, default=1) == (values.shape or (1,))[-1]:
            given.append(_opset().constant(values.reshape(-1, *[1] * (rank - 2))).output(0))
        else:
            return None
    return getattr(_opset(), operation.get_type_name().lower())(*given).output(0)


def _alone(operation: Any, inputs: list[Any]) -> Any | None:
    """A function of each number by itself."""
    kind = operation.get_type_name().lower()
    return getattr(_opset(), kind)(*inputs, **operation.get_attributes()).output(0)


def _constant(value: Any) -> NDArray[Any] | None:
    """The numbers of a constant; None of anything else."""
    node = value.get_node()
    if node.get_type_name() != "Constant":
        return None
    found: NDArray[Any] = np.asarray(node.get_data())
    return found


def _rank(value: Any) -> int:
    return int(value.get_partial_shape().rank.get_length())


def _key(value: Any) -> Key:
    return value.get_node().get_name(), value.get_index()


def _opset() -> Any:
    return runtime_package("openvino").opset13


_MAKERS: Final[dict[str, Callable[[Any, list[Any]], Any | None]]] = {
    "MVN": _norm,
    "MatMul": _linear,
    "Add": _pair,
    "Multiply": _pair,
    **dict.fromkeys(("Gelu", "Swish", "Relu", "Sigmoid", "Tanh"), _alone),
}
