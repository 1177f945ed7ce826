"""Fields ready for batches: coarse and fine ones, masks, climatologies and relief as tensors."""

from __future__ import annotations

import dataclasses
import functools
import math
import threading
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium.data.augment.stream import Stream
from convarium.data.dataset import Dataset
from convarium.data.grids.coarse import check_months
from convarium.data.grids.pairs import FieldBatch
from convarium.data.grids.samples import GridSamples
from convarium.data.grids.shifting import ShiftedPairs
from convarium.data.grids.steps import FieldPreprocessing
from convarium.data.grids.units import same_units
from convarium.data.pictures import MEMORY_BUDGET, Gathered
from convarium.data.preprocessing import Preprocessing
from convarium.errors import DataError, OptionError


class ReadyGrids:
    """The fields of a data set as a network takes them.

    Where they may be kept and fit into the memory, all are prepared when the first are asked for.

    Args:
        dataset: the root data set, of fields.
        preprocessing: whose steps are used.
        keep: whether they may be kept.

    Raises:
        DataError: the fields are of other variables, blocks or cells than the preprocessing's.
    """

    def __init__(self, dataset: Dataset, preprocessing: Preprocessing, *, keep: bool) -> None:
        if not isinstance(preprocessing, FieldPreprocessing):
            raise DataError("Fields take a preprocessing of fields; give the run's own.")
        self.dataset, self.preprocessing = dataset, preprocessing
        samples = cast("GridSamples", dataset.samples)
        check_fields(dataset.source, samples, preprocessing)
        self._samples = samples
        self._pairs = preprocessing.pairs_of(samples.pairs)
        self._lock = threading.Lock()
        self._kept: FieldBatch | None = None
        self._keep = keep and len(dataset) * _numbers(preprocessing) <= MEMORY_BUDGET // 4

    def gather(self, ids: NDArray[np.int64]) -> Gathered:
        """Some times: coarse fields, masks, fine inputs and targets; safe in threads."""
        return self._gathered(ids, self._batch)

    def gather_crops(self, ids: NDArray[np.int64], draws: Stream) -> Gathered:
        """The same in blocks that begin elsewhere, as the numbers of each time say.

        Raises:
            OptionError: the network knows each coarse cell, or the coarse fields are a model's.
        """
        if self.preprocessing.options.cells:
            raise OptionError("shift (=True) moves cells that --cells learns; leave one out.")
        return self._gathered(ids, lambda there: self._shifted.batch(there, draws))

    @functools.cached_property
    def _shifted(self) -> ShiftedPairs:
        return ShiftedPairs(self._pairs)

    def _gathered(
        self, ids: NDArray[np.int64], batch_of: Callable[[NDArray[np.int64]], FieldBatch]
    ) -> Gathered:
        """A batch of the times that can be read, and the others."""
        found = self._samples.told[0]
        there = np.array([found[i] is not None for i in ids.tolist()], np.bool_)
        broken = [(i, "no cell is known") for i in ids[~there].tolist()]
        batch = batch_of(ids[there])
        named = {} if batch.fine is None else {"fine": batch.fine}
        if batch.weights is not None:
            named["weights"] = batch.weights.expand(len(batch.x), -1, -1, -1)
        return Gathered(batch.x, ids[there], sorted(broken), batch.mask, batch.y, named)

    def holds(self, ids: NDArray[np.int64]) -> bool:
        """Whether all are in memory, so that nothing has to be prepared."""
        return self._kept is not None

    def arranged(
        self, ids: NDArray[np.int64], batch_size: int, seed: int, epoch: int
    ) -> NDArray[np.int64]:
        """The samples of an epoch as they are."""
        return ids

    def _batch(self, ids: NDArray[np.int64]) -> FieldBatch:
        if not self._keep:
            return self._pairs.batch(ids)
        with self._lock:
            if self._kept is None:
                every = dataclasses.replace(self._pairs, held=None)
                self._kept = every.batch(np.arange(len(self.dataset)))
        places, kept = torch.from_numpy(ids), self._kept

        def cut(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.index_select(0, places)

        y = kept.y.index_select(0, places)
        weights = self._pairs.block_weights(y.numpy())
        if self._pairs.held is not None:
            y = torch.from_numpy(self._pairs.held.hide(y.numpy(), ids))
        return FieldBatch(
            kept.x.index_select(0, places), cut(kept.mask), cut(kept.fine), weights, y
        )


def check_fields(source: str, samples: GridSamples, preprocessing: FieldPreprocessing) -> None:
    """Refuse fields that a network was not made for.

    Raises:
        DataError: so.
    """
    pairs = samples.pairs
    own = pairs.fine if pairs.coarse is None else pairs.coarse
    steps = preprocessing
    units = [own.units[name] for name in own.names], [steps.units.get(n, "") for n in own.names]
    alike = all(same_units(*each) for each in zip(*units, strict=True))
    for what, is_, was, same in (
        ("variables", own.names, steps.predictors, tuple(own.names) == tuple(steps.predictors)),
        ("units", *units, alike),
        ("blocks", pairs.factor, steps.factor, pairs.factor == steps.factor),
    ):
        if not same:
            raise DataError(
                f"{source} has {what} {_listed(is_)}, and the network was trained on "
                f"{_listed(was)}; give fields of the same."
            )
    check_months(pairs.fine, steps, source)
    if steps.bound and not steps.pairs_of(pairs).fine.grid.same(steps.grid):
        raise DataError(
            f"{source} has other cells than the network has learnt about (its climatology, static "
            "fields or numbers of cells); give the same region, or train with --start coarse, "
            "which serves any."
        )


def _listed(values: Any) -> str:
    return ", ".join(str(value) or "none" for value in values)


def _numbers(preprocessing: FieldPreprocessing) -> int:
    """Numbers of one time: coarse ones, targets and fine inputs."""
    cells = math.prod(preprocessing.grid.shape)
    fine = len(preprocessing.classes) + int(preprocessing.network_options["fine_channels"])
    return math.prod(preprocessing.input_shape) + cells * fine
