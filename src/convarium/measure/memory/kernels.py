"""What torch's kernels take beside arguments and results, where it is as large as these.

That is so on processors; other devices have work space of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from convarium.graph import Operation
from convarium.measure.memory import convolutions
from convarium.measure.memory.keeps import Need, bytes_of, results_of, total_of
from convarium.measure.memory.layouts import COPIES, Steps, channels_last, in_order
from convarium.measure.memory.ledger import NO_ROOM, SAMPLES, Line, Rooms, always

_BLOCK: Final = 16  # channels
_SCRATCH: Final = 4.3  # of an LSTM, numbers for each state
_TAPS: Final = {  # of an interpolation along each axis
    **dict.fromkeys(("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"), 1),
    **dict.fromkeys(("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d"), 2),
    "_upsample_nearest_exact2d": 1,
    "upsample_bicubic2d": 4,
}
_TAP: Final = 12  # bytes of a place and a share
_PLANE: Final = 4  # dimensions
_SMALL: Final = 128  # height and width together
_COLOURS: Final = 3
_GATES, _STATES = 9.3, 6.1  # the same for what is kept, beside the states and of the widest input


def room_forward(operation: Operation, batch: int) -> Rooms:
    """Bytes beside the results while the operation runs; not all of them at once.

    Args:
        operation: of the forward pass.
        batch: samples that the network is given.
    """
    if operation.name == "lstm":
        return always((0, _lstm_room(operation)[1]))
    if operation.name == "convolution":
        return convolutions.room_forward(operation, batch)
    taps = _TAPS.get(operation.name)
    return NO_ROOM if taps is None else always(_interpolated(operation, taps))


def room_backward(operation: Operation, wanted: Collection[int], steps: Steps, batch: int) -> Rooms:
    """Bytes beside the gradients while these are worked out; not all of them at once.

    Args:
        operation: of the forward pass.
        wanted: places of the arguments that have gradients.
        steps: of a gradient that comes in.
        batch: samples that the network is given.
    """
    if operation.name == "lstm":
        return always(_lstm_room(operation))
    if operation.name == "convolution":
        return convolutions.room_backward(operation, wanted, steps, batch)
    norm = operation.name == "native_batch_norm"
    if not norm and operation.name not in COPIES:
        return NO_ROOM
    x, shape = operation.values[0], results_of(operation)[0].shape
    last = channels_last(x.shape, x.steps)
    alike = (in_order(shape, steps, last, samples == 1) for samples in SAMPLES)
    copied = x.bytes + sum(value.bytes for value in results_of(operation)[1:]) * (not norm)
    return tuple([(0, copied * (same == norm))] for same in alike)


def _interpolated(operation: Operation, taps: int) -> Line:
    """Small maps are copied to channels last and back; else places and shares take room."""
    x, result = operation.values[0], results_of(operation)[0]
    plane, linear = len(x.shape) == _PLANE, operation.name == "upsample_bilinear2d"
    small = sum(result.shape[2:]) <= _SMALL or (linear and x.shape[1] == _COLOURS)
    if plane and small and operation.name != "upsample_bicubic2d":
        ordered = in_order(x.shape, x.steps, last=True)
        return 0, 0 if ordered else x.bytes + result.bytes
    return _TAP * taps * sum(result.shape[2:]), 0


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
