"""The list of networks without torch: a JSON file in the wheel, generated from the variants.

    describe(name), measure.facts(network, shape) -> catalogue.json -> read, names, find

`make families` writes the file anew, and a test compares it with the variants.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from convarium.errors import OptionError, UnknownModelError, did_you_mean

if TYPE_CHECKING:
    from convarium.models.contract import Network

PATH = Path(__file__).with_suffix(".json")


@cache
def read() -> tuple[dict[str, Any], ...]:
    """All rows, family by family: the keys of `describe`, and `macs`, `field`, `field_stride`.

    These are of one sample of the row's own size; the field is that of the last map, without gates,
    with an entry an axis.
    """
    rows: list[dict[str, Any]] = json.loads(PATH.read_text(encoding="utf-8"))
    return tuple(rows)


def names(pattern: str = "*") -> list[str]:
    """Names that match a shell pattern, as `list_models` gives them.

    Example:
        >>> names("lenet*")
        ['lenet5']
    """
    return [row["name"] for row in read() if fnmatchcase(row["name"], pattern)]


def find(name: str) -> dict[str, Any]:
    """The row of a name.

    Raises:
        UnknownModelError: no network has this name; close matches are named.

    Example:
        >>> find("resnet50")["parameters"]
        25557032
    """
    for row in read():
        if row["name"] == name:
            return row
    raise unknown_model(name, names())


def unknown_model(name: str, known: Iterable[str]) -> UnknownModelError:
    """The error for a name that is not among `known`."""
    return UnknownModelError(
        f"No network is called {name!r}.{did_you_mean(name, known)} "
        "`convarium list` and convarium.list_models() give all names."
    )


def describe(
    name: str,
    options: Mapping[str, Any] = MappingProxyType({}),
    *,
    shape: Sequence[int] | int | None = None,
) -> dict[str, Any]:
    """One row as the family gives it now; this imports torch, but computes nothing.

    Args:
        name: a row of the registry.
        options: keywords that differ from the row's, as `create` takes them.
        shape: of one sample, `(C, *S)`, or positions along every axis; None is the network's own.

    Raises:
        UnknownModelError: no network has this name.
        OptionError: an option is unknown, or its value is not allowed.
        ShapeError: the network does not take inputs of this shape.

    Example:
        >>> row = describe("resnet18", {"spatial_dims": 1, "in_channels": 1}, shape=500)
        >>> row["parameters"], row["parts"][-2]["shape"]
        (4356904, [512, 16])
    """
    from convarium.models import docstrings, registry, structure
    from convarium.models import options as _options

    variant, network = registry.find(name), without_memory(name, options)
    if shape is None or isinstance(shape, int):
        shape = network.sample_shape(shape)
    config = network.config
    text = docstrings.family_text(sys.modules[variant.cls.__module__].__doc__ or "")
    parts = structure.measure(network, shape)
    return {
        "name": variant.name,
        "family": variant.family,
        "class": variant.cls.__name__,
        "parameters": sum(part.parameters for part in parts),
        "source": variant.source,
        "references": docstrings.cited(variant.source, text.references),
        "summary": variant.summary,
        "year": variant.year,
        "spatial_dims": config["spatial_dims"],
        "in_channels": network.in_channels,
        "num_classes": config.get("num_classes"),
        "input_kind": network.input_kind,
        "input_size": list(parts[0].shape[-network.spatial_dims :]),
        "heatmap_layer": network.heatmap_layer,
        "options": config,
        "choices": _options.choices(variant.cls),
        "stages": [dataclasses.asdict(stage) for stage in network.stages],
        "parts": [dataclasses.asdict(part) | {"shape": list(part.shape)} for part in parts],
        "initial": _initial(network),
    }


def without_memory(name: str, options: Mapping[str, Any] = MappingProxyType({})) -> Network:
    """The network of a row on torch's meta device, where it takes no memory.

    Args:
        name: a row of the registry.
        options: keywords that differ from the row's, as `create` takes them.

    Raises:
        UnknownModelError: no network has this name.
        OptionError: an option is unknown, or its value is not allowed.

    Example:
        >>> without_memory("resnet18", {"num_classes": 10}).head.weight.device
        device(type='meta')
    """
    import torch

    from convarium.models import registry

    try:
        with torch.device("meta"):
            return registry.build(name, options)
    except (RuntimeError, TypeError, OverflowError) as error:
        shown = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise OptionError(
            f"{name} cannot be built with options (={shown}): numbers too large; make them smaller."
        ) from error


def _initial(network: Network) -> list[dict[str, str]]:
    """How the weights of each kind of layer start, in the words of the rule that starts them."""
    from torch.nn.utils.parametrize import ParametrizationList

    from convarium.layers import CONVOLUTIONS, NORMS

    found: dict[str, str] = {}
    for module in network.modules():
        own = any(True for _ in module.parameters(recurse=False))
        if not own or isinstance(module, ParametrizationList):  # told with the layer it belongs to
            continue
        rule = next((r for classes, r in network.initial if isinstance(module, classes)), None)
        kinds = {CONVOLUTIONS: "convolutions", NORMS: "norms"}
        kind = next((word for classes, word in kinds.items() if isinstance(module, classes)), "")
        words = (rule or type(module)).__doc__ or ""
        found.setdefault(kind or type(module).__name__, words.strip().split("\n\n")[0])
    return [{"layers": kind, "rule": " ".join(words.split())} for kind, words in found.items()]


def text(rows: Iterable[Mapping[str, Any]]) -> str:
    """The JSON file's content: one line a row."""
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"
