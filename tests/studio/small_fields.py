"""Small gridded fields, and a run that makes such fields finer."""

from __future__ import annotations

import numpy as np
import torch

from convarium import data, models
from convarium.data import GridOptions


def fields(
    path,
    count=6,
    rows=8,
    columns=12,
    *,
    step=4.0,
    engine="h5netcdf",
    rising=False,
    falling=False,
    **attributes,
):
    """Winds over some months on a grid, in a file.

    Args:
        rising: the values are the latitudes.
        falling: the latitudes are.
    """
    import xarray

    random = np.random.default_rng(count)
    latitude = 30 + step / 2 + step * np.arange(rows)[:: -1 if falling else 1]
    coords = {
        "time": xarray.date_range("2001-01-16", periods=count, freq="MS"),
        "lat": ("lat", latitude, {"units": "degrees_north"}),
        "lon": ("lon", step / 2 + step * np.arange(columns), {"units": "degrees_east"}),
    }
    values = random.normal(size=(count, rows, columns))
    values = (np.zeros_like(values) + latitude[:, None] if rising else values).astype("f4")
    units = {"units": "m/s"}
    found = xarray.Dataset({"u": (("time", "lat", "lon"), values, units)}, coords, attributes)
    found.to_netcdf(path, engine=engine)
    return path


def save_winds(folder, *, hole=None, **options):
    """A run that makes winds finer, twice along each axis, not trained.

    Args:
        hole: row and column of a fine cell that is never known.
        options: of the fields.
    """
    import xarray

    fine = fields(folder / "fine.nc", 24, 16, 24, step=2.0)
    if hole:
        with xarray.load_dataset(fine) as found:
            found.u[:, *hole] = np.nan
        found.to_netcdf(fine, engine="h5netcdf")
    dataset = data.open_dataset(str(fine), fields={"variables": ["u"], "factor": [2, 2]})
    parts = data.split(dataset)
    steps = data.fit_preprocessing(parts.train, grids=GridOptions(**{"start": "coarse", **options}))
    torch.manual_seed(0)
    keywords = {"constraint": "additive", "depth": 1, "width": 8, **steps.network_options}
    model = models.create("edsr_small", **keywords)
    steps.begin(model)
    return models.save(model, folder / "winds", data.build_card(parts, steps))
