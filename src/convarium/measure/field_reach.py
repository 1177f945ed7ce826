"""How many coarse cells a network of fields sees around one, in cells and in kilometres."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from torch import Tensor, nn

from convarium.data import FieldPreprocessing
from convarium.data.grids.grid import step_of
from convarium.errors import ConvariumError, OptionError
from convarium.measure.field import receptive_field
from convarium.models import FieldToField
from convarium.predict import Run, Tiling
from convarium.predict.downscaling import checked_network

_SIDE: Final = 256  # coarse cells of the field that is followed; nothing is computed
EARTH_KM: Final = 6371.0  # mean radius


class CoarseOnly(nn.Module):
    """A network of fields without its places, that reads coarse fields alone: the others are 0.

    Args:
        network: stays as it is.

    Shape:
        (B, C, *S) -> (B, P T, *F)
    """

    def __init__(self, network: FieldToField) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, *S) to the network's fields."""
        channels = self.network.reader.fine_channels
        fine = None
        if channels:
            sizes = [n * r for n, r in zip(x.shape[2:], self.network.factor, strict=True)]
            fine = x.new_zeros(len(x), channels, *sizes)
        found = self.network.head(self.network.finer(x, None, fine))
        return self.network.written(found, x, None, fine, None)


def reach_of(network: FieldToField) -> tuple[int, int] | None:
    """Coarse cells beyond its own that a fine cell can depend on, along each axis.

    Args:
        network: of two axes.

    Returns:
        None where it sees the whole field, or knows one domain only.

    Example:
        >>> from convarium.models import create
        >>> reach_of(create("espcn", factor=2))
        (5, 5)
    """
    if network.reader.cells is not None:
        return None
    side = _SIDE * getattr(network, "smallest_input", 1)
    try:
        field = receptive_field(CoarseOnly(network), (1, network.in_channels, side, side))
    except ConvariumError:
        return None
    if len(field.size) != 2 or max(field.size) >= side:
        return None
    least = 0 if network.places is None else network.places.local.kernel_size // 2
    rows, columns = (max(least, math.ceil(size / 2)) for size in field.size)
    return rows, columns


def reach_in_words(network: FieldToField, steps: FieldPreprocessing) -> str:
    """How far a network of fields sees, in coarse cells and in kilometres.

    Args:
        network: of a run.
        steps: its preprocessing, which knows the grid.
    """
    found = reach_of(network)
    if found is None:
        return "each fine cell may depend on the whole field"
    grid = steps.grid.coarse(steps.factor)
    middle = float(grid.latitude[len(grid.latitude) // 2])
    rows, columns = (2 * n + 1 for n in found)
    tall = kilometres(rows, step_of(grid.latitude))
    wide = kilometres(columns, step_of(grid.longitude), middle)
    return (
        f"{rows} x {columns} coarse cells at most: {tall:,.0f} km from north to south and "
        f"{wide:,.0f} km along {middle:.0f} degrees of latitude"
    )


def kilometres(cells: int, degrees: float, latitude: float | None = None) -> float:
    """The length of some cells: along a meridian, or along the circle of a latitude.

    >>> round(kilometres(1, 1.0)), round(kilometres(1, 1.0, 60.0))
    (111, 56)
    """
    around = 1.0 if latitude is None else math.cos(math.radians(latitude))
    return cells * abs(degrees) * math.pi / 180 * EARTH_KM * around


def tiling_of(runs: Sequence[Run], size: int | None) -> Tiling:
    """Tiles of a size, with as many cells around them as the networks see.

    Args:
        runs: of the networks.
        size: of tiles in coarse cells; None divides large fields alone.

    Raises:
        OptionError: tiles are asked for, and a network sees the whole field.
    """
    networks = [checked_network(run) for run in runs]
    reaches = [reach_of(network) for network in networks]
    if None in reaches:
        if size is not None:
            where = runs[reaches.index(None)].folder
            raise OptionError(f"The network in {where} sees the whole field; leave --tile out.")
        return Tiling()
    known = [each for each in reaches if each is not None]
    halo = max(rows for rows, _ in known), max(columns for _, columns in known)
    multiple = max(getattr(network, "smallest_input", 1) for network in networks)
    return Tiling(size, halo, multiple)
