"""Real fields of a run, with all that its network reads beside them, for checks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from torch import Tensor

from convarium import files
from convarium.data import FieldOptions
from convarium.data.grids.coarse import open_coarse
from convarium.errors import RunError
from convarium.predict.fine_files import steps_of
from convarium.predict.run import Run

_MOST: Final = 32
_OTHERS: Final = ("mask", "fine", "weights")


def field_samples(run: Run, data: str | Path | None = None) -> dict[str, Tensor]:
    """Up to 32 coarse fields of a run, and what its network reads beside them.

    Args:
        run: of fields.
        data: a coarse file; None takes those that the run keeps.

    Returns:
        "input" `(N, C, *S)` and, where the network reads them, "mask", "fine" and "weights".

    Raises:
        RunError: the run keeps none.
        DataError: `data` does not fit the run.
    """
    if data is None:
        first = run.samples()
        kept = files.read_tensors(run.folder / "preprocessing" / "samples.safetensors")
        missing = sorted(run.preprocessing.beside().keys() - kept.keys())
        if missing:
            raise RunError(
                f"{run.folder} keeps no {missing[0]} fields, which its network reads; give a "
                "coarse file: --samples coarse.nc"
            )
        return {"input": first, **{name: kept[name] for name in _OTHERS if name in kept}}
    given = FieldOptions.of(cast("Mapping[str, Any]", run.columns.get("fields")))
    coarse = open_coarse(data, steps_of(run), given)
    batch = coarse.batch(range(min(_MOST, len(coarse))))
    others = {name: getattr(batch, name) for name in _OTHERS}
    return {"input": batch.x, **{name: each for name, each in others.items() if each is not None}}
