"""What a network costs: parameters, multiply-adds and memory, counted from executed operations.

    module, shape -> graph of operations -> a row a layer, and the sums

A multiply-add (MAC) is one product that is added to a sum; convolutions and matrix products have
them. FLOPs are twice the MACs, as most papers count them. Nothing is computed: the network may be
on torch's meta device. Memory is what the tensors take; a runtime's own buffers come on top.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from torch import nn

from convarium.errors import OptionError
from convarium.graph import Call, Graph, Operation, Value, trace, unwrapped
from convarium.measure.memory import forward_peak, training_peak
from convarium.measure.moves import result_of


@dataclass(frozen=True)
class LayerCost:
    """What one call of a layer costs.

    Attributes:
        layer: dotted name; a function that was called by name is told by its operation.
        kind: class of the layer, or the operation.
        shape: of its result, batch included.
        parameters: that no earlier row has counted.
        macs: multiply-adds.
        activation_bytes: of the tensors that it made.
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
        input_shape: batch included.
        parameters: numbers in the unique trainable tensors; tied ones count once.
        parameter_bytes: of all parameters and buffers.
        trained_bytes: of the trainable parameters, and so of their gradients.
        macs: multiply-adds of one forward pass over the whole batch.
        activation_bytes: of every tensor that the forward pass makes.
        forward_bytes: the most that lies in memory at once without gradients: weights, input and
            what is still needed.
        training_bytes: the same for a step with gradients: weights, their gradients, and what the
            backward pass needs. An optimiser's state comes on top.
        training_lines: candidates for `training_bytes`: fixed bytes, and bytes of the batch.
        rows: a row a call of a layer, in the order of execution.
    """

    input_shape: tuple[int, ...]
    parameters: int
    parameter_bytes: int
    trained_bytes: int
    macs: int
    activation_bytes: int
    forward_bytes: int
    training_bytes: int
    training_lines: tuple[tuple[int, int], ...]
    rows: tuple[LayerCost, ...]

    @property
    def flops(self) -> int:
        """Twice the multiply-adds."""
        return 2 * self.macs

    def at_batch(self, batch: int) -> dict[str, int]:
        """MACs, FLOPs and bytes for another number of samples, without another trace.

        Everything that depends on the input grows with the batch, weights and gradients do not.

        Raises:
            OptionError: the number is no whole number of 1 or more.

        Example:
            >>> one = cost(nn.Conv2d(3, 8, 3), (1, 3, 8, 8))
            >>> one.at_batch(10)["macs"] == 10 * one.macs
            True
        """
        if type(batch) is not int or batch < 1:
            raise OptionError(f"batch (={batch!r}) must be a whole number of 1 or more.")
        share = Fraction(batch, self.input_shape[0])
        weights = self.parameter_bytes
        macs = math.ceil(self.macs * share)
        return {
            "macs": macs,
            "flops": 2 * macs,
            "activation_bytes": math.ceil(self.activation_bytes * share),
            "forward_bytes": weights + math.ceil((self.forward_bytes - weights) * share),
            "training_bytes": weights
            + math.ceil(max(f + s * share for f, s in self.training_lines)),
        }

    def largest_batch(self, memory: int, *, training: bool = True, optimizer: int = 1) -> int:
        """How many samples fit into `memory` bytes; 0 if none does.

        Args:
            memory: bytes that the network may take.
            training: a step with gradients, else a forward pass without.
            optimizer: numbers that the optimiser keeps for each parameter: 1 for momentum, 2 for
                Adam, 0 for none; in training only.

        Raises:
            OptionError: `memory` is no whole number of 0 or more.
        """
        if type(memory) is not int or memory < 0:
            raise OptionError(f"memory (={memory!r}) must be a whole number of bytes, 0 or more.")
        free = memory - self.parameter_bytes - (optimizer * self.trained_bytes if training else 0)
        lines = self.training_lines
        if not training:
            lines = ((0, self.forward_bytes - self.parameter_bytes),)
        fits = [Fraction(free - fixed, grows) for fixed, grows in lines if grows]
        if any(fixed > free for fixed, _ in lines) or not fits:
            return 0
        return max(math.floor(min(fits) * self.input_shape[0]), 0)

    def to_json(self) -> dict[str, Any]:
        """Values for JSON."""
        return {**asdict(self), "flops": self.flops}


def cost(model: nn.Module, input_shape: Sequence[int]) -> Cost:
    """Parameters, multiply-adds and memory of any module, from what it executes.

    Args:
        model: any module; on the meta device it takes no memory.
        input_shape: the whole shape, batch included.

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
        counted too, and each operation once.
    """
    network, shape = unwrapped(model), tuple(input_shape)
    graph = trace(network, shape)
    trainable = [p for p in network.parameters() if p.requires_grad]
    weights = sum(t.nbytes for t in [*network.parameters(), *network.buffers()])
    trained = sum(p.nbytes for p in trainable)
    lines = training_peak(graph, trained)
    return Cost(
        input_shape=shape,
        parameters=sum(p.numel() for p in trainable),
        parameter_bytes=weights,
        trained_bytes=trained,
        macs=sum(map(macs, graph.operations)),
        activation_bytes=sum(value.bytes for value in _made(graph)),
        forward_bytes=weights + forward_peak(graph),
        training_bytes=weights + max(fixed + grows for fixed, grows in lines),
        training_lines=tuple(lines),
        rows=tuple(_rows(network, graph)),
    )


def output_shape(model: nn.Module, input_shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of what a module gives for an input of a shape, without computing it.

    floor((n + 2p - d(k - 1) - 1) / s) + 1 along each axis, for a convolution with kernel k, stride
    s, padding p and dilation d.

    Args:
        model: any module, which returns one tensor, or several: then the first counts.
        input_shape: the whole shape, batch included.

    Raises:
        ShapeError: the model does not take this shape.
        OptionError: its output does not depend on its input.

    Example:
        >>> output_shape(nn.Conv1d(3, 8, kernel_size=5, stride=2, padding=1), (4, 3, 100))
        (4, 8, 49)
    """
    outputs = trace(model, tuple(input_shape)).outputs
    if not outputs:
        raise OptionError("The model returns no tensor that depends on its input.")
    return outputs[0].shape


