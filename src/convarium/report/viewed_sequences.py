"""Maps of a layer, and what excites a channel, along series and texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from convarium.data import Dataset, Part
from convarium.explain.resizing import resized
from convarium.graph import unwrapped
from convarium.report import wording
from convarium.report.explained_sequences import HEATED
from convarium.report.sequences import HeatedSeries, HeatedTokens
from convarium.report.series import along, show_series
from convarium.report.texts import show_texts

if TYPE_CHECKING:
    from convarium.explain import Excitement, FeatureMaps
    from convarium.predict import Run

Sequences = tuple[HeatedSeries | HeatedTokens, ...]

_SHOWN: Final[dict[str, Callable[..., Sequences]]] = {"texts": show_texts, "series": show_series}
#: What positions are called, and the number of the first.
_POSITIONS: Final = {"texts": ("tokens", 1), "series": ("time steps", 0)}


def map_sequences(
    run: Run, data: Part | Dataset, found: FeatureMaps, *, shared: bool = False
) -> Sequences:
    """The first series or text of `data`, and the maps of it, stretched to its positions.

    The maps of a series are curves; those of a text colour its tokens, orange above 0 and blue
    below.

    Args:
        run: whose network it is.
        data: series or texts.
        found: of `explain.feature_maps` for the first of them.
        shared: one scale for all maps; otherwise each has its own.
    """
    kind = run.preprocessing.kind
    maps, strength = _stretched(run, found), found.strength[0].cpu().numpy()
    names = [f"channel {channel}" for channel in found.channels[0].tolist()]
    notes = [f"up to {wording.number(largest)}" for largest in strength.tolist()]
    first = _SHOWN[kind](run, data, most=1)
    if kind == "texts":
        most = strength.max() if shared else strength[:, None]
        shares = np.nan_to_num(maps / np.where(most > 0, most, 1), posinf=0, neginf=0)
        drawn = [
            replace(HEATED[kind](run, data, 0, share, name, note)[0], scale=False)
            for share, name, note in zip(shares.clip(-1, 1), names, notes, strict=True)
        ]
        return (*first, *drawn)
    length = first[0].heat.shape[0]
    curves = np.stack([along(curve, length) for curve in maps])
    told = [f"{name}, {note}" for name, note in zip(names, notes, strict=True)]
    about = f"maps of {found.layer}"
    empty = np.zeros(length, np.float32)
    return (*first, HeatedSeries(curves, empty, about, channels=told, shared=shared))


def _stretched(run: Run, found: FeatureMaps) -> NDArray[np.float32]:
    """The maps of the first sample `(most, T)`, linearly at the positions of the input."""
    (length,) = found.input_size
    covered = max(length, getattr(unwrapped(run.model), "shortest_read", 0))
    maps: NDArray[np.float32] = resized(found.maps[:1], (covered,))[0, :, :length].cpu().numpy()
    return maps


def exciting_sequences(run: Run, data: Part | Dataset, found: Excitement) -> Sequences:
    """The series or texts with the part marked that excites the channel; none, where that is all.

    Args:
        run: whose network it is.
        data: that was looked through.
        found: of `explain.exciting_inputs`.
    """
    dataset = data.dataset if isinstance(data, Part) else data
    kind = run.preprocessing.kind
    word, least = _POSITIONS[kind]
    drawn: list[HeatedSeries | HeatedTokens] = []
    for one in found.inputs:
        length = run.preprocessing.apply(dataset.read(one.id)).shape[-1]
        ((start, stop),) = one.patch
        marks = np.zeros(length, np.float32)
        marks[start:stop] = stop - start < length
        note = f"{wording.number(one.value)} at ({', '.join(map(str, one.place))})"
        if marks.any():
            note += f"; {word} {start + least} to {stop - 1 + least}"
        sequence, _ = HEATED[kind](run, data, one.id, marks, dataset.name(one.id), note)
        drawn.append(replace(sequence, scale=False))
    return tuple(drawn)
