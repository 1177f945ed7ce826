"""Looking at gridded fields: a coarse field, and what a run makes of it."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from convarium.data.grids.coarse import CoarseFields, open_coarse
from convarium.data.grids.options import FieldOptions
from convarium.data.grids.samples import time_name
from convarium.errors import DataError, OptionError
from convarium.predict import Run, fine_values
from convarium.predict.downscaling import names_of
from convarium.predict.fine_files import steps_of
from convarium.report.maps import Scale, field_map
from convarium.report.pictures import address, fit
from convarium.studio.desk import Desk
from convarium.studio.fine_cells import hold

_LARGEST: Final = 4_000_000  # fine cells of a field


def show_fields(desk: Desk, run: str, content: bytes, time: int = 0) -> dict[str, Any]:
    """The coarse fields of a file at one time, and the fine ones that a run makes of them.

    Args:
        desk: knows the run.
        run: its name.
        content: of a NetCDF file.
        time: which one, from 0.

    Raises:
        OptionError: the run takes no fields, or the file has no such time.
        DataError: the file does not fit the run, or is too large.
    """
    opened = desk.opened(run)
    if opened.preprocessing.kind != "grids":
        raise OptionError(f"The run takes {opened.preprocessing.kind}, and no gridded fields.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "coarse.nc")
        path.write_bytes(content)
        try:
            coarse = _coarse(opened, path)
            shown = _shown(opened, coarse, time)
            batch = coarse.batch([time])
        except DataError as error:
            raise DataError(str(error).replace(str(path), "the file")) from error
    sample = hashlib.sha256(content).hexdigest()[:16] + f"-{time}"
    hold(desk, run, sample, coarse, batch)
    return {**shown, "sample": sample}


def _coarse(run: Run, path: Path) -> CoarseFields:
    told = FieldOptions.of(cast("Mapping[str, Any]", run.columns.get("fields")))
    return open_coarse(path, steps_of(run), own=told)


def _shown(run: Run, coarse: CoarseFields, time: int) -> dict[str, Any]:
    """Pictures of each variable, coarse and fine on one scale of colours."""
    if not 0 <= time < len(coarse):
        raise OptionError(f"time (={time}) must be below {len(coarse)}, the times of the file.")
    rows, columns = coarse.grid.shape
    if rows * columns > _LARGEST:
        raise DataError(f"{rows} x {columns} fine cells are too many to look at; downscale them.")
    steps = steps_of(run)
    read = dict(zip(steps.predictors, coarse.fields.read([time])[0], strict=False))
    fine, names = fine_values(run, coarse, [time]), names_of([run])
    found = []
    for name, values in fine.items():
        variable, part = steps.classes[names[name][0]], names[name][1]
        own = None if part == "spread" else read.get(variable)  # which has a scale of its own
        unit = steps.units.get(variable, "")
        scale = Scale.of(values[0]) if own is None else Scale.of(values[0], own)
        row = {"name": name, "words": scale.words(unit), "fine": _map(values[0], scale, coarse)}
        if own is not None:
            row["coarse"] = _map(own, scale, coarse, steps.factor)
        found.append(row)
    return {
        "count": len(coarse),
        "time": time,
        "when": time_name(coarse.fields.times[time]),
        "coarse_size": list(coarse.fields.grid.shape),
        "fine_size": [*next(iter(fine.values())).shape[1:]],
        "notes": list(coarse.notes),
        "fields": found,
    }


def _map(
    values: NDArray[np.floating],
    scale: Scale,
    coarse: CoarseFields,
    factor: tuple[int, int] | None = None,
) -> str:
    """A field as a picture with the north above; a coarse one by the factor of its cells."""
    grid = coarse.grid if factor is None else coarse.fields.grid
    turned = coarse.turned and factor is None  # back, as the file has it
    latitude = grid.latitude[::-1] if turned else grid.latitude
    drawn = field_map(values, scale, "", latitude=latitude, factor=factor or (1, 1))
    return address(fit(drawn.image), quick=True)