def macs(operation: Operation) -> int:
    """Multiply-adds of one operation; 0 for what has none."""
    count = _COUNTS.get(operation.name)
    return 0 if count is None else int(count(operation))


def _made(graph: Graph) -> Iterator[Value]:
    """The tensors with memory of their own that operations made, each once."""
    known = {value.memory for value in graph.inputs}
    for operation in graph.operations:
        for value in operation.results:
            if value is not None and value.memory not in known:
                known.add(value.memory)
                yield value


def _rows(network: nn.Module, graph: Graph) -> Iterator[LayerCost]:
    """A row a call of a leaf, and one for each costly operation outside of leaves."""
    seen: set[int] = set()
    fresh: dict[str, int] = {}
    for name, module in network.named_modules():
        own = [p for p in module.parameters(recurse=False) if id(p) not in seen]
        seen.update(map(id, own))
        fresh[name] = sum(p.numel() for p in own if p.requires_grad)
    made = {value.number: value for value in _made(graph)}
    leaves = {k: call for call in graph.calls if call.leaf for k in range(call.start, call.stop)}
    told: set[tuple[str, int]] = set()
    for k, operation in enumerate(graph.operations):
        call = leaves.get(k)
        if call is None:
            yield from _functional(operation, made, fresh)
        elif (call.layer, call.call) not in told:
            told.add((call.layer, call.call))
            yield _row(call, graph, made, fresh)


def _row(call: Call, graph: Graph, made: Mapping[int, Value], fresh: dict[str, int]) -> LayerCost:
    operations = graph.operations[call.start : call.stop]
    results = [v for operation in operations for v in operation.results if v is not None]
    return LayerCost(
        layer=call.layer,
        kind=call.kind,
        shape=(call.results or results)[0].shape,
        parameters=fresh.pop(call.layer, 0),
        macs=sum(map(macs, operations)),
        activation_bytes=sum(v.bytes for v in results if v.number in made),
    )


def _functional(
    operation: Operation, made: Mapping[int, Value], fresh: dict[str, int]
) -> Iterator[LayerCost]:
    results = [v for v in operation.results if v is not None]
    new = [v for v in results if v.number in made]
    count, own = macs(operation), fresh.pop(operation.layer, 0)
    if new or count or own:
        name = f"{operation.layer}:{operation.name}"
        total = sum(v.bytes for v in new)
        yield LayerCost(name, operation.name, results[0].shape, own, count, total)


def _convolution(operation: Operation) -> Any:
    given, result = operation.arguments, result_of(operation)
    weight = given["weight"].shape
    if given["transposed"]:  # each input is spread over a kernel
        return math.prod(given["input"].shape) * math.prod(weight[1:])
    return math.prod(result.shape) * math.prod(weight[1:])


def _product(operation: Operation) -> Any:
    given, result = operation.arguments, result_of(operation)
    left = next(given[key] for key in ("mat1", "batch1", "self") if key in given)
    return math.prod(result.shape) * left.shape[-1]


def _attention(operation: Operation) -> Any:
    given = operation.arguments
    query, key, value = (given[name].shape for name in ("query", "key", "value"))
    pairs = math.prod(query[:-1]) * key[-2]
    return pairs * (query[-1] + value[-1])


_COUNTS = {
    "convolution": _convolution,
    "_convolution": _convolution,
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm", "mv", "dot"), _product),
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
}
