"""What the examples of gridded fields share: where the data is, coarse files, commands."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from convarium import data
from convarium.cli import main as convarium


def data_file(name: str) -> Path:
    """A file that `make data` brings."""
    cache = os.environ.get("CONVARIUM_DATA", str(Path.home() / ".cache" / "convarium"))
    path = Path(cache).expanduser() / name
    if not path.exists():
        raise SystemExit(f"There is no {path}; run: make data")
    return path


def played(*steps: Sequence[str]) -> int:
    """Run commands of convarium; gives the exit code of the first that fails."""
    for step in steps:
        print("\n$ convarium " + shlex.join(step), flush=True)
        code = convarium(step)
        if code:
            return code
    return 0


def coarse_file(
    source: Path, names: Sequence[str], factor: tuple[int, int], path: Path, first: int, end: int
) -> Path:
    """A file of plain block means of some rows, as a coarse model might have them."""
    import xarray

    fields = data.open_fields(source, names).cut(rows=slice(first, end))
    grid = fields.grid.coarse(factor)
    columns = grid.shape[1] * factor[1]
    values = data.coarsen(fields.cut(columns=slice(0, columns)).read(range(len(fields))), factor)
    coords = {
        "time": fields.times,
        "latitude": ("latitude", grid.latitude, {"units": "degrees_north"}),
        "longitude": ("longitude", grid.longitude, {"units": "degrees_east"}),
    }
    dims = ("time", "latitude", "longitude")
    variables = {
        name: (dims, values[:, k], {"units": fields.units[name]})
        for k, name in enumerate(fields.names)
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    xarray.Dataset(variables, coords).to_netcdf(path, engine="h5netcdf")
    return path
