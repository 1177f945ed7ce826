"""The list of networks without torch: a JSON file in the wheel, generated from the variants.

    python -m convarium.models.catalogue        writes catalogue.json anew

A test compares the file with the variants.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from convarium.errors import UnknownModelError, did_you_mean
from convarium.files import write_text

PATH = Path(__file__).with_suffix(".json")


@cache
def read() -> tuple[dict[str, Any], ...]:
    """All rows, family by family; each has the keys that `describe` gives."""
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


def describe() -> list[dict[str, Any]]:
    """The rows as the families' variants give them now; this one imports torch."""
    import torch

    from convarium.models import options, registry

    rows = []
    for variant in registry.VARIANTS:
        with torch.device("meta"):
            network = registry.create(variant.name)
        rows.append(
            {
                "name": variant.name,
                "family": variant.family,
                "class": variant.cls.__name__,
                "parameters": sum(p.numel() for p in network.parameters() if p.requires_grad),
                "source": variant.source,
                "summary": variant.summary,
                "year": variant.year,
                "spatial_dims": network.config["spatial_dims"],
                "in_channels": network.config["in_channels"],
                "num_classes": network.config["num_classes"],
                "input_size": list(network.input_size),
                "heatmap_layer": network.heatmap_layer,
                "options": network.config,
                "choices": options.choices(variant.cls),
                "stages": [
                    {"name": s.name, "channels": s.channels, "reduction": s.reduction}
                    for s in network.stages
                ],
            }
        )
    return rows


def text() -> str:
    """The JSON file's content: one line a row."""
    lines = ",\n".join(json.dumps(row) for row in describe())
    return f"[\n{lines}\n]\n"


if __name__ == "__main__":
    write_text(PATH, text())
