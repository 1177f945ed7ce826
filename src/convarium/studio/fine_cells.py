"""One cell of a field that a run made finer: which coarse cells it follows from."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convarium.data.grids.coarse import CoarseBatch, CoarseFields
from convarium.errors import OptionError, did_you_mean
from convarium.measure import effective_receptive_field, receptive_field
from convarium.predict import Run
from convarium.predict.downscaling import checked_network, names_of
from convarium.predict.of_coarse import OfCoarse
from convarium.serve.refusals import RefusedError
from convarium.studio.closer import weight_picture
from convarium.studio.desk import Desk

_MOST: Final = 300_000  # fine cells of a field that is followed back


class _Held(NamedTuple):
    """Coarse fields of one time.

    Args:
        batch: as the network takes them.
        rows: the fine ones that are shown.
        rising: whether latitudes rise, so that the north comes last.
        empty: fine cells that the training times never had, `(V, H, W)`; None where there are none.
    """

    batch: CoarseBatch
    rows: range
    rising: bool
    empty: NDArray[np.bool_] | None


def hold(desk: Desk, run: str, sample: str, coarse: CoarseFields, batch: CoarseBatch) -> None:
    """Keep coarse fields of one time for questions about their fine cells.

    Args:
        desk: keeps them.
        run: its name.
        sample: what they are called.
        coarse: the file's.
        batch: of the time.
    """
    latitude, inside = coarse.grid.latitude, coarse.rows
    rising = len(latitude) > 1 and bool(latitude[-1] > latitude[0])
    given = (batch.x, batch.mask, batch.fine, batch.weights)
    size = sum(each.nbytes for each in given if each is not None)
    held = _Held(batch, range(inside.start, inside.stop), rising, coarse.never_known())
    desk.keep(("fields", run, desk.version(run), sample), held, size)


def cell(
    desk: Desk, run: str, sample: str, row: int, column: int, name: str | None = None
) -> dict[str, Any]:
    """Which coarse cells a fine cell can depend on, and how much each of them moves it.

    Args:
        desk: keeps the fields.
        run: its name.
        sample: of `look_fields.show_fields`.
        row: of the fine cell, from 0 in the north.
        column: of the fine cell.
        name: of the field that the run makes; None takes the first.

    Raises:
        OptionError: there is no such cell or field, the run gives no value there, or the domain is
            too large to be followed.
        RefusedError: 410, the fields are no longer kept.
    """
    opened, held = desk.opened(run), desk.known(("fields", run, desk.version(run), sample))
    if not isinstance(held, _Held):
        raise RefusedError(
            410, "forgotten", "The studio no longer holds these fields; load them again."
        )
    alone, name = _alone(opened, held, name)
    x, rows = held.batch.x, held.rows
    _check(row, column, len(rows), x.shape[-1] * alone.network.factor[-1])
    place = (rows[-1 - row if held.rising else row], column)
    if held.empty is not None and held.empty[names_of([opened])[name][0], *place]:
        raise OptionError(
            f"The training times never had a value of {name} at row {row}, column {column}, so the "
            "run gives none there; ask about a cell that is not grey."
        )
    found = effective_receptive_field(alone, x, position=place)
    key = ("fine cells", run, desk.version(run), tuple(x.shape), name)  # of all times and files
    whole = desk.kept(key, lambda: receptive_field(alone, tuple(x.shape)))
    values = found.values.numpy()
    box = [[each.start, each.stop] for each in found.box]
    if held.rising:
        values = values[::-1]
        box[:1] = [[len(values) - stop, len(values) - start] for start, stop in box[:1]]
    return {
        "name": name,
        "position": [row, column],
        "size": list(whole.size),
        "box": box,
        "area_50": found.area_50,
        "area_95": found.area_95,
        "places": found.theoretical,
        "picture": weight_picture(values),
    }


def _alone(run: Run, held: _Held, name: str | None) -> tuple[OfCoarse, str]:
    """The run as a function of the coarse fields, and the name of what it makes.

    Raises:
        OptionError: it makes no such field.
    """
    names = names_of([run])
    name = next(iter(names)) if name is None else name
    if name not in names:
        raise OptionError(f"The run makes no field {name!r}.{did_you_mean(name, names)}")
    return OfCoarse(checked_network(run), held.batch, *names[name]), name


def _check(row: int, column: int, rows: int, columns: int) -> None:
    """Refuse a cell that is not there, or a domain that takes too long.

    Raises:
        OptionError: so.
    """
    if rows * columns > _MOST:
        raise OptionError(
            f"{rows} x {columns} fine cells are too many to follow one of them back; give fields "
            "of a smaller domain."
        )
    if not (0 <= row < rows and 0 <= column < columns):
        raise OptionError(f"row and column (={row}, {column}) must be below {rows} and {columns}.")
