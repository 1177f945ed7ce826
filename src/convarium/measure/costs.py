"""What a network costs: parameters, multiply-adds and memory, counted from executed operations.

    module, shape -> graph of operations -> a row a layer, and the sums

A multiply-add (MAC) is one product that is added to a sum; convolutions and matrix products have
them. FLOPs are twice the MACs, as most papers count them. Nothing is computed: the network may be
on torch's meta device. Memory is what the tensors take; a runtime's own buffers come on top.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from torch import nn

from convarium.errors import ConvariumError, OptionError
from convarium.graph import Graph, Operation, trace, unwrapped
from convarium.graph.collecting import uncollected
from convarium.measure.arguments import Sizes, shapes, whole
from convarium.measure.cost_rows import made, rows
from convarium.measure.memory.ledger import SAMPLES, Line, Lines
from convarium.measure.memory.peaks import peaks
from convarium.measure.memory.training_mode import training_graph
from convarium.measure.rules.moves import result_of


@dataclass(frozen=True)
class LayerCost:
    """What one call of a layer costs.

    Attributes:
        layer: dotted name; a function that was called by name is told by its operation.
        kind: class of the layer, or the operation.
        shape: of its result, batch included; () for a layer that is never called.
        parameters: that no earlier row has counted.
        macs: multiply-adds.
        activation_bytes: of the tensors that it made of the input.
    """

    layer: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    macs: int
    activation_bytes: int


@dataclass(frozen=True)
class Cost:
    """What a network costs for an input of one shape.

    Attributes:
        input_shape: batch included; of several inputs, a shape each.
        parameters: numbers in the unique trainable tensors; tied ones count once.
        parameter_bytes: of all parameters and buffers.
        trained_bytes: of the trainable parameters, and so of their gradients.
        macs: multiply-adds of one forward pass over the whole batch.
        constant_macs: those of them that a larger batch has no more of: products of weights.
        activation_bytes: of every tensor that the forward pass makes of the input.
        forward_bytes: the most that lies in memory at once without gradients: weights, input and
            what is still needed.
        training_bytes: the same for a step with gradients: weights, their gradients, what the
            backward pass keeps and makes, and a loss as large as a cross-entropy. An optimiser's
            state comes on top.
        forward_lines: candidates for `forward_bytes` beside the parameters and buffers: bytes that
            stay, and bytes of the batch; for 1, for 2 to 15, and for 16 or more samples, which go
            to other kernels.
        training_lines: the same for `training_bytes`.
        rows: a row a call of a layer, in the order of execution, then layers never called.
    """

    input_shape: tuple[int, ...] | tuple[tuple[int, ...], ...]
    parameters: int
    parameter_bytes: int
    trained_bytes: int
    macs: int
    constant_macs: int
    activation_bytes: int
    forward_bytes: int
    training_bytes: int
    forward_lines: Lines
    training_lines: Lines
    rows: tuple[LayerCost, ...]

    @property
    def flops(self) -> int:
        """Twice the multiply-adds."""
        return 2 * self.macs

    def at_batch(self, batch: int) -> dict[str, int]:
        """MACs, FLOPs and bytes for another number of samples, without another trace.

        The batch is the first size of the first input. Everything that depends on the input grows
        with it; weights, gradients and what is worked out of weights do not.

        Raises:
            OptionError: the number is no whole number of 1 or more.

        Example:
            >>> one = cost(nn.Conv2d(3, 8, 3), (1, 3, 8, 8))
            >>> one.at_batch(10)["macs"] == 10 * one.macs
            True
        """
        share = Fraction(whole(1, batch=batch), self._batch)
        macs = self.constant_macs + math.ceil((self.macs - self.constant_macs) * share)
        return {
            "macs": macs,
            "flops": 2 * macs,
            "activation_bytes": math.ceil(self.activation_bytes * share),
            "forward_bytes": self.parameter_bytes + _most(self.forward_lines, batch, share),
            "training_bytes": self.parameter_bytes + _most(self.training_lines, batch, share),
        }

    def largest_batch(self, memory: int, *, training: bool = True, optimizer: int = 1) -> int:
        """How many samples fit into `memory` bytes; 0 if none does.

        Args:
            memory: bytes that the network may take.
            training: a step with gradients, else a forward pass without.
            optimizer: numbers that the optimiser keeps for each parameter: 1 for momentum, 2 for
                Adam, 0 for none; in training only.

        Raises:
            OptionError: `memory` or `optimizer` is no whole number of 0 or more.
        """
        state = whole(0, optimizer=optimizer) * self.trained_bytes
        free = whole(0, memory=memory) - self.parameter_bytes - (state if training else 0)
        found = self.training_lines if training else self.forward_lines
        ends = (*(start - 1 for start in SAMPLES[1:]), math.inf)
        for lines, start, end in reversed([*zip(found, SAMPLES, ends, strict=True)]):
            most = _fits(lines, free, self._batch)
            if most >= start:
                return int(min(most, end))
        return 0

    def to_json(self) -> dict[str, Any]:
        """Values for JSON."""
        return {**asdict(self), "flops": self.flops}

    @property
    def _batch(self) -> int:
        first = self.input_shape[0]
        return first if isinstance(first, int) else first[0]


def cost(model: nn.Module, input_shape: Sequence[int] | Sequence[Sequence[int]]) -> Cost:
    """Parameters, multiply-adds and memory of any module, from what it executes.

    The model is traced as it predicts. Where a layer that works otherwise in training, such as a
    dropout, takes more than 1 % of the activations, it is traced in training mode too, for
    `training_bytes`.

    Args:
        model: any module; on the meta device it takes no memory.
        input_shape: the whole shape, batch included, or that of each of several inputs.

    Raises:
        ShapeError: the model does not take this shape.
        OptionError: what it does depends on the values of its input.

    Example:
        >>> from convarium.models import create
        >>> found = cost(create("resnet18"), (1, 3, 224, 224))
        >>> found.parameters, round(found.macs / 1e9, 3)
        (11689512, 1.814)

    References:
        Sovrasov et al.'s and torch's counters count the same; here functions and tied weights are
        counted too, and each operation once. Products of a matrix or vector with a vector (`mv`,
        `dot`), which torch's counter leaves out, are counted.
    """
    network, given = unwrapped(model), shapes(input_shape)
    with uncollected():
        return _counted(network, given)


def _counted(network: nn.Module, given: Sequence[Sizes]) -> Cost:
    """What `cost` gives."""
    graph = trace(network, given)
    parameters = [*network.parameters()]
    trainable = [p for p in parameters if p.requires_grad]
    weights = sum(t.nbytes for t in [*parameters, *network.buffers()])
    forward, training = peaks(graph, training_graph(network, graph), network)
    batch = graph.inputs[0].shape[0]
    counts = [macs(operation) for operation in graph.operations]
    return Cost(
        input_shape=tuple(given) if len(given) > 1 else given[0],
        parameters=sum(p.numel() for p in trainable),
        parameter_bytes=weights,
        trained_bytes=sum(p.nbytes for p in trainable),
        macs=sum(counts),
        constant_macs=_constant_macs(network, graph, sum(counts)),
        activation_bytes=sum(value.bytes for value in made(graph)),
        forward_bytes=weights + _most(forward, batch),
        training_bytes=weights + _most(training, batch),
        forward_lines=forward,
        training_lines=training,
        rows=tuple(LayerCost(*row) for row in rows(network, graph, counts)),
    )


def output_shape(
    model: nn.Module, input_shape: Sequence[int] | Sequence[Sequence[int]]
) -> tuple[int, ...]:
    """The shape of what a module gives for an input of a shape, without computing it.

    floor((n + 2p - d(k - 1) - 1) / s) + 1 along each axis, for a convolution with kernel k, stride
    s, padding p and dilation d.

    Args:
        model: any module, which returns one tensor, or several: then the first counts.
        input_shape: the whole shape, batch included, or that of each of several inputs.

    Raises:
        ShapeError: the model does not take this shape.
        OptionError: its output does not depend on its input.

    Example:
        >>> output_shape(nn.Conv1d(3, 8, kernel_size=5, stride=2, padding=1), (4, 3, 100))
        (4, 8, 49)
    """
    outputs = trace(unwrapped(model), shapes(input_shape)).outputs
    if not outputs:
        raise OptionError("The model returns no tensor that depends on its input.")
    return outputs[0].shape


def macs(operation: Operation) -> int:
    """Multiply-adds of one operation; 0 for what has none."""
    count = _COUNTS.get(operation.name)
    return 0 if count is None else int(count(operation))


def _most(found: Lines, batch: int, share: Fraction = Fraction(1)) -> int:
    """The largest sum for a number of samples, which is a share of those of the trace."""
    lines = found[max(bisect.bisect(SAMPLES, batch) - 1, 0)]
    return math.ceil(max(stays + grows * share for stays, grows in lines))


def _fits(lines: Sequence[Line], free: int, batch: int) -> int:
    """How many samples fit into some bytes; 0 if nothing grows with them."""
    fits = [Fraction(free - stays, grows) for stays, grows in lines if grows]
    if any(stays > free for stays, _ in lines) or not fits:
        return 0
    return math.floor(min(fits) * batch)


def _constant_macs(network: nn.Module, graph: Graph, total: int) -> int:
    """Multiply-adds that do not grow with the batch.

    Whether products of constants do is not seen in one graph: a first state of zeros has a row a
    sample, a sum of weights has not. A graph of twice the batch tells.
    """
    if all(operation.values for operation in graph.operations):
        return 0
    batch = graph.inputs[0].shape[0]
    first = [2 * n if n == batch else n for n, *_ in (value.shape for value in graph.inputs)]
    doubled = [(n, *v.shape[1:]) for n, v in zip(first, graph.inputs, strict=True)]
    try:
        return max(2 * total - sum(map(macs, trace(network, doubled).operations)), 0)
    except ConvariumError:
        return 0


def _convolution(operation: Operation) -> Any:
    given, result = operation.arguments, result_of(operation)
    weight = given["weight"].shape
    if given["transposed"]:  # each input is spread over a kernel
        return math.prod(given["input"].shape) * math.prod(weight[1:])
    return math.prod(result.shape) * math.prod(weight[1:])


def _product(operation: Operation) -> Any:
    given, result = operation.arguments, result_of(operation)
    left = next(given[key] for key in ("mat1", "mat", "batch1", "self") if key in given)
    sums = left.shape[0] if operation.name.startswith("addbmm") else 1
    return math.prod(result.shape) * left.shape[-1] * sums


def _attention(operation: Operation) -> Any:
    given = operation.arguments
    query, key, value = (given[name].shape for name in ("query", "key", "value"))
    pairs = math.prod(query[:-1]) * key[-2]
    return pairs * (query[-1] + value[-1])


_SUMS = ("addmm", "addmv", "addbmm", "baddbmm")
_COUNTS = {
    "convolution": _convolution,
    "_convolution": _convolution,
    **dict.fromkeys(("mm", "bmm", "mv", "dot"), _product),
    **dict.fromkeys((f"{name}{end}" for name in _SUMS for end in ("", "_")), _product),
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
}
