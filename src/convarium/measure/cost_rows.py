"""The operations of a graph gathered into rows: one a call of a layer, one a function beside them.

graph, multiply-adds of each operation -> rows in the order of execution, what is never called last
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from convarium.graph import Graph, Operation, Value

# Layer, kind, shape of the result, parameters, multiply-adds, bytes that it made.
Row = tuple[str, str, tuple[int, ...], int, int, int]


def made(graph: Graph) -> Iterator[Value]:
    """The tensors with memory of their own that operations made of the input, each once."""
    known = {value.memory for value in graph.inputs}
    for operation in graph.operations:
        for value in operation.results if operation.values else ():
            if value is not None and value.memory not in known:
                known.add(value.memory)
                yield value


def rows(network: nn.Module, graph: Graph, counts: Sequence[int]) -> Iterator[Row]:
    """A row a call of a leaf, one for each costly operation outside of leaves, and the rest.

    The rest are parameters that no row has told, because their module was never called: a row for
    each such module, without a shape.
    """
    owned = _Owned(network)
    new = {value.number for value in made(graph)}
    leaves = {k: call for call in graph.calls if call.leaf for k in range(call.start, call.stop)}
    told: set[tuple[str, int]] = set()
    for k, operation in enumerate(graph.operations):
        call = leaves.get(k)
        if call is None:
            results = _results([operation])
            size = sum(v.bytes for v in results if v.number in new)
            parameters = owned.take(operation.layer)
            if size or counts[k] or parameters:
                name = f"{operation.layer}:{operation.name}"
                shape = results[0].shape if results else ()
                yield name, operation.name, shape, parameters, counts[k], size
        elif (call.layer, call.call) not in told:
            told.add((call.layer, call.call))
            results = _results(graph.operations[call.start : call.stop])
            size = sum(v.bytes for v in results if v.number in new)
            macs = sum(counts[call.start : call.stop])
            shape = next((v.shape for v in (*call.results, *results)), ())
            yield call.layer, call.kind, shape, owned.take(call.layer), macs, size
    for layer in owned.layers():
        if parameters := owned.take(layer):
            yield layer, type(network.get_submodule(layer)).__name__, (), parameters, 0, 0


class _Owned:
    """The trainable numbers of each module, each told once; a parametrisation's are its layer's."""

    def __init__(self, network: nn.Module) -> None:
        self.parameters: dict[str, list[nn.Parameter]] = {}
        for name, module in network.named_modules():
            path = name.split(".")
            if "parametrizations" in path:
                name = ".".join(path[: path.index("parametrizations")])
            own = (p for p in module.parameters(recurse=False) if p.requires_grad)
            self.parameters.setdefault(name, []).extend(own)
        self.told: set[int] = set()

    def layers(self) -> list[str]:
        return [*self.parameters]

    def take(self, layer: str) -> int:
        """Numbers in the parameters of a layer that nobody has taken."""
        own = {id(p): p for p in self.parameters.get(layer, ()) if id(p) not in self.told}
        self.told.update(own)
        return sum(p.numel() for p in own.values())


def _results(operations: Sequence[Operation]) -> list[Value]:
    return [v for operation in operations for v in operation.results if v is not None]
