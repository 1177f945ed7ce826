"""The arguments of gridded fields: what is read, what a network gets of it, and what it gives."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from convarium.cli.parsing import Parser, natural, positive
from convarium.errors import OptionError

if TYPE_CHECKING:
    from convarium.data import Dataset, GridOptions

_READ: Final = ("predictors", "factor", "fine", "weighted", "select", "region", "rows", "columns")
_DEGREES: Final[dict[str, Any]] = {
    "nargs": 4,
    "type": float,
    "metavar": ("SOUTH", "NORTH", "WEST", "EAST"),
}
_AXES: Final = ("latitude", "longitude", "time")
# options of `data.GridOptions` by the flags that say them
FIELDS: Final = {
    name: name
    for name in (
        *("season", "start", "means", "static", "static_variables", "cells", "places"),
        *("outputs", "levels"),
    )
}


def add_field_arguments(parser: Any) -> None:
    """What is read of a gridded file, and where."""
    group = parser.add_argument_group("gridded fields", "NetCDF and Zarr, with --task downscale")
    group.add_argument(
        "--variable", action="append", help="what is made finer; may be given several times"
    )
    group.add_argument("--predictors", nargs="+", metavar="NAME", help="what is read besides")
    group.add_argument(
        "--factor",
        nargs="+",
        type=positive,
        metavar="N",
        help="fine cells per coarse one: one number, or rows and columns",
    )
    group.add_argument(
        "--fine", metavar="FILE", help="fine observations, where DATA is a model's coarse fields"
    )
    group.add_argument(
        "--weighted",
        action=argparse.BooleanOptionalAction,
        help="block means by the areas of cells (yes)",
    )
    group.add_argument("--region", **_DEGREES, help="degrees that the cells lie within (all)")
    for name in ("rows", "columns"):
        group.add_argument(
            f"--{name}", type=span, metavar="FIRST:END", help=f"{name} of the fine grid (all)"
        )
    add_axis_arguments(group)


def add_held_out(parser: Any, told: str) -> None:
    """The region that a test is of."""
    parser.add_argument("--held-out", **_DEGREES, help=told)


def add_axis_arguments(parser: Any) -> None:
    """Which axes a gridded file has, where that is not plain."""
    parser.add_argument(
        "--select", action="append", metavar="AXIS=N", help="value of a further axis: level=850"
    )
    parser.add_argument(
        "--axis",
        action="append",
        metavar="KIND=NAME",
        help="name of the axis latitude, longitude or time, where it is not a usual one",
    )


def given_fields(values: argparse.Namespace) -> dict[str, Any] | None:
    """What was said about fields, as `FieldOptions` takes it; None where nothing was.

    Raises:
        OptionError: a factor of more than two numbers, or an axis of another kind.
    """
    given = {name: getattr(values, name, None) for name in _READ}
    found: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if getattr(values, "variable", None):
        found["variables"] = values.variable
    if "factor" in found:
        if len(found["factor"]) > 2:
            raise OptionError(f"--factor (={found['factor']}) is one number, or rows and columns.")
        found["factor"] = (2 * found["factor"])[:2]
    for text in getattr(values, "axis", None) or ():
        kind, _, name = text.partition("=")
        if kind not in _AXES or not name:
            raise OptionError(f"--axis {text!r} must look like latitude=NAME, longitude or time.")
        found[kind] = name
    if not found:
        return None
    from convarium.data import FieldOptions

    return FieldOptions.of(found).to_mapping()


def add_field_preparing(parser: Parser) -> None:
    """What a network of fields gets beside them, and what it gives."""
    group = parser.add_argument_group("networks of fields", "what they get, and what they give")
    group.add_argument(
        "--constraint",
        choices=("none", "additive", "multiplicative", "softmax"),
        help="makes block means the coarse field (additive; of precipitation multiplicative)",
    )
    group.add_argument(
        "--start",
        choices=("delta", "coarse", "none"),
        help="what is added to: the delta method's field (of a model's fields), the interpolated "
        "one (else), or nothing",
    )
    group.add_argument(
        "--means",
        action=argparse.BooleanOptionalAction,
        help="read the mean fine fields of the training times, and the latitude (where --start "
        "is not said, and DATA is no model's)",
    )
    group.add_argument(
        "--season", action=argparse.BooleanOptionalAction, help="read the month (yes)"
    )
    group.add_argument("--static", metavar="FILE", help="fine fields that never change: relief")
    group.add_argument("--static-variables", nargs="+", metavar="NAME", help="which of them (all)")
    group.add_argument(
        "--cells",
        action=argparse.BooleanOptionalAction,
        help="learn numbers for each coarse cell (no)",
    )
    group.add_argument(
        "--places",
        type=natural,
        metavar="N",
        help="fit a linear map of N x N coarse cells for each of them to what training leaves, "
        "where that validates better; 0 is none (5 with the delta method's field, for values)",
    )
    group.add_argument(
        "--outputs",
        choices=("value", "normal", "quantiles"),
        help="a value, a mean and a spread, or quantiles (value)",
    )
    group.add_argument(
        "--levels", nargs="+", type=float, metavar="P", help="levels of the quantiles"
    )
    add_held_out(
        group,
        "degrees of a region that is kept for the test: nothing is learnt of its cells, and they "
        "alone are measured",
    )
    group.add_argument("--gap", type=natural, help="times that are left out between two parts (0)")


def given_grids(values: argparse.Namespace, dataset: Dataset) -> GridOptions | None:
    """What is said and what is usual about preparing fields; None of other data.

    Coarse fields that are means of the fine ones are interpolated, and the network adds to that; it
    reads the means of the training times besides. Those of a model have a bias, which is left out
    where the network starts from the delta method's field.
    """
    given = {name: getattr(values, name, None) for name in FIELDS}
    said: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if dataset.kind == "grids":
        from convarium.train.field_choice import usual_grids

        if values.held_out is not None:  # a network that serves cells of which it learns nothing
            said = {"start": "coarse", **said}
        said = {**({} if "start" in said else usual_grids(dataset)), **said}
    if not said:
        return None
    from convarium.data import GridOptions

    own: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in said.items()}
    return GridOptions(**own)


def span(text: str) -> list[int]:
    """The first number and the one behind the last.

    >>> span("4:68")
    [4, 68]
    """
    first, colon, end = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text!r} must look like FIRST:END")
    return [natural(first), natural(end)]
