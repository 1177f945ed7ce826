"""The view *Learn*: a kernel and its matrix, what separating saves, dilation, growing on all sides.

layers, measure -> plain values for JSON; the page only draws them
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from convarium import measure
from convarium.errors import OptionError, ShapeError
from convarium.layers import torch_layers
from convarium.measure.arguments import shown, whole
from convarium.models import catalogue

_MOST_PLACES: Final = 256  # of a picture that a kernel slides over, so that its matrix can be seen
_MOST_TAPS: Final = 49
_MOST_STEPS: Final = 4096  # of a tree that is drawn
_LETTERS: Final = ("length",), ("height", "width")
_DEEPEST: Final = 64
_SUMMED: Final = 5  # dilations that are written out


def slid(
    kernel: Sequence[Any],
    picture: Sequence[Any],
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> dict[str, Any]:
    """A kernel over a signal or a small picture: the map, its size in words, and the matrix.

    The matrix is told by its entries, row by row; the columns of a row are the places that this
    position of the map reads, also where the weight is 0.

    Args:
        kernel: numbers, in a list or in rows.
        picture: likewise.
        stride: places from one position to the next.
        padding: zeros on each side.
        dilation: places from tap to tap.

    Raises:
        ShapeError: they are no numbers of one or two axes, too many, or the kernel fits nowhere.
        OptionError: a number is not whole or out of range.

    Example:
        >>> found = slid([1, 2, 3], [0, 1, 0, 0], padding=1)
        >>> found["map"], found["matrix"]["rows"][1]
        ([3.0, 2.0, 1.0, 0.0], {'columns': [0, 1, 2], 'values': [1.0, 2.0, 3.0]})
    """
    taps, places = (
        _numbers("kernel", kernel, _MOST_TAPS),
        _numbers("picture", picture, _MOST_PLACES),
    )
    if taps.ndim != places.ndim:
        raise ShapeError(f"kernel has {taps.ndim} axes and picture {places.ndim}; give as many.")
    step, gap = whole(1, 16, stride=stride), whole(1, 16, dilation=dilation)
    zeros, sizes = whole(0, 16, padding=padding), tuple(taps.shape)
    conv = torch_layers(taps.ndim).conv
    layer = conv(1, 1, sizes, step, zeros, gap, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(taps)[None, None])
        words = _in_words(places.shape, sizes, (step, zeros, gap))
        matrix = measure.conv_matrix(layer, (1, 1, *places.shape))
        found = layer(torch.from_numpy(places)[None, None])[0, 0]
    rows = zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)
    return {
        "map": found.tolist(),
        "size": list(found.shape),
        "words": words,
        "matrix": {
            "shape": list(matrix.shape),
            "entries": int(matrix.nnz),
            "weights": taps.size,
            "rows": [
                {"columns": matrix.indices[a:b].tolist(), "values": matrix.data[a:b].tolist()}
                for a, b in rows
            ],
        },
    }


def costs(
    in_channels: int = 64, out_channels: int = 128, kernel_size: int = 3, size: int = 28
) -> dict[str, Any]:
    """What separating, stacking, narrowing and sharing weights saves, each in rows.

    Args:
        in_channels: of the map.
        out_channels: of what comes out.
        kernel_size: taps along each of the two axes.
        size: positions along each of them.

    Raises:
        OptionError: a number is not whole or out of range.

    Example:
        >>> round(costs(256, 256)["share"], 3)
        0.115
    """
    c, filters = whole(1, 4096, in_channels=in_channels), whole(1, 4096, out_channels=out_channels)
    k, side = whole(1, 15, kernel_size=kernel_size), whole(1, 512, size=size)
    inner = max(r for r in (1, 2, 4) if c % r == 0)
    tables = {
        "Depthwise and 1x1 against one convolution": measure.separable_against_standard(
            c, filters, k, size=(side, side)
        ),
        "Two small kernels against one that sees as much": measure.stack_against_kernel(
            2, k, channels=c, size=(side, side)
        ),
        f"A bottleneck of 1/{inner} against two 3x3": measure.bottleneck_against_plain(
            c, inner, size=(side, side)
        ),
        "Dense, local and shared weights": measure.connection_cost(
            (1, c, side, side), filters=filters, kernel_size=k
        ),
    }
    channels = [2**n for n in range(3, 12)]
    return {
        "tables": [
            {"title": title, "rows": [row.to_json() for row in rows]}
            for title, rows in tables.items()
        ],
        "share": measure.depthwise_cost_ratio(filters, k),
        "curve": [[n, measure.depthwise_cost_ratio(n, k)] for n in channels],
    }


def tree(
    num_layers: int = 4,
    kernel_size: int = 3,
    convs_per_layer: int = 2,
    dilation_base: int = 2,
    target: int = 100,
) -> dict[str, Any]:
    """What the last step of a temporal convolutional network sees, convolution by convolution.

    Args:
        num_layers: residual blocks.
        kernel_size: taps of each convolution.
        convs_per_layer: convolutions of a block, all with its dilation.
        dilation_base: factor from the dilation of one block to the next.
        target: steps that should be seen, for how many blocks that takes.

    Returns:
        `field` in steps, and in `words` how it adds up; `levels` from the last convolution to the
        first, each with its dilation and the steps of its input, counted back from the last, that
        matter, none where the tree is too large to be drawn; `curve` of (blocks, field); `needed`
        blocks for the target, None where no depth reaches it.

    Raises:
        OptionError: a number is not whole or out of range.

    Example:
        >>> found = tree(2, kernel_size=2, convs_per_layer=1)
        >>> found["field"], [level["steps"] for level in found["levels"]]
        (4, [[0, 2], [0, 1, 2, 3]])
    """
    deep = whole(1, _DEEPEST, num_layers=num_layers)
    whole(1, 16, kernel_size=kernel_size)
    whole(1, 4, convs_per_layer=convs_per_layer)
    whole(1, 8, dilation_base=dilation_base)
    own = {"kernel_size": kernel_size, "convs_per_layer": convs_per_layer}
    own |= {"dilation_base": dilation_base}
    field = measure.temporal_receptive_field(deep, **own)
    steps = whole(1, 2**40, target=target)
    reached = kernel_size > 1 or steps == 1
    curve = [[n, measure.temporal_receptive_field(n, **own)] for n in range(1, min(deep, 16) + 3)]
    return {
        "field": field,
        "words": f"1 + {convs_per_layer} x ({kernel_size} - 1) x ({_sum(deep, dilation_base)})",
        "levels": _levels(deep, **own) if field <= _MOST_STEPS else [],
        "curve": curve,
        "needed": measure.layers_for_receptive_field(steps, **own) if reached else None,
    }


def scaling(
    phi: float = 1.0, alpha: float = 1.2, beta: float = 1.1, gamma: float = 1.15
) -> dict[str, Any]:
    """The factors of compound scaling, what a `step` of phi costs, and the published EfficientNets.

    Args:
        phi: the coefficient.
        alpha: factor of the depth for phi = 1.
        beta: of the width.
        gamma: of the resolution.

    Raises:
        OptionError: an argument is no finite number, or a factor not above 0.

    Example:
        >>> [round(row["times"], 2) for row in scaling()["published"]][:3]
        [1.0, 1.78, 2.58]
    """
    law = [measure.compound_scaling(n, alpha, beta, gamma) for n in range(8)]
    rows = [catalogue.find(f"efficientnet_b{n}") for n in range(8)]
    return {
        "factors": measure.compound_scaling(phi, alpha, beta, gamma).to_json(),
        "step": law[1].flops,
        "published": [
            {
                "name": row["name"],
                "phi": n,
                "parameters": row["parameters"],
                "macs": row["macs"],
                "size": row["input_size"][0],
                "width": row["options"]["width_multiplier"],
                "depth": row["options"]["depth_multiplier"],
                "times": row["macs"] / rows[0]["macs"],
                "law": law[n].flops,
            }
            for n, row in enumerate(rows)
        ],
    }


def _levels(
    num_layers: int, kernel_size: int, convs_per_layer: int, dilation_base: int
) -> list[dict[str, Any]]:
    """From the last convolution to the first, the steps of its input that the last one sees."""
    seen, levels = {0}, []
    for layer in reversed(range(num_layers)):
        dilation = dilation_base**layer
        for _ in range(convs_per_layer):
            seen = {step + tap * dilation for step in seen for tap in range(kernel_size)}
            levels.append({"layer": layer + 1, "dilation": dilation, "steps": sorted(seen)})
    return levels


def _sum(layers: int, base: int) -> str:
    """The dilations as a sum; of many the first and the last.

    >>> _sum(4, 2), _sum(8, 2)
    ('1 + 2 + 4 + 8', '1 + 2 + ... + 128')
    """
    dilations = [str(base**layer) for layer in range(layers)]
    short = [*dilations[:2], "...", dilations[-1]]
    return " + ".join(dilations if layers <= _SUMMED else short)


def _numbers(name: str, given: Sequence[Any], most: int) -> NDArray[np.float64]:
    """A list of numbers, or rows of them, in double precision."""
    try:
        values = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        values = np.empty(())
    if values.ndim not in (1, 2) or not 0 < values.size <= most or not np.isfinite(values).all():
        raise ShapeError(
            f"{name} (={shown(given)}) must be a list of numbers or rows of equal length, at most "
            f"{most} numbers in all."
        )
    return values


def _in_words(places: Sequence[int], taps: Sequence[int], how: tuple[int, int, int]) -> list[str]:
    """How the size of the map comes about, a sentence an axis."""
    step, zeros, gap = how
    told = []
    for axis, n, k in zip(_LETTERS[len(places) - 1], places, taps, strict=True):
        room = n + 2 * zeros - gap * (k - 1) - 1
        if room < 0:
            raise OptionError(
                f"Along the {axis} the kernel spans {gap * (k - 1) + 1} places and there are "
                f"{n + 2 * zeros}; take a smaller kernel or dilation, or more padding."
            )
        words = f"({n} + 2 x {zeros} - {gap} x ({k} - 1) - 1) / {step}"
        told.append(f"{axis}: {words}, rounded down, + 1 = {room // step + 1}")
    return told
