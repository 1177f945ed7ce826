"""The one way from data to answers: validation, `evaluate` and `predict` all come through here.

data --preprocessing of the card--> inputs --forward--> outputs --task--> records, evaluation
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convarium import models, tasks
from convarium.data import (
    Batch,
    Dataset,
    Part,
    Preprocessing,
    Skipped,
    batches,
    match_classes,
)
from convarium.errors import OptionError
from convarium.progress import Progress


class Predictor:
    """Answers for data, from any callable that maps network inputs to outputs.

    A module is run in evaluation mode and its modes are put back after each batch; gradients are
    not recorded. Any other callable (an exported file's session, say) is called as it is.

    Args:
        forward: maps inputs `(B, C, *S)`, preprocessed float32, to outputs `(B, ...)`.
        card: a mapping with `task`, `classes` and `preprocessing`, as `card.json` has it.
        device: where inputs are sent; None means where the module's parameters are.
    """

    def __init__(
        self,
        forward: Callable[..., Tensor],
        card: Mapping[str, Any],
        *,
        device: torch.device | None = None,
    ) -> None:
        self.forward = forward
        self.card = card
        self.task = tasks.from_card(card)
        self.preprocessing = Preprocessing.from_card(card)
        self._device = device

    def records(
        self,
        data: Part | Dataset,
        *,
        batch_size: int = 256,
        workers: int = 0,
        skipped: list[Skipped] | None = None,
        progress: Progress | None = None,
    ) -> Iterator[tasks.Record]:
        """One record a sample, in the data's order, as soon as its batch is done.

        Args:
            data: samples; labels are not needed, and are matched by class name where there are any.
            batch_size: samples a batch; it does not change what a sample's input is.
            workers: threads that decode ahead.
            skipped: gathers what cannot be read; None raises at the first such sample.
            progress: advanced by each batch.

        Raises:
            DataError: a sample cannot be read and `skipped` is None, or the data has a class that
                the card lacks.
            OptionError: the card has another number of classes than the network has outputs.
        """
        data = self._matched(data)
        for batch in batches(
            data, self.preprocessing, batch_size=batch_size, workers=workers, skipped=skipped
        ):
            yield from self.task.decode(self.outputs(batch), batch)
            _advance(progress, batch)

    def evaluate(
        self,
        data: Part | Dataset,
        *,
        batch_size: int = 256,
        workers: int = 0,
        skipped: list[Skipped] | None = None,
        progress: Progress | None = None,
    ) -> tasks.Evaluation:
        """The task's evaluation of labelled data; the arguments are those of `records`.

        Raises:
            DataError: the data has no labels, a class that the card lacks, or no readable sample.
        """
        data = self._matched(data)
        meter = self.task.meter()
        for batch in batches(
            data, self.preprocessing, batch_size=batch_size, workers=workers, skipped=skipped
        ):
            meter.add(self.outputs(batch), batch)
            _advance(progress, batch)
        return meter.evaluation()

    def embed(
        self, data: Part | Dataset, *, batch_size: int = 256, workers: int = 0
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """What the network holds before its last linear layer: ids `(N,)`, vectors `(N, D)`.

        Raises:
            OptionError: `forward` is not a network with `embed`.
        """
        embed = getattr(self.forward, "embed", None)
        if embed is None:
            raise OptionError("forward has no embed(x); give a convarium classifier.")
        ids: list[NDArray[np.int64]] = []
        vectors: list[NDArray[np.float32]] = []
        for batch in batches(data, self.preprocessing, batch_size=batch_size, workers=workers):
            vectors.append(self.outputs(batch, embed).float().cpu().numpy())
            ids.append(batch.index.numpy())
        return np.concatenate(ids), np.concatenate(vectors)

    def outputs(self, batch: Batch, forward: Callable[..., Tensor] | None = None) -> Tensor:
        """Outputs of one batch, without gradients, on the processor.

        Args:
            batch: as `data.batches` gives it.
            forward: another function of the same network; None means `self.forward`.
        """
        module = self.forward if isinstance(self.forward, nn.Module) else None
        call = self.forward if forward is None else forward
        batch = batch.to(self._device or _device_of(module))
        training = [] if module is None else [m for m in module.modules() if m.training]
        try:
            for submodule in training:
                submodule.training = False
            with torch.no_grad():
                extra = () if batch.mask is None else (batch.mask,)
                outputs = call(*batch.inputs, *extra)
        finally:
            for submodule in training:
                submodule.training = True
        return outputs.to("cpu")

    def _matched(self, data: Part | Dataset) -> Part | Dataset:
        """The same samples, with class numbers in the card's order."""
        _check_fit(self.forward, self.preprocessing)
        dataset = data.dataset if isinstance(data, Part) else data
        if dataset.targets is None or dataset.classes == self.preprocessing.classes:
            return data
        matched = match_classes(dataset, self.preprocessing.classes)
        return Part(matched, data.ids) if isinstance(data, Part) else matched


def _device_of(module: nn.Module | None) -> torch.device:
    parameter = None if module is None else next(module.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def _check_fit(forward: Callable[..., Tensor], preprocessing: Preprocessing) -> None:
    """Refuse a card of other classes than the network's, whose names would be wrong in silence."""
    classes = len(preprocessing.classes)
    if isinstance(forward, models.Classifier) and forward.num_classes != classes:
        raise OptionError(
            f"card (={classes} classes) does not fit a network of {forward.num_classes} outputs; "
            "give the names of its own classes, as in model.published.card(classes)."
        )


def _advance(progress: Progress | None, batch: Batch) -> None:
    if progress is not None:
        progress.advance(len(batch.index))
