"""Gridded files as a data set: what is made finer, from which fields, and where."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from convarium.data.dataset import Dataset
from convarium.data.grids import grib
from convarium.data.grids.fields import Fields
from convarium.data.grids.opening import HERE, open_fields
from convarium.data.grids.options import FieldOptions
from convarium.data.grids.pairs import FieldPairs, model_pairs, perfect_pairs
from convarium.data.grids.reading import axes_of, is_xarray
from convarium.data.grids.samples import GridSamples
from convarium.errors import OptionError

TASK: Final = "downscale"
SUFFIXES: Final = (".nc", ".nc4", ".cdf", ".netcdf", ".zarr", *grib.SUFFIXES)


def is_grid(source: object) -> bool:
    """Whether a path is one of a gridded file by its name, or a Zarr folder; or data of xarray.

    >>> is_grid("winds.nc"), is_grid("photos")
    (True, False)
    """
    if is_xarray(source):
        return True
    path = Path(str(source))
    if path.suffix.lower() in SUFFIXES:
        return True
    return any((path / name).exists() for name in ("zarr.json", ".zmetadata", ".zgroup"))


def refuse_columns(kind: str | None, named: Sequence[str | None]) -> None:
    """Refuse columns of a table, and other kinds: a gridded file has variables.

    Raises:
        OptionError: one is named.
    """
    column = next(filter(None, named), None)
    if kind not in (None, "grids") or column is not None:
        raise OptionError(
            f"{f'The column {column!r}' if column else kind} does not belong to gridded fields; "
            "leave it out, and name variables."
        )


def open_grids(source: Any, fields: FieldOptions | Mapping[str, Any] | None) -> Dataset:
    """Pairs of coarse and fine fields, a sample a time.

    Args:
        source: the fine fields, from which coarse ones are made; or a model's coarse fields, where
            the options name the file of fine ones. As `open_fields` takes it.
        fields: what is read and where.

    Raises:
        DataError: a file cannot be read or used, or units, cells or times do not fit.
        OptionError: no such variable, or no factor where one is needed.
    """
    options = FieldOptions.of(fields)
    wanted = [*options.variables, *(n for n in options.predictors if n not in options.variables)]
    named = HERE if is_xarray(source) else str(source)
    both = [] if options.fine is None else [{*axes_of(each)} for each in (source, options.fine)]
    opened = open_fields(
        source, wanted or None, **_reading(options, both[1] - both[0] if both else ())
    )
    targets = _targets(opened, options, named)
    pairs, notes = _pairs(opened, targets, options, both[0] - both[1] if both else ())
    samples = GridSamples(pairs)
    mapping = options.to_mapping()
    return Dataset(
        samples,
        source=named,
        task=TASK,
        classes=targets,
        targets=samples.told[1],
        units=[pairs.fine.units[name] for name in targets],
        mirrored=False,
        columns={"fields": mapping} if mapping else {},
        notes=(*opened.notes, *notes),
    )


def _targets(opened: Fields, options: FieldOptions, source: str) -> tuple[str, ...]:
    """The variables that are made finer, as the file writes them."""
    if options.variables:
        return opened.names[: len(options.variables)]
    others = {name.lower() for name in options.predictors}
    found = tuple(name for name in opened.names if name.lower() not in others)
    if len(found) != 1:
        raise OptionError(
            f"{source} has the variables {', '.join(opened.names)}; say which is made finer, for "
            f"example --variable {opened.names[0]}."
        )
    return found


def _reading(options: FieldOptions, elsewhere: Collection[str] = ()) -> dict[str, Any]:
    """Keywords of `open_fields` for a file, without what is said of axes that only another has."""
    axes = {kind: None if name in elsewhere else name for kind, name in options.axes.items()}
    chosen = {name: value for name, value in options.chosen.items() if name not in elsewhere}
    return {"select": chosen, **axes}


def _pairs(
    opened: Fields,
    targets: tuple[str, ...],
    options: FieldOptions,
    elsewhere: Collection[str],
) -> tuple[FieldPairs, list[str]]:
    """The pairs, and notes of what was left out."""
    if options.fine is not None:
        fine = open_fields(options.fine, targets, **_reading(options, elsewhere))
        names = {name.lower(): name for name in fine.names}
        region = _cut(fine.only([names[name.lower()] for name in targets]), options)
        pairs = model_pairs(opened, region, targets, weighted=options.weighted)
        if options.factor is not None and options.factor != pairs.factor:
            raise OptionError(
                f"factor (={options.factor}) is {pairs.factor} by the cells of both files; leave "
                "it out."
            )
        notes = [*fine.notes, *_left_out("times of the fine fields", len(fine), len(pairs))]
        return pairs, [*notes, *_cut_off(region, pairs, "have no coarse cell")]
    if options.factor is None:
        raise OptionError(
            "factor (=None) must say how many fine cells a coarse one has: --factor 4; or give the "
            "fine fields of a model's coarse ones: --fine FILE."
        )
    region = _cut(opened, options)
    pairs = perfect_pairs(region, options.factor, targets, weighted=options.weighted)
    return pairs, _cut_off(region, pairs, "fill no block")


def _cut(fields: Fields, options: FieldOptions) -> Fields:
    """The region, or the rows and columns, that were asked for."""
    if options.region is not None:
        south, north, west, east = options.region
        fields = fields.region(south, north, west, east)
    for name, count in zip(("rows", "columns"), fields.grid.shape, strict=True):
        span = getattr(options, name)
        if span is not None and span[1] > count:
            raise OptionError(f"{name} (={span}) must end within the {count} that there are.")
    rows, columns = (slice(*(span or (None,))) for span in (options.rows, options.columns))
    return fields.cut(rows, columns)


def _cut_off(region: Fields, pairs: FieldPairs, why: str) -> list[str]:
    """Notes of the rows and columns that are not among the pairs."""
    sizes = zip(("rows", "columns"), region.grid.shape, pairs.fine.grid.shape, strict=True)
    return [note for each in sizes for note in _left_out(*each, why)]


def _left_out(word: str, count: int, kept: int, why: str = "have no coarse field") -> list[str]:
    return [] if count == kept else [f"{count - kept} of {count} {word} {why} and are left out."]
