"""From a coarse file to a fine one by the command: how long it takes, and how much memory.

Two jobs, each `convarium downscale` in a process of its own, from its start to its end: `many` is
N fields of 16 x 16 cells to 64 x 64, by the network that `train` chooses for them, with its means
and the maps of its places; `large` is fields of 500 x 1000 cells to 2,000 x 4,000, in tiles, by a
network that serves any domain. The networks are trained for one epoch on smooth random fields,
since weights change neither time nor memory. Memory is the largest resident set that the system
reports of the process. Beside `many` stands bicubic interpolation by SciPy of the same fields in
memory, which reads and writes no file.

Bounds: 10,000 fields in 30 seconds; a field of 2,000 x 4,000 in 2 GB.

Run: python benchmarks/downscaling.py [FIELDS [ROWS COLUMNS [TIMES]]]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray
from numpy.typing import NDArray
from scipy import ndimage

from harness import seconds, write

FACTOR, SIDE, TRAINED = 4, 16, 48
BOUNDS = {"seconds_of_10000": 30.0, "bytes": 2e9}


def smooth(count: int, rows: int, columns: int, *, sigma: float = 2.0) -> NDArray[np.float32]:
    """Random fields without sharp edges, with a deviation of about 1."""
    random = np.random.default_rng(0)
    fields = random.normal(size=(count, rows, columns)).astype("f4")
    found = ndimage.gaussian_filter(fields, (0, sigma, sigma), mode="nearest")
    return found / found.std()


def write_fields(path: Path, values: NDArray[np.float32], step: float) -> None:
    """A file of fields around the equator, a day each."""
    count, rows, columns = values.shape
    degrees = step * (np.arange(max(rows, columns)) + 0.5)
    coords = {
        "time": xarray.date_range("1990-01-01", periods=count, freq="D"),
        "lat": ("lat", degrees[:rows] - degrees[:rows].mean(), {"units": "degrees_north"}),
        "lon": ("lon", degrees[:columns], {"units": "degrees_east"}),
    }
    field = xarray.DataArray(values, coords, ("time", "lat", "lon"), "u", {"units": "m/s"})
    field.to_dataset().to_netcdf(path, engine="h5netcdf")


def job(*words: str) -> dict[str, float]:
    """Run the command; wall time and the largest resident set of its process."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "convarium", *words], stdout=told, stderr=told
        )
        _, status, used = os.wait4(process.pid, 0)
        if status:
            told.seek(0)
            raise SystemExit(told.read().decode())
    return {"seconds": time.perf_counter() - started, "bytes": used.ru_maxrss * 1024.0}


def trained(folder: Path, name: str, rows: int, columns: int, *more: str) -> Path:
    """A run of a few fine fields."""
    path, run = folder / f"{name}.nc", folder / name
    write_fields(path, smooth(TRAINED, FACTOR * rows, FACTOR * columns), 0.5)
    words = ["train", str(path), "--task", "downscale", "--factor", str(FACTOR), "--epochs", "1"]
    job(*words, "--validation", "8", "--test", "8", "--out", str(run), *more)
    return run


def many(folder: Path, count: int) -> dict[str, Any]:
    """Many small fields of the domain that the network knows."""
    run = trained(folder, "many", SIDE, SIDE)
    coarse = smooth(count, SIDE, SIDE, sigma=1.0)
    write_fields(folder / "coarse.nc", coarse, 0.5 * FACTOR)
    found = job("downscale", str(run), str(folder / "coarse.nc"), "-o", str(folder / "fine.nc"))
    zoom = seconds(lambda: [ndimage.zoom(field, FACTOR, order=3) for field in coarse])
    return {"fields": count, "cells": [FACTOR * SIDE] * 2, **found, "scipy_zoom_seconds": zoom}


def large(folder: Path, rows: int, columns: int, count: int) -> dict[str, Any]:
    """Large fields, by a network that serves any domain."""
    run = trained(folder, "large", SIDE, SIDE, "--start", "coarse")
    write_fields(folder / "wide.nc", smooth(count, rows, columns), 0.2)
    target = str(folder / "wide.zarr")
    found = job("downscale", str(run), str(folder / "wide.nc"), "-o", target)
    return {"fields": count, "cells": [FACTOR * rows, FACTOR * columns], **found}


def main(fields: int, rows: int, columns: int, times: int) -> int:
    """Measure both jobs, write the result, say whether they keep the bounds."""
    with tempfile.TemporaryDirectory() as folder:
        few = many(Path(folder), fields)
        wide = large(Path(folder), rows, columns, times)
    in_time = few["seconds"] * 10_000 <= BOUNDS["seconds_of_10000"] * max(few["fields"], 10_000)
    holds = in_time and wide["bytes"] <= BOUNDS["bytes"]
    result = {"many": few, "large": wide, "bounds": BOUNDS, "holds": holds}
    path = write("downscaling", result, packages=("xarray", "h5netcdf", "zarr", "scipy"))
    for name, found in (("many", few), ("large", wide)):
        cells = " x ".join(map(str, found["cells"]))
        print(
            f"{name}: {found['fields']} fields of {cells} cells in {found['seconds']:.1f} s, "
            f"{found['bytes'] / 1e9:.2f} GB"
        )
    print(f"written: {path}; {'within' if holds else 'beyond'} the bounds")
    return 0 if holds else 1


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*given, *(10_000, 500, 1_000, 2)[len(given) :]))
