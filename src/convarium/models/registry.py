"""Networks by name: the families are listed here, literally, and users may add rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convarium.errors import OptionError
from convarium.graph.collecting import uncollected
from convarium.models import (
    alexnet,
    convnet,
    convnext,
    densenet,
    edsr,
    efficientnet,
    espcn,
    fcn,
    inception_time,
    lenet,
    mnasnet,
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3,
    options,
    resnet,
    resnet1d,
    speednet,
    squeezenet,
    srcnn,
    tcn,
    temporal_cnn,
    text_cnn,
    unet,
    vgg,
)
from convarium.models.catalogue import unknown_model
from convarium.models.contract import Network
from convarium.models.options import plain
from convarium.models.variants import Variant

if TYPE_CHECKING:
    from convarium.models.published import Adapt
    from convarium.models.weights import Weights

FAMILIES = (
    convnet,
    lenet,
    alexnet,
    vgg,
    resnet,
    densenet,
    squeezenet,
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3,
    mnasnet,
    efficientnet,
    convnext,
    speednet,
    tcn,
    text_cnn,
    temporal_cnn,
    fcn,
    resnet1d,
    inception_time,
    srcnn,
    espcn,
    edsr,
    unet,
)

VARIANTS = tuple(row for family in FAMILIES for row in family.VARIANTS)

_rows: dict[str, Variant] = {row.name: row for row in VARIANTS}


def create(
    name: str,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    spatial_dims: int | None = None,
    pretrained: bool | str | Path | Weights | None = None,
    adapt: Adapt = "error",
    **options: Any,
) -> Network:
    """Build a network by name, with fresh or with published weights.

    Args:
        name: a row of `list_models()`.
        num_classes: outputs of the head, 0 for none; None keeps the row's own.
        in_channels: channels of the input; None keeps the row's own.
        spatial_dims: 1 for signals, 2 for images, 3 for volumes; None keeps the row's own.
        pretrained: True takes the network's default published weights; a text names others that
            `convarium show NAME` lists, a file, a folder that `save` wrote, or "owner/name" on the
            Hugging Face Hub. The result's `published` says how its inputs are prepared.
        adapt: what to do where `in_channels` is not the published number: "error", "sum" or
            "repeat", as for `load_published`.
        options: further keywords of the row's class; `convarium show NAME` lists them.

    Raises:
        UnknownModelError: no network has this name; close matches are named.
        OptionError: an option is unknown or its value is not allowed.
        DataError: the weights cannot be had, are not what they should be, or do not fit.

    Example:
        >>> model = create("resnet20_cifar", num_classes=7, in_channels=1)
        >>> model(model.example_input(batch=2)).shape
        torch.Size([2, 7])
    """
    row = find(name)
    common = {
        "num_classes": num_classes,
        "in_channels": in_channels,
        "spatial_dims": spatial_dims,
    }
    given = options | {key: value for key, value in common.items() if value is not None}
    if pretrained is not None and pretrained is not False:
        from convarium.models.pretrained import create_pretrained

        return create_pretrained(row.name, partial(build, row.name), given, pretrained, adapt)
    if adapt != "error":
        raise OptionError(f"adapt (={adapt!r}) fits published weights; say pretrained= with it.")
    return build(row.name, given)


def build(name: str, options: Mapping[str, Any]) -> Network:
    """The network of a row with these keywords, with fresh weights; nothing is looked up."""
    row = find(name)
    given = {**row.keywords, **{key: plain(value) for key, value in options.items()}}
    with uncollected():
        network = row.cls(**given)
    network.name = row.name
    return network


def list_models(pattern: str = "*") -> list[str]:
    """Names that match a shell pattern, family by family, each from small to large.

    Example:
        >>> list_models("resnet?0_cifar")
        ['resnet20_cifar']
    """
    return [name for name in _rows if fnmatchcase(name, pattern)]


def register(variant: Variant) -> None:
    """Add a row, so that `create`, `list_models` and `load` know it.

    Raises:
        OptionError: the name is taken or not lower case, the class is no Network, or a keyword is
            not one of the class's.

    Example:
        >>> from convarium.models.convnet import ConvNet
        >>> register(Variant("tinynet", ConvNet, {"channels": [8, 16]}, "our own"))
        >>> create("tinynet").num_features
        16
    """
    if variant.name in _rows:
        raise OptionError(
            f"name (={variant.name!r}) is taken by {_rows[variant.name].cls.__name__}; "
            "choose another."
        )
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", variant.name):
        raise OptionError(
            f"name (={variant.name!r}) must be lower case letters, digits, '_', '-' and '.'."
        )
    if not issubclass(variant.cls, Network):
        raise OptionError(f"cls (={variant.cls.__name__}) must be a class derived from Network.")
    options.complete(variant.cls, variant.keywords)
    _rows[variant.name] = variant


def find(name: str) -> Variant:
    """The row of a name.

    Raises:
        OptionError: the name is not a text.
        UnknownModelError: no network has this name.
    """
    if not isinstance(name, str):
        raise OptionError(f"name (={name!r}) must be a text; convarium.list_models() gives all.")
    if name not in _rows:
        raise unknown_model(name, _rows)
    return _rows[name]
