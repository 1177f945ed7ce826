"""Arrays of series in NumPy's files. Nothing here is ever unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from convarium.data.given import TEST, TRAIN, VALIDATION
from convarium.data.series.series import Floats, floats_of
from convarium.errors import DataError

_KEYS: Final = (
    ("x_train", "y_train", TRAIN),
    ("x_val", "y_val", VALIDATION),
    ("x_test", "y_test", TEST),
    ("x", "y", None),
    ("series", "labels", None),
)


def array_of(path: str) -> NDArray[Any]:
    """The array of a .npy file.

    Raises:
        DataError: it is none, or holds pickled objects; the text is the reason alone.
    """
    found = _loaded(path)
    if not isinstance(found, np.ndarray):
        raise DataError("an archive, where one array is asked for")
    return found


def arrays_of(path: str) -> Mapping[str, NDArray[Any]]:
    """The arrays of an .npz file by their names; the one of a .npy file is `x`.

    Raises:
        DataError: as `array_of`.
    """
    found = _loaded(path)
    return {"x": found} if isinstance(found, np.ndarray) else found


def blocks_of(
    arrays: Mapping[str, NDArray[Any]],
) -> list[tuple[list[Floats], NDArray[Any] | None, int | None]]:
    """Series, labels and part of each block: x_train with y_train, or x with y.

    An array is `(N, T)`, or `(N, C, T)`; labels may be missing.

    Raises:
        DataError: no such array, another number of axes, or labels that are not as many; the text
            is the reason alone.
    """
    found: list[tuple[list[Floats], NDArray[Any] | None, int | None]] = []
    for values, labels, part in _KEYS:
        if values in arrays:
            series = _several(values, arrays[values])
            own = arrays.get(labels)
            if own is not None and len(own) != len(series):
                raise DataError(f"{len(series)} series in {values} and {len(own)} labels")
            found.append((series, own, part))
    if not found:
        raise DataError(
            f"the arrays {', '.join(arrays) or 'none'}, and no x_train (with y_train) or x (with y)"
        )
    return found


def channels_first(values: Floats) -> Floats:
    """`(T,)` as `(1, T)`; `(C, T)` as it is.

    Raises:
        DataError: another number of axes; the text is the reason alone.
    """
    if values.ndim not in (1, 2) or not values.size:
        raise DataError(f"an array of the shape {values.shape}, where (T,) or (C, T) is a series")
    return values.reshape(-1, values.shape[-1])


def _several(name: str, array: NDArray[Any]) -> list[Floats]:
    if array.ndim not in (2, 3) or not array.size:
        raise DataError(
            f"the array {name} of the shape {array.shape}, where (N, T) or (N, C, T) are series"
        )
    return [channels_first(each) for each in floats_of(array)]


def _loaded(path: str) -> Any:
    """What a file holds: an array, or arrays by their names."""
    try:
        with open(path, "rb") as file:
            found = np.load(file, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return found
            members = {name: found[name] for name in found.files}
    except OSError:
        raise
    except Exception as error:  # a damaged or hostile file can raise anything
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise DataError(f"no array that can be read without unpickling: {reason}") from error
    return {name: each for name, each in members.items() if isinstance(each, np.ndarray)}
