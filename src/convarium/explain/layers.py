"""From a name, a module or nothing to the layer that a heatmap is read from."""

from __future__ import annotations

from torch import nn

from convarium.errors import OptionError, did_you_mean
from convarium.graph import unwrapped
from convarium.layers import CONVOLUTIONS


def find_layer(network: nn.Module, layer: str | nn.Module | None) -> tuple[str, nn.Module]:
    """Dotted name and module of the layer.

    Args:
        network: the network out of its wrappers.
        layer: dotted name, the module itself, or None for `network.heatmap_layer`.

    Raises:
        OptionError: no such layer; or None, and the network does not name its layer.
    """
    names = _names(network)
    if layer is None:
        layer = getattr(network, "heatmap_layer", None)
        if not isinstance(layer, str):
            raise OptionError(
                f"layer (=None): {type(network).__name__} has no heatmap_layer; name the layer"
                f"{_example(names)}."
            )
    if isinstance(layer, str):
        return _by_name(names, layer)
    return _by_identity(names, layer)


def _by_name(names: dict[str, nn.Module], layer: str) -> tuple[str, nn.Module]:
    for name in (layer, _without_wrappers(layer), layer.removeprefix("module.")):
        if name in names:
            return name, names[name]
    close = did_you_mean(layer, names) or f" Name one{_example(names)}."
    raise OptionError(f"layer (={layer!r}) is not in the model.{close}")


def _by_identity(names: dict[str, nn.Module], layer: nn.Module) -> tuple[str, nn.Module]:
    module = unwrapped(layer)
    for name, candidate in names.items():
        if candidate is module:
            return name, module
    raise OptionError(
        f"layer (={type(layer).__name__}) is not a submodule of the model; "
        f"pass one of its layers or a name{_example(names)}."
    )


def _names(network: nn.Module) -> dict[str, nn.Module]:
    """Every submodule by its dotted name, without the links that `torch.compile` puts between."""
    found = network.named_modules(remove_duplicate=False)
    return {_without_wrappers(name): module for name, module in found if name}


def _without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def _example(names: dict[str, nn.Module]) -> str:
    """The last convolution, as half a sentence; nothing where the model has none."""
    found = [name for name, module in names.items() if isinstance(module, CONVOLUTIONS)]
    return f", for example layer={found[-1]!r}" if found else ""
