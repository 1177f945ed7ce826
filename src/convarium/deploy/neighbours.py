"""Which layer feeds which norm: read from the traced graph of any module.

A neighbour counts only if nobody else sees the value between the two, so that both can change.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any, Final

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from convarium.graph import Call, Graph, Operation, Value

#: What a norm can be folded into.
LAYERS: Final = (_ConvNd, nn.Linear)
#: What can be folded.
NORMS: Final = (_BatchNorm,)

_HOOKS: Final = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True)
class Site:
    """A module that is called.

    Attributes:
        name: dotted.
        module: itself.
        call: its only call; None where there are several.
        refusal: why it must stay as it is, or nothing.
    """

    name: str
    module: Any
    call: Call | None
    refusal: str


@dataclass(frozen=True)
class Piece:
    """A layer, and which of the channels that a norm reads are its own."""

    site: Site
    channels: slice


class Neighbours:
    """The norms and layers of a traced network, and who reads whose output.

    Args:
        network: the module that was traced.
        graph: of its execution.

    Attributes:
        norms: those that are called, by name, in the order of execution.
        uncalled: names of those that are not.
    """

    def __init__(self, network: nn.Module, graph: Graph) -> None:
        self.graph = graph
        self.readers: dict[int, list[Operation]] = defaultdict(list)
        for operation in graph.operations:
            for value in {v.number: v for v in operation.values}.values():
                self.readers[value.number].append(operation)
        self.joins = {
            operation.results[0].number: operation
            for operation in graph.operations
            if operation.name == "cat" and operation.results[0] is not None
            if operation.arguments.get("dim", 0) in (1, 1 - len(operation.results[0].shape))
        }
        self.same: dict[int, Value] = {}  # what a folded norm gave: what it was given
        names = dict(network.named_modules())
        calls = Counter(call.layer for call in graph.calls)
        shared = _shared(network)
        ordered = sorted(graph.calls, key=lambda call: call.stop)
        self.sites: dict[str, Site] = {}
        for call in ordered:
            module = names[call.layer]
            if isinstance(module, (*LAYERS, *NORMS)) and call.layer not in self.sites:
                refusal = _refusal(module, calls[call.layer], shared.get(id(module), ""))
                only = call if calls[call.layer] == 1 else None
                self.sites[call.layer] = Site(call.layer, module, only, refusal)
        self.norms = {k: s for k, s in self.sites.items() if isinstance(s.module, NORMS)}
        every = (name for name, module in names.items() if isinstance(module, NORMS))
        self.uncalled = [name for name in every if name not in self.norms]

    def before(self, norm: Site) -> tuple[list[Piece], str]:
        """The layers whose outputs only this norm reads, or why there are none.

        There are several where it reads their outputs side by side, in one map.
        """
        value = self._given(norm)
        if value is None or norm.call is None:
            return [], "it is given no value"
        pieces, start = [], 0
        for part in self._side_by_side(value):
            site = self._ending(part)
            if site is None:
                return [], "no convolution or linear layer ends right before it"
            if site.refusal:
                return [], f"{site.name} before it {site.refusal}"
            if isinstance(site.module, nn.Linear) and len(part.shape) != 2:
                return [], f"{site.name} before it works on another axis"
            pieces.append(Piece(site, slice(start, start + part.shape[1])))
            start += part.shape[1]
        if self._others(norm.call.arguments[0], norm):
            return [], f"others read the output of {pieces[0].site.name} too"
        return pieces, ""

    def after(self, norm: Site) -> tuple[Site | None, str]:
        """The layer that alone reads what this norm gives, or why there is none."""
        if norm.call is None or len(norm.call.results) != 1:
            return None, "it gives several values"
        result = norm.call.results[0]
        for site in self.sites.values():
            if not isinstance(site.module, LAYERS) or site.call is None:
                continue
            if result in site.call.arguments:
                if site.refusal:
                    return None, f"{site.name} behind it {site.refusal}"
                if self._others(result, site):
                    return None, f"others read its output beside {site.name}"
                if isinstance(site.module, nn.Linear) and len(result.shape) != 2:
                    return None, f"{site.name} behind it works on another axis"
                return site, ""
        return None, "no convolution or linear layer begins right behind it"

    def passes(self, norm: Site) -> None:
        """A norm is gone: what it gave is what it was given."""
        if norm.call is not None:
            for result in norm.call.results:
                self.same[result.number] = self._given(norm) or result

    def _given(self, norm: Site) -> Value | None:
        call = norm.call
        return self._origin(call.arguments[0]) if call is not None and call.arguments else None

    def _origin(self, value: Value) -> Value:
        while value.number in self.same:
            value = self.same[value.number]
        return value

    def _ending(self, value: Value) -> Site | None:
        """The layer that gives a value."""
        for site in self.sites.values():
            given = site.call.results if site.call is not None else ()
            if isinstance(site.module, LAYERS) and value in map(self._origin, given):
                return site
        return None

    def _side_by_side(self, value: Value) -> list[Value]:
        """The maps whose channels a value has one after the other, if nobody else reads them."""
        join = self.joins.get(value.number)
        parts = [] if join is None else [*join.arguments["tensors"]]
        whole = [part for part in parts if isinstance(part, Value) and part.shape]
        alone = all(len(self.readers[part.number]) == 1 for part in whole)
        once = len({part.number for part in whole}) == len(parts)
        seen = any(part in self.graph.outputs for part in whole)
        if not parts or not (alone and once) or seen:
            return [value]
        return [self._origin(part) for part in whole]

    def _others(self, value: Value, reader: Site) -> bool:
        """Whether anything but one module reads a value, or the network returns it."""
        call = reader.call
        if call is None or value in self.graph.outputs:
            return True
        inside = self.graph.operations[call.start : call.stop]
        return any(all(op is not own for own in inside) for op in self.readers[value.number])


def _refusal(module: nn.Module, calls: int, shared: str) -> str:
    """Why a module must stay as it is."""
    if calls > 1:
        return f"is called {calls} times"
    if shared:
        return f"shares its weights with {shared}"
    if any(getattr(module, kind) for kind in _HOOKS):
        return "has hooks"
    if hasattr(module, "parametrizations"):
        return "works its weights out in forward"
    return ""


def _shared(network: nn.Module) -> dict[int, str]:
    """By a module's identity, under which other name it, or one of its tensors, is held too."""
    holders: dict[int, list[tuple[str, nn.Module]]] = defaultdict(list)
    for name, module in network.named_modules(remove_duplicate=False):
        own = [module] if isinstance(module, (*LAYERS, *NORMS)) else []
        tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        for thing in (*own, *tensors):
            holders[id(thing)].append((name, module))
    found: dict[int, str] = {}
    for places in holders.values():
        for name, module in places:
            others = [other for other, _ in places if other != name]
            if others:
                found[id(module)] = others[0]
    return found
