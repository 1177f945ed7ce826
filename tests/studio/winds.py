"""Small fields of wind, and a run that makes them finer."""

from __future__ import annotations

import numpy as np
import torch

from convarium import data, models
from convarium.data import GridOptions


def written(path, rows, columns, step, *, count=3, falling=False):
    """A field that rises to the north, some times."""
    import xarray

    latitude = 30 + step / 2 + step * np.arange(rows)[:: -1 if falling else 1]
    coords = {
        "time": xarray.date_range("2001-01-16", periods=count, freq="MS"),
        "lat": ("lat", latitude, {"units": "degrees_north"}),
        "lon": ("lon", step / 2 + step * np.arange(columns), {"units": "degrees_east"}),
    }
    values = np.broadcast_to(latitude[:, None], (count, rows, columns)).astype("f4")
    field = xarray.DataArray(values, coords, ("time", "lat", "lon"), "u", {"units": "m/s"})
    field.to_dataset().to_netcdf(path, engine="h5netcdf")
    return path


def save_wind(folder):
    """A run whose network gives each coarse cell's value to its fine cells."""
    fine = written(folder / "fine.nc", 16, 24, 2.0, count=8)
    dataset = data.open_dataset(str(fine), fields={"variables": ["u"], "factor": [2, 2]})
    parts = data.split(dataset, validation=1, test=1)
    steps = data.fit_preprocessing(parts.train, grids=GridOptions(start="coarse"))
    torch.manual_seed(0)
    options = {"constraint": "additive", "depth": 1, "width": 8, **steps.network_options}
    model = models.create("edsr_small", **options)
    steps.begin(model)
    return models.save(model, folder / "wind", data.build_card(parts, steps))
