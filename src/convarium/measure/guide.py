"""The decision guide: what each family is for, and in which order families are asked.

| target   | first asked                              | limits unless others are given       |
|----------|------------------------------------------|--------------------------------------|
| server   | ConvNeXt, EfficientNet, ResNet, DenseNet | none                                 |
| (small)  | ResNet, DenseNet, EfficientNet, ConvNeXt | none                                 |
| mobile   | EfficientNet, MobileNet, MnasNet         | 600 M multiply-adds                  |
| edge     | MobileNet, EfficientNet, MnasNet         | 300 M multiply-adds, 5 M parameters  |
| sequence | InceptionTime, TCN, ResNet, ConvNet      | none                                 |

Inputs under 64 positions are small; there the families come first that were published for such.
600 million multiply-adds are what papers call the mobile setting. The limits of edge are our own:
half of that, and weights that take 5 MB as 8-bit numbers.

References:
    Liu, Simonyan and Yang 2018, "DARTS", arXiv:1806.09055, table 3 (the mobile setting).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class Target:
    """Where a network will run.

    Attributes:
        families: asked first, in this order.
        limits: unless others are given, by the names of `choose`'s arguments.
        small: the same for small inputs; empty where the order is one.
        narrow: whether forms with fewer channels are asked too.
    """

    families: tuple[str, ...]
    limits: Mapping[str, float] = field(default_factory=dict)
    small: tuple[str, ...] = ()
    narrow: bool = False


TARGETS: Final[Mapping[str, Target]] = {
    "server": Target(
        ("convnext", "efficientnet", "resnet", "densenet"),
        small=("resnet", "densenet", "efficientnet", "convnext"),
    ),
    "mobile": Target(
        ("efficientnet", "mobilenet_v3", "mobilenet_v2", "mnasnet", "mobilenet_v1", "squeezenet"),
        {"max_macs": 600e6},
        narrow=True,
    ),
    "edge": Target(
        ("mobilenet_v3", "mobilenet_v2", "efficientnet", "mnasnet", "mobilenet_v1", "squeezenet"),
        {"max_macs": 300e6, "max_parameters": 5e6},
        narrow=True,
    ),
    "sequence": Target(("inception_time", "tcn", "resnet", "convnet")),
}

WIDTHS: Final[Mapping[str, tuple[float, ...]]] = {
    "mobilenet_v1": (0.75, 0.5, 0.25),
    "mobilenet_v2": (0.75, 0.5, 0.35),
    "mobilenet_v3_small": (0.75,),
    "mobilenet_v3_large": (0.75,),
}

_WORDS: Final[Mapping[str, str]] = {
    "alexnet": "the network of 2012, for comparison",
    "convnet": "the plain baseline",
    "convnext": "best trade-off on a server",
    "densenet": "reuses features, for little data",
    "efficientnet": "best trade-off, for any size",
    "fcn": "plain, for series",
    "inception_time": "long and short shapes in series",
    "lenet": "the network of 1998, for small grey images",
    "mnasnet": "searched for phones",
    "mobilenet_v1": "for phones and smaller",
    "mobilenet_v2": "for phones and smaller",
    "mobilenet_v3": "for phones and smaller, searched on them",
    "resnet": "depth that trains well",
    "resnet1d": "long kernels with shortcuts, for series",
    "squeezenet": "few parameters",
    "tcn": "causal, for live data and long context",
    "temporal_cnn": "several variables to one vector",
    "text_cnn": "short texts and their vectors",
    "vgg": "plain and heavy, for comparison",
}


def order(family: str, target: str, *, small: bool = False) -> int:
    """The place of a family in the guide's order; those it does not name come last."""
    row = TARGETS[target]
    families = (small and row.small) or row.families
    return families.index(family) if family in families else len(families)


def words(family: str) -> str:
    """What a family is for; of one that the guide does not know, its name."""
    return _WORDS.get(family, family)
