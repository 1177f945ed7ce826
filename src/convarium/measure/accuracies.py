"""Published accuracies of the catalogue's networks: which number is told, and which may count.

models/weights.csv (ImageNet-1k) + the papers' tables below -> Accuracy -> counts for an input?

A number is a prior, not a promise: it was reached on other data, by a recipe that differs from row
to row. Weights that saw more than ImageNet-1k are left out, so that networks are compared and not
what they were fed. Numbers on CIFAR-10 are for small images, those on ImageNet for the others.

References:
    Howard et al. 2017, "MobileNets", arXiv:1704.04861, table 6. He et al. 2015, "Deep residual
    learning", arXiv:1512.03385, table 6. He et al. 2016, "Identity mappings", arXiv:1603.05027,
    tables 2 and 4. Zagoruyko and Komodakis 2016, "Wide residual networks", arXiv:1605.07146,
    table 5. Huang et al. 2016, "DenseNet", arXiv:1608.06993, table 2 (C10+).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from convarium.models import weights

SMALL: Final = 64
_USUAL: Final = 224
_MOST: Final = 4 / 3
_MORE_DATA: Final = ("jft", "in12k", "in21k", "in22k")
_NAMES: Final = {"imagenet-1k": "ImageNet-1k"}


@dataclass(frozen=True)
class Accuracy:
    """One published number.

    Attributes:
        percent: top-1, in %.
        data: what it was measured on.
        size: sides of the pictures in pixels.
        source: who measured it.
    """

    percent: float
    data: str
    size: int
    source: str

    def words(self) -> str:
        """The number as people say it: 80.86 % on ImageNet-1k at 224."""
        return f"{self.percent:.2f} % on {self.data} at {self.size}"


_WIDTHS: Final = (
    ("mobilenet_v1", 0.75, 68.4, "Howard et al. 2017, table 6"),
    ("mobilenet_v1", 0.5, 63.7, "Howard et al. 2017, table 6"),
    ("mobilenet_v1", 0.25, 50.6, "Howard et al. 2017, table 6"),
    ("mobilenet_v2", 0.75, 69.8, "MobileNet page of tensorflow/models"),
    ("mobilenet_v2", 0.5, 65.4, "MobileNet page of tensorflow/models"),
    ("mobilenet_v2", 0.35, 60.3, "MobileNet page of tensorflow/models"),
)
_CIFAR_ERRORS: Final = (
    ("resnet20_cifar", 8.75, "He et al. 2015, table 6"),
    ("resnet32_cifar", 7.51, "He et al. 2015, table 6"),
    ("resnet44_cifar", 7.17, "He et al. 2015, table 6"),
    ("resnet56_cifar", 6.97, "He et al. 2015, table 6"),
    ("resnet110_cifar", 6.43, "He et al. 2015, table 6"),
    ("resnetv2_110_cifar", 6.37, "He et al. 2016, table 2"),
    ("resnetv2_164_cifar", 5.46, "He et al. 2016, table 4"),
    ("resnetv2_1001_cifar", 4.92, "He et al. 2016, table 4"),
    ("wrn_40_4", 4.53, "Zagoruyko and Komodakis 2016, table 5"),
    ("wrn_16_8", 4.27, "Zagoruyko and Komodakis 2016, table 5"),
    ("wrn_28_10", 4.00, "Zagoruyko and Komodakis 2016, table 5"),
    ("densenet_40_12", 5.24, "Huang et al. 2016, table 2"),
    ("densenet_100_12", 4.10, "Huang et al. 2016, table 2"),
    ("densenet_100_24", 3.74, "Huang et al. 2016, table 2"),
    ("densenet_bc_100_12", 4.51, "Huang et al. 2016, table 2"),
    ("densenet_bc_250_24", 3.62, "Huang et al. 2016, table 2"),
    ("densenet_bc_190_40", 3.46, "Huang et al. 2016, table 2"),
)


def accuracy(name: str, options: Mapping[str, Any], input_shape: Sequence[int]) -> Accuracy | None:
    """The number published for a network nearest to the size of these images, or None.

    Args:
        name: of the catalogue.
        options: that differ from the row's own; a changed network has no number but that of its
            paper.
        input_shape: (B, C, *S); only images have numbers.

    Example:
        >>> accuracy("resnet50", {}, (1, 3, 224, 224)).words()
        '80.86 % on ImageNet-1k at 224'
    """
    if len(input_shape) != 4:
        return None
    side = min(input_shape[2:])
    known = _small(name, options) if side < SMALL else _large(name, options)
    return min(
        known, key=lambda found: (abs(math.log(found.size / side)), -found.percent), default=None
    )


def counts(found: Accuracy | None, input_shape: Sequence[int]) -> bool:
    """Whether a number says something about images of this size.

    One that was reached on images more than a third larger than these (or than 224 pixels, where
    these are smaller) is another network's for our purpose: at this size it would be lower, and
    faster.
    """
    return found is not None and found.size <= _MOST * max(min(input_shape[2:]), _USUAL)


def pretrained(name: str, options: Mapping[str, Any], input_shape: Sequence[int]) -> bool:
    """Whether there are published weights to start from that fit the network and its images."""
    fits = len(input_shape) == 4 and min(input_shape[2:]) >= SMALL
    return fits and not options and bool(weights.rows(name))


def _large(name: str, options: Mapping[str, Any]) -> list[Accuracy]:
    if options:
        return [
            Accuracy(percent, "ImageNet-1k", _USUAL, source)
            for network, width, percent, source in _WIDTHS
            if network == name and dict(options) == {"width_multiplier": width}
        ]
    return [
        Accuracy(row.accuracy, _NAMES.get(row.classes, row.classes), row.size, _source(row))
        for row in weights.rows(name)
        if row.accuracy and not any(word in row.name for word in _MORE_DATA)
    ]


def _small(name: str, options: Mapping[str, Any]) -> list[Accuracy]:
    return [
        Accuracy(round(100 - error, 2), "CIFAR-10", 32, source)
        for network, error, source in _CIFAR_ERRORS
        if network == name and not options
    ]


def _source(row: weights.Weights) -> str:
    return f"{row.name}, {row.accuracy_source}"
