"""The one way from data to answers: validation, `evaluate` and `predict` all come through here.

data --preprocessing of the card--> inputs --forward--> outputs --task--> records, evaluation
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

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
from convarium.errors import DataError, OptionError
from convarium.predict.halving import in_memory
from convarium.predict.views import Views
from convarium.processes import ALONE, World
from convarium.progress import Progress
from convarium.tasks.objective import batch_target


class Metric(Protocol):
    """A figure that grows batch by batch, as torchmetrics' metrics do."""

    def update(self, stated: Tensor, target: Tensor, /) -> Any:
        """Take in what is stated of a batch, and its targets."""


class Predictor:
    """Answers for data, from any callable that maps network inputs to outputs.

    A module is run in evaluation mode and its modes are put back after each batch; gradients are
    not recorded. Any other callable (an exported file's session, say) is called as it is.

    Args:
        forward: maps inputs `(B, C, *S)`, preprocessed float32, to outputs `(B, ...)`.
        card: a mapping with `task`, `classes` and `preprocessing`, as `card.json` has it.
        device: where inputs are sent; None means where the module's parameters are.
        tta: test-time augmentation, "none", "flip", "five_crops" or "flip_five_crops": each sample
            is seen in several views, whose probabilities (of numbers: values) are averaged.

    Raises:
        OptionError: an unknown `tta`, or crops where the preprocessing leaves no room for them.
    """

    def __init__(
        self,
        forward: Callable[..., Tensor],
        card: Mapping[str, Any],
        *,
        device: torch.device | None = None,
        tta: str = "none",
    ) -> None:
        self.forward = forward
        self.card = card
        self.task = tasks.from_card(card)
        self.preprocessing = Preprocessing.from_card(card)
        self.tta = tta
        self._device = device
        self._views = Views(tta, self.preprocessing)

    def records(
        self,
        data: Part | Dataset,
        *,
        batch_size: int = 256,
        workers: int = 0,
        skipped: list[Skipped] | None = None,
        progress: Progress | None = None,
        world: World = ALONE,
    ) -> Iterator[tasks.Record]:
        """One record a sample, in the data's order, as soon as its batch is done.

        Several processes take turns at the batches, and each has all records.

        Args:
            data: samples; labels are not needed, and are matched by class name where there are any.
            batch_size: samples a batch; it does not change what a sample's input is.
            workers: threads that decode ahead.
            skipped: gathers what cannot be read; None raises at the first such sample.
            progress: advanced by each batch.
            world: the processes that share the work.

        Raises:
            DataError: a sample cannot be read and `skipped` is None, or the data has a class that
                the card lacks.
            OptionError: the card has another number of classes than the network has outputs.
        """
        data = self.matched(data)
        self._make_ready(len(data))
        answers = partial(self._answers, data=data, workers=workers)
        for outputs, batch in self._shared(answers, data, batch_size, workers, skipped, world):
            yield from self.task.decode(outputs, batch)
            _advance(progress, batch)

    def evaluate(
        self,
        data: Part | Dataset,
        *,
        batch_size: int = 256,
        workers: int = 0,
        skipped: list[Skipped] | None = None,
        progress: Progress | None = None,
        metrics: Sequence[Metric] = (),
        world: World = ALONE,
    ) -> tasks.Evaluation:
        """The task's evaluation of labelled data; the other arguments are those of `records`.

        Several processes take turns at the batches and tell one another what came out, so that
        each has the evaluation of one process: every sample counts once, whatever their number.

        Args:
            metrics: further figures, such as torchmetrics has them: each is updated with what is
                stated (probabilities `(B, K)`; of a regression values) and the targets.

        Raises:
            DataError: the data has no labels, a class that the card lacks, or no readable sample.
        """
        data = self.matched(data)
        meter = self.task.meter()
        answers = partial(self._answers, data=data, workers=workers)
        for outputs, batch in self._shared(answers, data, batch_size, workers, skipped, world):
            meter.add(outputs, batch)
            target = batch_target(batch)
            for metric in metrics:
                whole = target.long() if self.task.has_classes else target
                metric.update(self.task.stated(outputs), whole)
            _advance(progress, batch)
        return meter.evaluation()

    def _shared(
        self,
        compute: Callable[[Batch], Tensor],
        data: Part | Dataset,
        batch_size: int,
        workers: int,
        skipped: list[Skipped] | None,
        world: World,
    ) -> Iterator[tuple[Tensor, Batch]]:
        """What is computed of each batch, in the data's order, whichever process did it."""
        batch_size = min(batch_size, self.preprocessing.most_at_once)
        rounds = -(-len(data) // (batch_size * world.size))
        own = batches(
            data if world.alone else _turns(data, batch_size, world),
            self.preprocessing,
            batch_size=batch_size,
            workers=workers,
            skipped=skipped,
        )
        if world.alone:
            for batch in own:
                yield compute(batch), batch
            return
        turns, before = _turns(data, batch_size, world), len(skipped or ())
        missing, mine = set(turns.ids.tolist()), next(own, None)
        for number in range(rounds):
            ids = turns.ids[number * batch_size : (number + 1) * batch_size]
            told = None
            if mine is not None and int(mine.index[0]) in ids:  # else none of them can be read
                missing -= set(mine.index.tolist())
                told = compute(mine), mine.labels()
                mine = next(own, None)
            yield from filter(None, world.gather(told))
        if skipped is not None:
            names = {turns.dataset.name(i): i for i in missing}
            found = [(names.get(item.name, -1), item) for item in skipped[before:]]
            found = sorted(pair for pairs in world.gather(found) for pair in pairs)
            skipped[before:] = [item for _, item in found]

    def embed(
        self,
        data: Part | Dataset,
        *,
        batch_size: int = 256,
        workers: int = 0,
        world: World = ALONE,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """What the network holds before its last linear layer: ids `(N,)`, vectors `(N, D)`.

        Several processes take turns at the batches, and each has all vectors.

        Raises:
            OptionError: `forward` is not a network with `embed`.
        """
        pairs = [*self.embedded(data, batch_size=batch_size, workers=workers, world=world)]
        return np.concatenate([ids for ids, _ in pairs]), np.concatenate([v for _, v in pairs])

    def embedded(
        self,
        data: Part | Dataset,
        *,
        batch_size: int = 256,
        workers: int = 0,
        skipped: list[Skipped] | None = None,
        world: World = ALONE,
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """`embed` batch by batch, in the data's order, so that nothing is kept; raises the same."""
        embed = getattr(self.forward, "embed", None)
        if embed is None:
            raise OptionError("forward has no embed(x); give a convarium classifier.")
        self._make_ready(len(data))
        held = partial(self.outputs, forward=embed)
        for found, batch in self._shared(held, data, batch_size, workers, skipped, world):
            yield batch.index.numpy(), found.float().numpy()

    def outputs(self, batch: Batch, forward: Callable[..., Tensor] | None = None) -> Tensor:
        """Outputs of one batch, without gradients, on the processor.

        What the device's memory does not hold at once is computed in halves.

        Args:
            batch: as `data.batches` gives it.
            forward: another function of the same network; None means `self.forward`.
        """
        module = self.forward if isinstance(self.forward, nn.Module) else None
        call = self.forward if forward is None else forward
        device = self._device or _device_of(module)
        training = [] if module is None else [m for m in module.modules() if m.training]
        try:
            for submodule in training:
                submodule.training = False
            with torch.no_grad():
                return in_memory(lambda some: call(*some.arguments, **some.named), batch, device)
        finally:
            for submodule in training:
                submodule.training = True

    def _make_ready(self, count: int) -> None:
        """What quickens so many samples; not for `evaluate`, which repeats validation's bits."""
        if hasattr(self.forward, "ready_for"):
            self.forward.ready_for(count)

    def _answers(self, batch: Batch, data: Part | Dataset, workers: int) -> Tensor:
        """Outputs of one batch, those of its views merged."""
        dataset = data.dataset if isinstance(data, Part) else data
        views = self._views.of(batch, dataset, workers)
        return self.task.merge([self.outputs(view) for view in views])

    def matched(self, data: Part | Dataset) -> Part | Dataset:
        """The same samples, with targets in the card's order.

        Raises:
            DataError: the data is for another task, has a class that the card lacks, or holds
                images where the network takes volumes, or the other way round.
        """
        _check_fit(self.forward, self.preprocessing)
        dataset = data.dataset if isinstance(data, Part) else data
        if dataset.kind != self.preprocessing.kind:
            raise DataError(
                f"{dataset.source} holds {dataset.kind}, and the network takes "
                f"{self.preprocessing.kind}; give those."
            )
        task, units = self.task.name, tuple(self.card.get("targets", {}).get("units", ()))
        wanted = (self.preprocessing.classes, task, units)
        if dataset.targets is None or (dataset.classes, dataset.task, dataset.units) == wanted:
            return data
        matched = match_classes(dataset, self.preprocessing.classes, task=task, units=units)
        return Part(matched, data.ids) if isinstance(data, Part) else matched


def _turns(data: Part | Dataset, batch_size: int, world: World) -> Part:
    """The samples of every batch whose turn is this process's."""
    whole = data if isinstance(data, Part) else Part(data, np.arange(len(data)))
    number = np.arange(len(whole)) // batch_size
    return Part(whole.dataset, whole.ids[number % world.size == world.rank])


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
