"""What torch's kernels take beside arguments and results, where it is as large as these.

That is so on processors; other devices have work space of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from convarium.graph import Operation
from convarium.measure.memory import convolutions
from convarium.measure.memory.keeps import Need, bytes_of, results_of, total_of
from convarium.measure.memory.ledger import Line

_BLOCK: Final = 16  # channels
_SCRATCH: Final = 4.3  # of an LSTM, numbers for each state
_GATES, _STATES = 9.3, 6.1  # the same for what is kept, beside the states and of the widest input


def room_forward(operation: Operation, turned: Collection[int]) -> list[Line]:
    """Bytes beside the results while the operation runs; not all of them at once.

    Args:
        operation: of the forward pass.
        turned: the values whose dimensions were exchanged.
    """
    if operation.name == "lstm":
        return [(0, _lstm_room(operation)[1])]
    if operation.name == "convolution":
        return convolutions.room_forward(operation, turned)
    return [(0, 0)]


def room_backward(
    operation: Operation, wanted: Collection[int], last: bool, turned: Collection[int]
) -> list[Line]:
    """Bytes beside the gradients while these are worked out; not all of them at once.

    Args:
        operation: of the forward pass.
        wanted: places of the arguments that have gradients.
        last: whether a gradient that comes in has its dimensions exchanged.
        turned: the values whose dimensions were exchanged.
    """
    if operation.name == "lstm":
        return [_lstm_room(operation)]
    if operation.name == "native_batch_norm":
        return [(0, bytes_of(operation.arguments["input"]))]
    if operation.name == "convolution":
        return convolutions.room_backward(operation, wanted, last, turned)
    return [(0, 0)]


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
