"""Published weights: which files there are for which network, and how their inputs are prepared.

    weights.csv -> rows -> Weights -> card: task, classes, preprocessing

The table lies beside this file, one row a file of weights, the default of each network first.
`tools/list_weights.py` writes it from the metadata of torchvision and timm; nothing here imports
torch. `imagenet_classes.txt` holds the names of ImageNet-1k: the first word that WordNet 3.0 has
for each of the 1,000 synsets of ILSVRC 2012, in the order of their numbers, with something added
where two would be called alike. WordNet's licence lies beside it.

References:
    Russakovsky et al. (2015), "ImageNet Large Scale Visual Recognition Challenge",
    arXiv:1409.0575. Princeton University (2006), WordNet 3.0.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from convarium import files
from convarium.errors import OptionError, did_you_mean

PATH: Final = Path(__file__).with_suffix(".csv")
_CLASSES: Final = {"imagenet-1k": "imagenet_classes.txt"}


@dataclass(frozen=True)
class Weights:
    """One published file of weights, and what belongs to it.

    Args:
        network: the name that `create` knows.
        name: what tells it from other weights of the network.
        layout: whose names its keys are, as the network's `layouts` has them.
        hub_id: repository on the Hugging Face Hub; empty if it is not there.
        url: address of the file; empty if it has none.
        filename: name of the file.
        sha256: digest in hexadecimal, or its beginning; empty where nobody published one.
        package: Python package that carries the file; empty if none does.
        resize: short side in pixels that images are resized to.
        size: sides in pixels of the centre that is cut out then: the network's input.
        interpolation: "bilinear" or "bicubic".
        mean: mean of each channel in [0, 1].
        std: standard deviation of each channel.
        classes: what the outputs are: "imagenet-1k".
        accuracy: top-1 accuracy in % on that data's validation images.
        accuracy_source: who measured it.
        licence: of the weights, as their publisher states it.
        options: keywords of `create` that these weights need.
    """

    network: str
    name: str
    layout: str
    hub_id: str = ""
    url: str = ""
    filename: str = ""
    sha256: str = ""
    package: str = ""
    resize: int = 256
    size: int = 224
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    classes: str = "imagenet-1k"
    accuracy: float = 0.0
    accuracy_source: str = ""
    licence: str = ""
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def card(self, classes: Sequence[str] | None = None) -> dict[str, Any]:
        """The entries task, classes and preprocessing of a card, as `Predictor` takes them.

        Args:
            classes: names of the outputs where the head was replaced; None means the published
                ones.

        Example:
            >>> card = find("resnet50", "imagenet1k_v1").card()
            >>> len(card["classes"]), card["classes"][281]
            (1000, 'tabby')
        """
        names = list(class_names(self.classes) if classes is None else classes)
        crop = [self.size, self.size]
        resize = {"short_side": self.resize, "interpolation": self.interpolation}
        return {
            "task": "classification",
            "classes": names,
            "preprocessing": {
                "steps": [
                    {"op": "decode", "channels": len(self.mean)},
                    {"op": "resize", **resize, "antialias": True},
                    {"op": "center_crop", "size": crop},
                    {"op": "scale", "factor": 1 / 255},
                    {"op": "normalize", "mean": list(self.mean), "std": list(self.std)},
                ],
                "input_shape": [len(self.mean), *crop],
            },
        }


@cache
def read() -> tuple[Weights, ...]:
    """All rows, network by network, the default of each first."""
    with open(PATH, encoding="utf-8", newline="") as file:
        return tuple(_row(cells) for cells in csv.DictReader(file))


def rows(network: str) -> list[Weights]:
    """The published weights of a network, its default first; none gives an empty list.

    Example:
        >>> [found.name for found in rows("resnet18")]
        ['a1_in1k', 'imagenet1k_v1']
    """
    return [found for found in read() if found.network == network]


def find(network: str, name: str | None = None) -> Weights:
    """One row of a network; without a name the default.

    Raises:
        OptionError: the network has no such weights; those that it has are named.
    """
    known = {found.name: found for found in rows(network)}
    if not known:
        raise none_listed(network, sorted({found.network for found in read()}))
    if name is None:
        return next(iter(known.values()))
    if name not in known:
        raise OptionError(
            f"{network} has no weights called {name!r}.{did_you_mean(name, known)} "
            f"It has: {', '.join(known)}."
        )
    return known[name]


def of_file(network: str, path: Path) -> Weights | None:
    """The network's row whose file this is, found by its digest; None for any other file."""
    known = [row for row in rows(network) if row.sha256]
    digest = files.sha256(path) if known else ""
    return next((row for row in known if digest.startswith(row.sha256.lower())), None)


def none_listed(network: str, close: Sequence[str] = ()) -> OptionError:
    """The error for a network without weights; names among which it may be meant to be."""
    return OptionError(
        f"No published weights of {network!r} are listed.{did_you_mean(network, close)} "
        "`convarium list --pretrained` shows which networks have some; give a file or a folder "
        "otherwise."
    )


@cache
def class_names(classes: str) -> tuple[str, ...]:
    """Names of the outputs, in their order.

    Raises:
        OptionError: no such list is known.

    Example:
        >>> class_names("imagenet-1k")[0]
        'tench'
    """
    if classes not in _CLASSES:
        raise OptionError(f"classes (={classes!r}) must be one of {', '.join(_CLASSES)}.")
    text = PATH.with_name(_CLASSES[classes]).read_text(encoding="utf-8")
    return tuple(text.splitlines())


def _row(cells: Mapping[str, str]) -> Weights:
    """One line of the table."""
    kinds: dict[str, Any] = {
        "resize": int,
        "size": int,
        "mean": _numbers,
        "std": _numbers,
        "accuracy": float,
        "options": lambda text: json.loads(text or "{}"),
    }
    return Weights(**{key: kinds.get(key, str)(text) for key, text in cells.items()})


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split()))
