"""From a name, a module or nothing to the layer that a heatmap is read from."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from torch import nn

from convarium.errors import ConvariumError, OptionError, did_you_mean
from convarium.explain.last_map import last_map
from convarium.explain.looking import Look
from convarium.explain.states import state_of
from convarium.explain.targets import Target
from convarium.graph import Graph, unwrapped
from convarium.layers import CONVOLUTIONS

#: Of networks that were followed: the state they were in, the layer's name, the note.
_FOUND: Final[WeakKeyDictionary[nn.Module, tuple[Any, str, str]]] = WeakKeyDictionary()


class Found(NamedTuple):
    """A layer, by its dotted name, and what should be known about the choice."""

    name: str
    module: nn.Module
    note: str = ""


def find_layer(look: Look, layer: str | nn.Module | None, target: Target = None) -> Found:
    """Dotted name and module of the layer.

    Args:
        look: the network, and what it is given.
        layer: dotted name, the module itself, or None: `heatmap_layer` where the network names it,
            and otherwise the last map with spatial extent that feeds the score, found in the graph.
        target: what is scored; a callable decides what of the output counts.

    Raises:
        OptionError: no such layer; or None, and the network has no map with spatial extent.
    """
    names, own = _names(look.network), _own(look.network)
    if layer is None and not own:
        return find_in_graph(look, target)
    layer = own if layer is None else layer
    if isinstance(layer, str):
        return _by_name(names, layer, own)
    return _by_identity(names, layer, own)


def check_layer(network: nn.Module, layer: str) -> None:
    """Refuse a name that no layer has, before anything is computed.

    Raises:
        OptionError: the network has no such layer.
    """
    original = unwrapped(network)
    _by_name(_names(original), layer, _own(original))


def _own(network: nn.Module) -> str:
    """The layer that a network names itself, or nothing."""
    own = getattr(network, "heatmap_layer", None)
    return own if isinstance(own, str) else ""


def find_in_graph(look: Look, target: Target = None) -> Found:
    """The outermost module that returns, once, the last map with extent that feeds the score.

    Raises:
        OptionError: there is no such map, or the graph cannot be followed.
    """
    names = _names(look.network)
    state = None if callable(target) else state_of(look)
    known = _FOUND.get(look.network)
    if state is not None and known is not None and known[0] == state:
        return Found(known[1], names[known[1]], known[2])
    kind = type(look.network).__name__
    graph = _graph(look, target, kind, names)
    found = last_map(graph, look.rank)
    if found is None or _without_wrappers(found.layer) not in names:
        once, reused = _by_runs(graph, names)
        told = f" by a layer that runs once ({reused[-1]} is reused)" if reused else ""
        raise OptionError(
            f"layer (=None): {kind} has no map with spatial extent that feeds its score{told}, as "
            f"convolutional networks have; name a layer{_example(once)}, or explain it at the "
            "input: input_gradients, integrated_gradients, occlusion."
        )
    name = _without_wrappers(found.layer)
    note = f"Part of the score does not pass {name}." if found.bypassed else ""
    if state is not None:
        _FOUND[look.network] = (state, name, note)
    return Found(name, names[name], note)


def _graph(look: Look, target: Target, kind: str, names: dict[str, nn.Module]) -> Graph:
    """What feeds the score; where a target needs numbers, what feeds the whole output."""
    if callable(target):
        try:
            return look.followed(target)
        except ConvariumError:
            pass
    try:
        return look.followed()
    except ConvariumError as error:
        look.run(*look.inputs)  # an error of its own says more
        reason = str(error.__cause__ or "") or str(error).partition(";")[0]
        reason = reason.strip().partition("\n")[0].rstrip(".")
        raise OptionError(
            f"layer (=None): {kind} cannot be followed to its last map ({reason}); "
            f"name the layer{_example(names)}."
        ) from error


def _by_runs(graph: Graph, names: dict[str, nn.Module]) -> tuple[dict[str, nn.Module], list[str]]:
    """The modules that do not run several times, and the names of convolutions that do."""
    called = [_without_wrappers(call.layer).removeprefix("network.") for call in graph.calls]
    times = Counter(id(names[name]) for name in called if name in names)
    once = {name: module for name, module in names.items() if times[id(module)] <= 1}
    convolutions = (name for name, module in names.items() if isinstance(module, CONVOLUTIONS))
    return once, [name for name in convolutions if name not in once]


def _by_name(names: dict[str, nn.Module], layer: str, own: str) -> Found:
    for name in (layer, _without_wrappers(layer), layer.removeprefix("module.")):
        if name in names:
            return Found(name, names[name])
    close = did_you_mean(layer, names)
    raise OptionError(
        f"layer (={layer!r}) is not in the model.{close} Name one{_example(names, own)}."
    )


def _by_identity(names: dict[str, nn.Module], layer: Any, own: str) -> Found:
    if not isinstance(layer, nn.Module):
        raise OptionError(
            f"layer (={layer!r}) must be a dotted name, one of the model's modules, or None for "
            f"the model's own choice{_example(names, own)}."
        )
    module = unwrapped(layer)
    for name, candidate in names.items():
        if candidate is module:
            return Found(name, module)
    raise OptionError(
        f"layer (={type(layer).__name__}) is not a submodule of the model; "
        f"pass one of its layers or a name{_example(names, own)}."
    )


def _names(network: nn.Module) -> dict[str, nn.Module]:
    """Every submodule by its dotted name, without the links that `torch.compile` puts between."""
    found = network.named_modules(remove_duplicate=False)
    return {_without_wrappers(name): module for name, module in found if name}


def _without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def _example(names: dict[str, nn.Module], own: str = "") -> str:
    """The network's own layer, or the last convolution, as half a sentence; "" without any."""
    if own in names:
        return f", for example layer={own!r}"
    found = [name for name, module in names.items() if isinstance(module, CONVOLUTIONS)]
    return f", for example layer={found[-1]!r}" if found else ""
