"""Real fields of a run, with all that its network reads beside them, for checks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor

from convarium import files
from convarium.data import FieldOptions
from convarium.data.grids.coarse import open_coarse, weights_of
from convarium.errors import RunError
from convarium.predict.fine_files import steps_of
from convarium.predict.run import Run

_MOST: Final = 32
_OTHERS: Final = ("mask", "fine", "weights")
_STORED: Final = {"mask": "mask", "fine": "fine fields"}  # what a message calls them


def field_samples(run: Run, data: str | Path | None = None) -> dict[str, Tensor]:
    """Up to 32 coarse fields of a run, and what its network reads beside them.

    Args:
        run: of fields.
        data: a coarse file; None takes those that the run keeps.

    Returns:
        "input" `(N, C, *S)` and, where the network reads them, "mask", "fine" and "weights".

    Raises:
        RunError: the run keeps none, or lacks what its network reads beside them.
        DataError: `data` does not fit the run.
    """
    if data is None:
        return _kept(run)
    given = FieldOptions.of(cast("Mapping[str, Any]", run.columns.get("fields")))
    coarse = open_coarse(data, steps_of(run), given)
    batch = coarse.batch(range(min(_MOST, len(coarse))))
    others = {name: getattr(batch, name) for name in _OTHERS}
    return {"input": batch.x, **{name: each for name, each in others.items() if each is not None}}


def _kept(run: Run) -> dict[str, Tensor]:
    """The fields that the run keeps; weights are those of its grid.

    Raises:
        RunError: it keeps none, or lacks a mask or fine fields that its network reads.
    """
    first, steps = run.samples(), steps_of(run)
    kept = files.read_tensors(run.folder / "preprocessing" / "samples.safetensors")
    fine = [
        kept[name].expand(len(first), -1, -1, -1) for name in ("fine", "static") if name in kept
    ]
    there = {"mask": [kept["mask"]] if "mask" in kept else [], "fine": fine}
    read = {"mask": steps.masked, "fine": bool(steps.beside())}
    found = {"input": first}
    for name in (name for name in read if read[name]):
        if not there[name]:
            raise RunError(
                f"{run.folder} keeps no {_STORED[name]}, which its network reads; give a coarse "
                "file: --samples coarse.nc"
            )
        found[name] = torch.cat(there[name], 1)
    weights = weights_of(steps, steps.grid)
    if weights is not None:
        found["weights"] = weights.expand(len(first), -1, -1, -1)
    return found
