"""The view *Learn*: a picture that is dragged, and maps that move with it, or do not after strides.

picture, shift -> convolutions with strides, pools or blurs -> f(x), f(Tx), T'f(x), and the error
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor, nn

from convarium import measure
from convarium.layers import BlurPool
from convarium.measure.arguments import one_of, whole

SIDE: Final = 64  # of the picture; what is drawn in it keeps clear of the border
FARTHEST: Final = 8  # places that it can be dragged
LEVELS: Final = 3

_KERNELS: Final[Mapping[str, tuple[float, ...]]] = MappingProxyType(
    {
        "nothing": (0, 0, 0, 0, 1, 0, 0, 0, 0),
        "blur": tuple(n / 16 for n in (1, 2, 1, 2, 4, 2, 1, 2, 1)),
        "edges": (0, -1, 0, -1, 4, -1, 0, -1, 0),
    }
)


def moved(
    down: int = 0,
    right: int = 0,
    *,
    picture: str = "ring",
    kernel: str = "blur",
    halving: str = "stride",
    levels: int = 2,
) -> dict[str, Any]:
    """The maps of a picture, of the same picture moved, and how far these are from the first moved.

    Where the shift is no multiple of a map's stride, the map can only be moved by the nearest whole
    number of positions; `exact` says so.

    Args:
        down: places that the picture is moved down.
        right: to the right.
        picture: ring, stripes or letter.
        kernel: of the convolution of each level: nothing, blur or edges.
        halving: what halves the map at each level: stride, max, blur or none.
        levels: how many of them.

    Returns:
        The picture moved, and a map a level, each with its stride, its values, those of the
        unmoved picture's map moved along, ||f(Tx) - T'f(x)|| / ||f(x)||, and by which share the sum
        of the values changes, which no shift of a map could do.

    Raises:
        OptionError: an option is not allowed.

    Example:
        >>> [round(level["error"], 3) for level in moved(0, 4)["levels"]]
        [0.0, 0.0]
        >>> gone = moved(0, 1, picture="stripes", kernel="nothing", levels=1)["levels"][0]
        >>> gone["exact"], gone["change"]
        (False, 1.0)
    """
    one_of(PICTURES, picture=picture)
    steps = [whole(-FARTHEST, FARTHEST, down=down), whole(-FARTHEST, FARTHEST, right=right)]
    x = PICTURES[picture]()[None, None]
    moved_x = x.roll(steps, (2, 3))
    network, before, after = chain(kernel, halving, levels), x, moved_x
    found = []
    with torch.no_grad():
        for number, level in enumerate(network, 1):
            before, after = level(before), level(after)
            stride = SIDE // before.shape[-1]
            whole_steps = [round(step / stride) for step in steps]
            expected = before.roll(whole_steps, (2, 3))
            found.append(
                {
                    "name": f"level {number}",
                    "stride": stride,
                    "map": _rounded(after),
                    "expected": _rounded(expected),
                    "error": _error(after, expected),
                    "change": _change(float(before.abs().sum()), float(after.abs().sum())),
                    "exact": not any(step % stride for step in steps),
                }
            )
    return {"picture": _rounded(moved_x), "levels": found}


def follows(
    *, picture: str = "ring", kernel: str = "blur", halving: str = "stride", levels: int = 2
) -> dict[str, Any]:
    """For each shift to the right, how far the last map is from moving with the picture.

    Args:
        picture: as `moved` takes it.
        kernel: likewise.
        halving: likewise.
        levels: likewise.

    Returns:
        The least shift that every level follows exactly, as `measure.equivariance` finds it, and
        (shift, error) for each shift up to the farthest.

    Raises:
        OptionError: an option is not allowed.
    """
    one_of(PICTURES, picture=picture)
    network = chain(kernel, halving, levels)
    x = PICTURES[picture]()[None, None]
    least = max(measure.equivariance(network, x).amount)
    curve = []
    for shift in range(FARTHEST + 1):
        told = moved(0, shift, picture=picture, kernel=kernel, halving=halving, levels=levels)
        curve.append([shift, told["levels"][-1]["error"]])
    return {"least": least, "curve": curve}


def chain(kernel: str, halving: str, levels: int) -> nn.Sequential:
    """Levels of one convolution each and what halves the map behind it.

    Raises:
        OptionError: an option is not allowed.
    """
    one_of(_KERNELS, kernel=kernel)
    one_of(_HALVINGS, halving=halving)
    taps = torch.tensor(_KERNELS[kernel]).reshape(1, 1, 3, 3)
    built = []
    for _ in range(whole(1, LEVELS, levels=levels)):
        conv = nn.Conv2d(1, 1, 3, 2 if halving == "stride" else 1, padding=1, bias=False)
        with torch.no_grad():
            conv.weight.copy_(taps)
        built.append(nn.Sequential(conv, *_HALVINGS[halving]()))
    return nn.Sequential(*built).eval()


def _ring() -> Tensor:
    """A circle of a thick line."""
    places = torch.arange(SIDE) - (SIDE - 1) / 2
    distance = torch.hypot(places[:, None], places[None])
    return (1.5 - (distance - 8).abs()).clamp(0, 1)


def _stripes() -> Tensor:
    """Lines of one place, one place apart: the finest that there is."""
    image = torch.zeros(SIDE, SIDE)
    image[24:40, 24:40:2] = 1
    return image


def _letter() -> Tensor:
    """A letter F of straight lines."""
    image = torch.zeros(SIDE, SIDE)
    image[23:41, 26:29] = image[23:26, 26:38] = image[30:33, 26:35] = 1
    return image


PICTURES: Final[Mapping[str, Callable[[], Tensor]]] = MappingProxyType(
    {"ring": _ring, "stripes": _stripes, "letter": _letter}
)
_HALVINGS: Final[Mapping[str, Callable[[], list[nn.Module]]]] = MappingProxyType(
    {
        "stride": list,
        "max": lambda: [nn.MaxPool2d(2)],
        "blur": lambda: [BlurPool(2)],
        "none": list,
    }
)


def _error(found: Tensor, expected: Tensor) -> float:
    """||f(Tx) - T'f(x)|| / ||f(x)||; 0 where both are nothing, 1 where only f(x) is."""
    norm, distance = float(expected.norm()), float((found - expected).norm())
    return distance / norm if norm else float(distance > 0)


def _change(before: float, after: float) -> float:
    """By which share a sum changes."""
    return abs(after - before) / before if before else float(after > 0)


def _rounded(y: Tensor) -> list[list[float]]:
    """The values of a map, short enough to be sent at every move of a hand."""
    rows: list[list[float]] = y[0, 0].tolist()
    return [[round(value, 3) for value in row] for row in rows]
