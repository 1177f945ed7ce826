"""The graph of a training step, where it is another one than that of a prediction.

Dropouts make noise and a result, auxiliary heads run: only a trace in training mode has them. It is
made where layers that mind the mode work on more than a small share of the activations.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Final

from torch import nn

from convarium.errors import ConvariumError
from convarium.graph import Graph, trace
from convarium.measure.cost_rows import made

_SHARE: Final = 0.01
_GATES: Final = ("DropPath", "StochasticDepth")  # they keep one number a sample
_CHANCES: Final = ("p", "dropout", "probability", "drop_prob", "drop_rate")


def training_graph(network: nn.Module, graph: Graph) -> Graph:
    """The graph in training mode, or the one given if the mode matters little or not at all."""
    if _concerned(network, graph) <= _SHARE * sum(value.bytes for value in made(graph)):
        return graph
    try:
        return trace(network, [value.shape for value in graph.inputs], training=True)
    except ConvariumError:  # such as a norm of one value a channel
        return graph


def _concerned(network: nn.Module, graph: Graph) -> float:
    """Bytes of the tensors in layers that mind the mode; a layer with layers inside counts all."""
    modules = dict(network.named_modules())
    kinds: dict[type, bool] = {}
    found = 0
    for call in graph.calls:
        module = modules[call.layer]
        if _minds(module, kinds):
            if not call.leaf:
                return float("inf")
            found += sum(value.bytes for value in call.results)
    return found


def _minds(module: nn.Module, kinds: dict[type, bool]) -> bool:
    """Whether a module works otherwise in training, statistics of norms aside."""
    given = (vars(module).get(name) for name in _CHANCES)
    chances = [x for x in given if isinstance(x, int | float)]
    kind = type(module)
    if chances or kind.__name__ in _GATES:
        return any(chances) and kind.__name__ not in _GATES
    if kind not in kinds:
        own = not kind.__module__.startswith("torch.nn.")
        kinds[kind] = "training" in _names(kind) if own else kind is nn.RReLU
    return kinds[kind]


def _names(kind: type) -> set[str]:
    """The names in the code of a class's forward, and of its methods that this names."""
    found: set[str] = set()
    new = {"forward"}
    while new:
        found |= new
        methods = (getattr(kind, name, None) for name in new)
        codes = (method.__code__ for method in methods if isinstance(method, FunctionType))
        new = {name for code in codes for name in _inside(code)} - found
    return found


def _inside(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _inside(constant)
