"""Fine fields on disk: pieces that a stopped job goes on with, then one NetCDF file or Zarr folder.

    OUT.parts/ about.json  000000.npy  000001.npy ...  ->  OUT

A piece gets its name when it is whole; the file is put together from all, compressed and in chunks,
and takes its name last. Any other tool reads it: axes, dates and attributes are as CF has them.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from convarium import files
from convarium.data.grids.fields import Values
from convarium.data.grids.grid import Grid
from convarium.data.grids.reading import EXTRA
from convarium.errors import OptionError, RunError, import_extra

_NETCDF: Final = (".nc", ".nc4")
_CHUNK: Final = 2**18  # numbers of a chunk, about
_ABOUT: Final = "about.json"
_OWN: Final = re.compile(r"about\.json|\d{6,}\.npy|\..*\.tmp")  # files of a job, and half-written
_OF_ZARR: Final = ("zarr.json", ".zgroup", ".zattrs", ".zmetadata")
_LEVEL: Final = 1  # of zlib, behind a shuffle of bytes


@dataclass(frozen=True, eq=False)
class FineFile:
    """What is written besides the numbers.

    Args:
        path: ends in .nc or .zarr.
        times: dates or numbers, (n,).
        axis: attributes of the time axis, with the units and the calendar of the coarse file.
        grid: the fine cells.
        variables: by name, their attributes.
        attributes: of the whole file.

    Raises:
        OptionError: the name ends in nothing that can be written.
    """

    path: Path
    times: NDArray[Any]
    axis: Mapping[str, Any]
    grid: Grid
    variables: Mapping[str, Mapping[str, Any]]
    attributes: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.path.suffix.lower() not in (*_NETCDF, ".zarr"):
            raise OptionError(f"{self.path} must end in .nc or .zarr, which fields are written to.")
        if self.path.is_dir() and not any((self.path / name).exists() for name in _OF_ZARR):
            raise OptionError(f"{self.path} is a folder of something else; choose another -o.")

    def write(self, pieces: Iterator[tuple[int, Values]]) -> None:
        """Write the file, atomically; what it replaces goes when it is there.

        Args:
            pieces: the number of the first time, and the fields of some times, `(n, V, H, W)`, in
                the order of the variables.

        Raises:
            RunError: the disk is full, or the place cannot be written.
        """
        zarr = self.path.suffix.lower() == ".zarr"
        old = self.path.with_name(f".{self.path.name}.old")
        with files.atomic(self.path) as temporary:
            template = axes_as_dataset(self.times, self.axis, self.grid, self.attributes)
            if zarr:
                template.to_zarr(temporary, zarr_format=2, consolidated=False)
                self._to_zarr(temporary, pieces)
            else:
                template.to_netcdf(temporary, engine="h5netcdf")
                self._to_netcdf(temporary, pieces)
            if self.path.is_dir():
                shutil.rmtree(old, ignore_errors=True)
                self.path.rename(old)
        shutil.rmtree(old, ignore_errors=True)

    @property
    def count(self) -> int:
        """Number of times."""
        return len(self.times)

    @property
    def _chunks(self) -> tuple[int, int, int]:
        rows, columns = self.grid.shape
        return (
            max(1, min(self.count, _CHUNK // (rows * columns))),
            min(rows, 512),
            min(columns, 512),
        )

    def _to_netcdf(self, path: Path, pieces: Iterator[tuple[int, Values]]) -> None:
        h5netcdf = import_extra("h5netcdf", EXTRA)
        shape = (self.count, *self.grid.shape)
        with h5netcdf.File(path, "a") as file:
            made = []
            for name, attributes in self.variables.items():
                variable = file.create_variable(
                    name,
                    ("time", "latitude", "longitude"),
                    "f4",
                    fillvalue=np.float32(np.nan),
                    chunks=_fitting(self._chunks, shape),
                    compression="gzip",
                    compression_opts=_LEVEL,
                    shuffle=True,
                )
                variable.attrs.update(attributes)
                made.append(variable)
            for start, fields in pieces:
                for k, variable in enumerate(made):
                    variable[start : start + len(fields)] = fields[:, k]

    def _to_zarr(self, path: Path, pieces: Iterator[tuple[int, Values]]) -> None:
        zarr = import_extra("zarr", EXTRA)
        shape = (self.count, *self.grid.shape)
        group = zarr.open_group(path, mode="a", zarr_format=2)
        made = []
        for name, attributes in self.variables.items():
            array = group.create_array(
                name,
                shape=shape,
                dtype="f4",
                chunks=_fitting(self._chunks, shape),
                fill_value=np.nan,
            )
            array.attrs.update(
                {**attributes, "_ARRAY_DIMENSIONS": ["time", "latitude", "longitude"]}
            )
            made.append(array)
        for start, fields in pieces:
            for k, array in enumerate(made):
                array[start : start + len(fields)] = fields[:, k]
        zarr.consolidate_metadata(str(path))


def axes_as_dataset(
    times: NDArray[Any], axis: Mapping[str, Any], grid: Grid, attributes: Mapping[str, Any]
) -> Any:
    """Axes and attributes of fine fields as a data set of xarray without variables.

    Args:
        times, axis, grid, attributes: as `FineFile` has them.

    Raises:
        MissingExtraError: xarray is not installed.
    """
    xarray = import_extra("xarray", EXTRA)
    names = {"latitude": "degrees_north", "longitude": "degrees_east"}
    coords = {
        name: (name, getattr(grid, name), {"units": unit, "standard_name": name})
        for name, unit in names.items()
    }
    dated = times.dtype.kind in "MO"
    own = {k: v for k, v in axis.items() if not (dated and k in ("units", "calendar"))}
    coords["time"] = ("time", times, own)
    found = xarray.Dataset(coords=coords, attrs=dict(attributes))
    if dated:
        named = {k: v for k, v in axis.items() if k not in own}
        found["time"].encoding |= named | {"dtype": "float64"}
    return found


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the name of a result for one job; what a killed one left half-written is removed.

    Raises:
        RunError: another process is writing it, or the place cannot be written.
    """
    import filelock

    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"), blocking=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout as error:
        raise RunError(f"Another process is writing {path}; choose another -o.") from error
    except OSError as error:
        raise files.not_written(path, error) from error
    try:
        for leftover in path.parent.glob(f".{path.name}.*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield
    finally:
        lock.release()


class Pieces:
    """The pieces of a job, in a folder beside its result.

    Args:
        path: of the result.
        about: what tells this job from others, as JSON; the pieces of another one are removed.
        starts: the first time of each piece.

    Raises:
        OptionError: in the folder is something else than pieces.
    """

    def __init__(self, path: Path, about: Mapping[str, Any], starts: Sequence[int]) -> None:
        self.folder = path.with_name(f"{path.name}.parts")
        self.starts, self.about = list(starts), dict(about)
        file = self.folder / _ABOUT
        if not self.folder.exists():
            return
        inside = self.folder.iterdir() if self.folder.is_dir() else [self.folder]
        others = [at.name for at in inside if not _OWN.fullmatch(at.name)]
        if others:
            raise OptionError(
                f"{self.folder} is for the pieces of a stopped job, and has {others[0]}; move it "
                "away, or choose another -o."
            )
        if not file.exists() or files.read_json(file) != self.about:
            shutil.rmtree(self.folder)

    def missing(self) -> list[int]:
        """The numbers of the pieces that are not there yet."""
        return [k for k in range(len(self.starts)) if not self._file(k).exists()]

    def keep(self, k: int, fields: Values) -> None:
        """Write piece number k.

        Raises:
            RunError: it cannot be written.
        """
        if not self.folder.exists():
            try:
                self.folder.mkdir(parents=True)
            except OSError as error:
                raise files.not_written(self.folder, error) from error
            files.write_json(self.folder / _ABOUT, self.about)
        data = io.BytesIO()
        np.save(data, fields)
        files.write_bytes(self._file(k), data.getvalue())

    def __iter__(self) -> Iterator[tuple[int, Values]]:
        for k, start in enumerate(self.starts):
            yield start, np.load(self._file(k))

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, k: int) -> Path:
        return self.folder / f"{k:06}.npy"


def _fitting(chunks: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Chunks that are not larger than the array."""
    return tuple(max(1, min(pair)) for pair in zip(chunks, shape, strict=True))
