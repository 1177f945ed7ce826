"""What torch's kernels take beside arguments and results, where it is as large as these.

A convolution wider than one position works on copies of its maps, whose channels are filled up to
blocks, and of its weight; so oneDNN has it on processors. Other devices have work space of their
own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from torch import Tensor

from convarium.graph import Operation, Value
from convarium.measure.memory.keeps import Need, bytes_of, results_of, total_of
from convarium.measure.memory.ledger import Line

_BLOCK: Final = 16  # channels
_FEW: Final = 3  # channels of which no copy is made for the gradient of the weight
_COPIES: Final = 256  # of a depthwise weight
_SCRATCH: Final = 4.3  # of an LSTM, numbers for each state
_GATES, _STATES = 9.3, 6.1  # the same for what is kept, beside the states and of the widest input


def room_forward(operation: Operation, turned: Collection[int]) -> int:
    """Bytes of the batch while the operation runs; copies of one weight are small beside them all.

    Args:
        operation: of the forward pass.
        turned: the values whose dimensions were exchanged.
    """
    if operation.name == "lstm":
        return _lstm_room(operation)[1]
    if not _copies(operation):
        return 0
    x, _, result = _maps(operation)
    size, after = bytes_of(result), _blocked(result)
    if operation.arguments["transposed"]:
        return 2 * size if result.shape[1] < _BLOCK else size + after
    before = _blocked(x) if x.shape[1] >= _BLOCK else 0
    return max(before + after - size, after) + _loose(x, turned)


def room_backward(operation: Operation, last: bool, turned: Collection[int]) -> Line:
    """Bytes beside the gradients while these are worked out.

    Where gradients have their channels last, as a permutation before a norm leaves them, maps are
    not copied, but a depthwise convolution with a wide window adds up many copies of its weight.

    Args:
        operation: of the forward pass.
        last: whether a gradient that comes in has its channels last.
        turned: the values whose dimensions were exchanged.
    """
    if operation.name == "lstm":
        return _lstm_room(operation)
    if operation.name == "native_batch_norm":
        return 0, bytes_of(operation.arguments["input"])
    if not _copies(operation):
        return 0, 0
    x, weight, result = _maps(operation)
    if last:
        wide = weight.shape[1] == 1 and min(weight.shape[2:]) > 3
        return bytes_of(weight) * (_COPIES if wide else 1), 0
    small, large = (result, x) if operation.arguments["transposed"] else (x, result)
    before = _blocked(small, _BLOCK // 2) if small.shape[1] > _FEW else 0
    return bytes_of(weight), before + _blocked(large) + _loose(x, turned)


def lstm_need(operation: Operation, wanted: Sequence[bool]) -> Need:
    """Input, outputs and a work space of the gates and states of all steps, by layer and direction.

    How large that is was fitted to what oneDNN asks for.
    """
    x, (hidden, layers, directions) = operation.values[0], operation.arguments["sizes"]
    unit, beside = _unit(operation), 0.0
    for layer in range(layers):
        width = max(x.shape[-1] if layer == 0 else directions * hidden, hidden)
        share = _GATES + _STATES * -(-width // _BLOCK) * _BLOCK / hidden
        beside += directions * unit * (share + (layer > 0))
    gradients = tuple((place, None) for place, has in enumerate(wanted) if has)
    reached = tuple(range(len(results_of(operation))))
    return Need((0,), (0,), reached, gradients, beside / total_of(operation))


def _lstm_room(operation: Operation) -> Line:
    """For one layer: copies of its weights and scratch, and what the layer before gave."""
    (_, layers, directions), unit = operation.arguments["sizes"], _unit(operation)
    weights = sum(map(bytes_of, operation.arguments["weights"])) // (layers * directions)
    return weights, round((_SCRATCH + directions * (layers > 1)) * unit)


def _unit(operation: Operation) -> float:
    """Bytes of the states of one layer in one direction at all steps."""
    result = operation.results[0]
    return 0.0 if result is None else result.bytes / operation.arguments["sizes"][2]


def _copies(operation: Operation) -> bool:
    """Whether it is a convolution that is no product of matrices."""
    if operation.name != "convolution":
        return False
    given = operation.arguments
    return bool(max(given["weight"].shape[2:]) > 1 or max(given["stride"]) > 1)


def _loose(x: Value | Tensor, turned: Collection[int]) -> int:
    """Bytes of a series in order; maps with channels last need none."""
    moved = len(x.shape) == 3 and isinstance(x, Value) and x.number in turned
    return moved * bytes_of(x)


def _maps(operation: Operation) -> tuple[Value | Tensor, Value | Tensor, Value]:
    given = operation.arguments
    return given["input"], given["weight"], results_of(operation)[0]


def _blocked(x: Value | Tensor, block: int = _BLOCK) -> int:
    channels = x.shape[1]
    return bytes_of(x) // channels * -(-channels // block) * block
