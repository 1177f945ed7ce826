"""What is read of gridded files, and what a network gets of it, as tables of options."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from convarium.errors import OptionError, did_you_mean
from convarium.options import check_options, option

_PLACES: Final = 5  # coarse cells that a place reads, along each axis
_MOST_PLACES: Final = 2**23  # weights of the maps of all places


@dataclass(frozen=True, kw_only=True)
class FieldOptions:
    """Which fields of a file are made finer, from which, and where.

    Args:
        variables: what is made finer; none takes the file's only variable.
        predictors: what is read besides.
        factor: rows and columns of a block; of a model's fields it follows from both grids.
        fine: the file of fine observations, where the data is a model's coarse fields; None makes
            coarse fields from the data itself.
        weighted: block means by the areas of cells; False counts all cells alike.
        select: values of further axes, such as ("level=850",).
        region: south, north, west and east in degrees; none takes the whole grid.
        rows: the first row, and the one behind the last, of the fine grid.
        columns: likewise.
        latitude: name of the axis, where it is not a usual one.
        longitude: likewise.
        time: likewise.

    Raises:
        OptionError: a value of the wrong type, or not as many as belong together.

    >>> FieldOptions(variables=("uwnd",), factor=(4, 4)).to_mapping()
    {'variables': ['uwnd'], 'factor': [4, 4]}
    """

    variables: tuple[str, ...] = ()
    predictors: tuple[str, ...] = ()
    factor: tuple[int, ...] | None = option(None, low=1)
    fine: str | None = None
    weighted: bool = True
    select: tuple[str, ...] = ()
    region: tuple[float, ...] | None = None
    rows: tuple[int, ...] | None = option(None, low=0)
    columns: tuple[int, ...] | None = option(None, low=0)
    latitude: str | None = None
    longitude: str | None = None
    time: str | None = None

    def __post_init__(self) -> None:
        check_options(self)
        if self.factor is not None and (len(self.factor) != 2 or max(self.factor) < 2):
            raise OptionError(
                f"factor (={self.factor}) must be rows and columns of a block of several cells, "
                "such as (4, 4)."
            )
        if self.region is not None and len(self.region) != 4:
            raise OptionError(
                f"region (={self.region}) must be south, north, west and east in degrees."
            )
        for name in ("rows", "columns"):
            span = getattr(self, name)
            if span is not None and (len(span) != 2 or span[0] >= span[1]):
                raise OptionError(
                    f"{name} (={span}) must be the first, and the one after the last."
                )

    @property
    def chosen(self) -> dict[str, str]:
        """The values of further axes by their names, as they are typed.

        Raises:
            OptionError: one does not look like AXIS=VALUE.
        """
        found: dict[str, str] = {}
        for text in self.select:
            name, equal, value = text.partition("=")
            if not (name and equal and value):
                raise OptionError(f"select (={text!r}) must look like AXIS=VALUE: level=850.")
            found[name] = value
        return found

    @property
    def axes(self) -> dict[str, str | None]:
        """The names of axes, as `open_fields` takes them."""
        return {"latitude": self.latitude, "longitude": self.longitude, "time": self.time}

    def to_mapping(self) -> dict[str, Any]:
        """What differs from the defaults, as TOML and JSON have it."""
        found = {}
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if value != each.default:
                found[each.name] = list(value) if isinstance(value, tuple) else value
        return found

    @classmethod
    def of(cls, given: Self | Mapping[str, Any] | None) -> Self:
        """Such options from a mapping, as `to_mapping` gives it.

        Raises:
            OptionError: an option is unknown, or a value not allowed.
        """
        if given is None or isinstance(given, cls):
            return cls() if given is None else given
        known = [each.name for each in dataclasses.fields(cls)]
        said: Mapping[str, Any] = given  # type: ignore[assignment]
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in said.items()
        }
        for name in values:
            if name not in known:
                raise OptionError(
                    f"Unknown option {name!r} of fields.{did_you_mean(name, known)} Allowed: "
                    f"{', '.join(known)}."
                )
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class GridOptions:
    """What a network of fields gets beside the coarse fields, and what it gives.

    Args:
        season: whether it reads the month, where there are months.
        start: what it adds to: the field of the "delta" method, the interpolated "coarse" field, or
            "none".
        means: whether it reads the mean fine fields of the training times and the latitude.
        static: a file of fine fields that never change, such as relief.
        static_variables: which of them; none takes all.
        cells: whether it learns numbers for each coarse cell.
        places: coarse cells along each axis that a linear map of each coarse cell reads, which is
            fitted to what the trained network leaves; 0 is none. None is 5 for values of a network
            that knows the means of its cells or starts from the delta method's field, where the
            maps are not too many, and else none. Only networks with the additive constraint or
            none can fit them.
        outputs: a "value"; "normal", a mean and a spread; or "quantiles".
        levels: of the quantiles.

    Raises:
        OptionError: a value of the wrong type, or one that is not allowed.

    >>> GridOptions(outputs="normal").season
    True
    """

    season: bool = True
    start: str = option("delta", choices=("delta", "coarse", "none"))
    means: bool = False
    static: str | None = None
    static_variables: tuple[str, ...] = ()
    cells: bool = False
    places: int | None = option(None, low=0)
    outputs: str = option("value", choices=("value", "normal", "quantiles"))
    levels: tuple[float, ...] = option((0.05, 0.25, 0.5, 0.75, 0.95), above=0, below=1)

    def __post_init__(self) -> None:
        check_options(self)

    def to_mapping(self) -> dict[str, Any]:
        """All options, as JSON has them."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Such options from a mapping, as `to_mapping` gives it."""
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in given.items()
        }
        return cls(**values)

    def places_of(self, input_shape: Sequence[int], factor: Sequence[int]) -> int:
        """Coarse cells along each axis that the linear map of a place reads; 0 is none.

        >>> GridOptions().places_of((3, 16, 36), (4, 4)), GridOptions(start="coarse").places
        (5, None)
        """
        if self.places is not None:
            return self.places
        channels, *sizes = input_shape
        maps = math.prod(sizes) * math.prod(factor) * channels * _PLACES**2
        usual = (self.means or self.start == "delta") and self.outputs == "value"
        return _PLACES if usual and maps <= _MOST_PLACES and min(sizes) > _PLACES // 2 else 0
