"""The last map with spatial extent that feeds a score, found among executed operations.

A map is (B, C, *S): what a convolution or a pooling gives, and what keeps its axes from there on.
Tokens (B, T, C) and images with their channels last are none until they are turned around.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from convarium.graph import Call, Graph, Operation, Value

# They move or merge axes, so that what they give is no map because their argument was one.
_MOVES: Final = frozenset(
    {"view", "_unsafe_view", "reshape", "permute", "transpose", "t", "movedim", "unfold", "im2col"}
    | {"expand", "select", "unsqueeze", "squeeze", "mm", "addmm", "bmm", "baddbmm", "lstm", "gru"}
    | {"pixel_shuffle", "pixel_unshuffle"}
)
_TURNS: Final = frozenset({"permute", "transpose"})
_PRODUCTS: Final = frozenset({"mm", "addmm", "bmm", "baddbmm"})
# Adaptive pooling belongs to the head: it makes positions of any map, also of a single one.
_HEADS: Final = frozenset(f"_adaptive_avg_pool{end}" for end in ("", "2d", "3d")) | frozenset(
    f"adaptive_{kind}_pool{n}d" for kind in ("avg", "max") for n in (1, 2, 3)
)


class LastMap(NamedTuple):
    """A layer by its dotted name in the graph, and whether part of the score goes around it."""

    layer: str
    bypassed: bool


def last_map(graph: Graph, rank: int) -> LastMap | None:
    """The outermost module that returns, in its one call, the last map that feeds the outputs.

    None where there is no map, or where positions are still told apart behind the last one, as in
    transformers, whose tokens are made of a map.

    Args:
        graph: what runs, as "network" inside of the traced module.
        rank: number of spatial axes.
    """
    makers = {r.number: op for op in graph.operations for r in op.results if r is not None}
    feeding = _feeding(graph, makers)
    maps = _maps(graph, rank)
    returned = _returned(graph)
    wanted = feeding & maps & returned.keys()
    made = (v for op in reversed(graph.operations) for v in op.results if v is not None)
    found = (value for value in made if value.number in wanted and _extends(value, rank))
    last = next(found, None)
    if last is None or _told_apart_behind(graph, last, feeding):
        return None
    around = _feeding(graph, makers, without=last.number)
    return LastMap(returned[last.number], graph.inputs[0].number in around)


def _feeding(graph: Graph, makers: dict[int, Operation], without: int = -1) -> set[int]:
    """Numbers of the values that the outputs are computed from, with the outputs."""
    left = [value.number for value in graph.outputs]
    found: set[int] = set()
    while left:
        number = left.pop()
        if number in found or number == without:
            continue
        found.add(number)
        if number in makers:
            left += [value.number for value in makers[number].values]
    return found


def _maps(graph: Graph, rank: int) -> set[int]:
    """Numbers of the values whose axes are (B, C, *S)."""
    found: set[int] = set()
    rows: set[int] = set()  # torch pools a series as an image of one row
    for operation in graph.operations:
        results = [r for r in operation.results if r is not None and len(r.shape) == 2 + rank]
        if operation.name in _HEADS:
            continue
        if "_pool" in operation.name:
            rows |= {r.number for r in operation.results if r is not None}
        if not results:
            continue
        inputs = [v for v in operation.values if len(v.shape) == 2 + rank]
        from_map = any(value.number in found for value in inputs)
        if operation.name in _TURNS:
            keeps = not from_map and bool(inputs) and _channels_first(inputs[0], results[0])
        else:
            keeps = from_map and operation.name not in _MOVES
            keeps |= operation.name == "squeeze" and operation.values[0].number in rows
        if keeps or "conv" in operation.name or "_pool" in operation.name:
            found |= {r.number for r in results if r.shape[0] == graph.inputs[0].shape[0]}
    return found


def _channels_first(before: Value, after: Value) -> bool:
    """Whether (B, *S, C) became (B, C, *S)."""
    sizes = before.shape
    return after.shape == (sizes[0], sizes[-1], *sizes[1:-1])


def _returned(graph: Graph) -> dict[int, str]:
    """For each value the outermost module that returns it alone, in its only call, by its name."""
    times: dict[str, int] = {}
    for call in graph.calls:
        times[call.layer] = times.get(call.layer, 0) + 1
    found: dict[int, Call] = {}
    for call in graph.calls:
        inside = call.layer.startswith("network.")
        if not inside or times[call.layer] > 1 or len(call.results) != 1:
            continue
        number = call.results[0].number
        if number not in found or _operations(call) >= _operations(found[number]):
            found[number] = call  # of two that ran the same, the outer one ends later
    return {number: call.layer.removeprefix("network.") for number, call in found.items()}


def _operations(call: Call) -> int:
    return call.stop - call.start


def _extends(value: Value, rank: int) -> bool:
    return any(side > 1 for side in value.shape[-rank:])


def _told_apart_behind(graph: Graph, value: Value, feeding: set[int]) -> bool:
    """Whether a matrix product or attention behind a map has several rows for a sample."""
    samples = graph.inputs[0].shape[0]
    behind = {value.number}
    for operation in graph.operations:
        given = [v.number for v in operation.values]
        if not behind.intersection(given):
            continue
        made = [r for r in operation.results if r is not None and r.number in feeding]
        behind |= {r.number for r in made}
        if "attention" in operation.name and made:
            return True
        if operation.name in _PRODUCTS and any(_rows(r) > samples for r in made):
            return True
    return False


def _rows(value: Value) -> int:
    """Of the result of a matrix product."""
    rows = 1
    for side in value.shape[:-1]:
        rows *= side
    return rows
