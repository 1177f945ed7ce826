"""Arrays in a card, which is text: float32 values, compressed, in base64, with a check of them."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from convarium.data.grids.climatology import Climatology
from convarium.data.grids.fields import Values
from convarium.errors import DataError

_MOST: Final = 2**26  # bytes of one array


def array_to_card(name: str, values: Values) -> dict[str, Any]:
    """An array as a mapping for JSON.

    Raises:
        DataError: it is too large for a card.
    """
    data = np.ascontiguousarray(values, "<f4").tobytes()
    if len(data) > _MOST:
        raise DataError(
            f"The {name} {values.shape} take {len(data) / 2**20:.0f} MiB, and a card keeps "
            f"{_MOST >> 20} at most; train on a region, or without them (--start coarse)."
        )
    text = base64.b64encode(zlib.compress(data, 6)).decode("ascii")
    return {"shape": list(values.shape), "float32": text, "sha256": _hash(data)}


def array_of_card(kept: Mapping[str, Any]) -> Values:
    """The array that a card keeps.

    Raises:
        DataError: it is damaged.
    """
    try:
        data = zlib.decompress(base64.b64decode(kept["float32"], validate=True))
        if _hash(data) != kept["sha256"]:
            raise DataError("The card's fields are damaged; copy the whole run folder again.")
        return np.frombuffer(data, "<f4").astype(np.float32).reshape(kept["shape"])
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise DataError(
            "The card's fields are damaged; copy the whole run folder again."
        ) from error


def fields_to_card(climatology: Climatology | None, static: Values | None) -> dict[str, Any]:
    """The arrays of a preprocessing of fields by name, as a mapping for JSON."""
    arrays = {}
    if climatology is not None:
        arrays["fine climatology"] = climatology.fine
        arrays["coarse climatology"] = climatology.coarse
    if static is not None:
        arrays["static fields"] = static
    return {name: array_to_card(name, values) for name, values in arrays.items()}


def fields_of_card(
    kept: Mapping[str, Any],
    months: Sequence[int] | None,
    factor: tuple[int, int],
    *,
    scaled: bool = False,
) -> tuple[Climatology | None, Values | None]:
    """The climatology of some months, None without such, and the static fields of a card.

    `scaled` is that of the climatology.

    Raises:
        DataError: an array is damaged.
    """
    arrays = {name: array_of_card(each) for name, each in kept.items()}
    climatology = None
    if months is not None:
        fields = arrays["fine climatology"], arrays["coarse climatology"]
        climatology = Climatology(np.array(months, np.int64), *fields, factor, scaled)
    return climatology, arrays.get("static fields")


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
