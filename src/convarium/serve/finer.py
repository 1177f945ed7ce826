"""Fields of requests made finer: a body of NetCDF to pieces of time, and those to a file.

body -> fields (in another process) -> checked by the card -> pieces -> network -> NetCDF
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from convarium import predict
from convarium.data import FieldOptions, FieldPreprocessing
from convarium.data.grids.coarse import CoarseFields, coarse_of
from convarium.data.grids.fields import Fields, Values, fields_of_arrays
from convarium.errors import DataError
from convarium.measure.field_reach import tiling_of
from convarium.predict.downscaling import AT_ONCE, checked_network, made, names_of
from convarium.predict.fine_files import fine_file
from convarium.progress import Progress
from convarium.serve.bodies import MULTIPART, NETCDF, PLAIN, Received, parts_of
from convarium.serve.field_process import NAME, Request
from convarium.serve.limits import Limits
from convarium.serve.refusals import RefusedError

MEDIA: Final = (NETCDF, "application/netcdf", "application/x-hdf5", "application/x-hdf", PLAIN)
#: Fine cells of a piece; what is larger would keep the requests of other runs waiting.
_PIECE: Final = AT_ONCE


@dataclass(frozen=True, eq=False)
class Piece:
    """Some times of fields that are to be made finer."""

    coarse: CoarseFields
    ids: NDArray[np.int64]


class Refiner:
    """Makes the fields of one run finer.

    Args:
        run: of fields.

    Raises:
        OptionError: its network gives no fields.
    """

    def __init__(self, run: predict.Run) -> None:
        self.run, self.network = run, checked_network(run)
        self.steps = cast("FieldPreprocessing", run.preprocessing)
        self._first = self.steps.grid.coarse(self.steps.factor)

    @cached_property
    def tiling(self) -> predict.Tiling:
        """How large fields are divided."""
        return tiling_of([self.run], None)

    def request(self, body: Received, limits: Limits) -> Request:
        """What is to be opened of a body.

        Raises:
            RefusedError: 415 for another type, 400 for a body that is not made as its type says.
        """
        (part,) = parts_of(body, 1) if body.media == MULTIPART else [body]
        if part.media not in MEDIA:
            known = ", ".join((*MEDIA[:-1], MULTIPART))
            raise RefusedError(415, "wrong_type", f"Content-Type must be one of {known}.")
        given = FieldOptions.of(cast("Mapping[str, Any]", self.run.columns.get("fields")))
        most = limits.max_cells // (math.prod(self.steps.factor) * len(names_of([self.run])))
        return Request(part.content, self.steps.predictors, most, given.chosen, given.axes)

    def checked(self, fields: Fields) -> CoarseFields:
        """Fields of a body as the network takes them.

        Raises:
            DataError: they do not fit the run.
        """
        return coarse_of(fields, self.steps, NAME)

    def pieces(self, coarse: CoarseFields, most: int) -> list[Piece]:
        """The times, some at once, in so many pieces at most."""
        size = max(1, _PIECE // math.prod(coarse.grid.shape), -(-len(coarse) // most))
        starts = range(0, len(coarse), size)
        return [Piece(coarse, np.arange(k, min(k + size, len(coarse)))) for k in starts]

    def made(self, pieces: Sequence[Piece]) -> list[Values]:
        """The fine fields of pieces, (n, V, H, W) each."""
        return [self._made(piece) for piece in pieces]

    def file(self, coarse: CoarseFields, fields: Sequence[Values], history: str) -> bytes:
        """A file of fine fields, in the order of their times.

        Raises:
            DataError: what the coarse file says of itself cannot be written.
        """
        told = "; ".join([history, *(note.rstrip(".") for note in coarse.notes)])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "fine.nc"
            fine = fine_file(path, self.run, coarse, names_of([self.run]), told)
            starts = np.cumsum([0, *map(len, fields)]).tolist()
            try:
                fine.write(iter(zip(starts, fields, strict=False)))
            except (TypeError, ValueError, KeyError, AttributeError) as error:
                raise DataError("its dates or attributes cannot be written again") from error
            return path.read_bytes()

    def warm(self) -> None:
        """Make one field of zeros finer, so that the first request is as quick as the others."""
        zeros = np.zeros((1, *self._first.shape), np.float32)
        source = dict.fromkeys(self.steps.predictors, zeros)
        fields = fields_of_arrays(source, self._first, months=np.ones(1, np.int64))
        coarse = CoarseFields(fields, self.steps, self.steps.grid)
        self._made(Piece(coarse, np.arange(1)))

    def _made(self, piece: Piece) -> Values:
        tiling = self.tiling.fitted(math.prod(piece.coarse.grid.shape))
        quiet = Progress(len(piece.ids), "downscale", enabled=False)
        return made([self.network], [piece.coarse], piece.ids, tiling, quiet)
