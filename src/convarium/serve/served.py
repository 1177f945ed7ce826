"""A run that is ready to answer: its network in the fastest form, its steps, its version."""

from __future__ import annotations

import copy
import hashlib
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convarium import deploy, predict
from convarium.data import Batch, Preprocessing
from convarium.data.grids.fields import Values
from convarium.errors import DataError, OptionError, RunError
from convarium.files import sha256
from convarium.serve.batching import Batcher
from convarium.serve.explaining import Explainer
from convarium.serve.finer import Piece, Refiner
from convarium.serve.limits import Limits
from convarium.serve.refusals import RefusedError
from convarium.serve.samples import FIELDS, check_kind
from convarium.tasks import Record

Signature = tuple[tuple[int, int, int] | None, ...]
_FILES = ("model.safetensors", "card.json")
_VERSION = 12  # digits


@dataclass(frozen=True, eq=False)
class Served:
    """A version of a run, until the next one takes its place.

    Args:
        name: that requests know it by.
        run: opened.
        form: how its network runs, such as "eager" or what `tune` chose.
        forward: the network in that form.
        version: digits of the SHA-256 of its card and weights.
        signature: of its files when it was opened.
        since: when it was ready, in seconds of Unix time.
    """

    name: str
    run: predict.Run
    form: str
    forward: Callable[..., Tensor]
    version: str
    signature: Signature
    since: float = field(default_factory=time.time)

    @property
    def preprocessing(self) -> Preprocessing:
        """The steps of the card."""
        return self.run.preprocessing

    @cached_property
    def predictor(self) -> predict.Predictor:
        """Answers by the form that was chosen."""
        return predict.Predictor(self.forward, self.run.card)

    @cached_property
    def explainer(self) -> Explainer:
        """Heatmaps, by a copy of the network, so that nobody else's pass comes in between."""
        return Explainer(copy.deepcopy(self.run.model), self.run.card)

    def records(self, samples: Sequence[Tensor]) -> Sequence[Record]:
        """What the run says of each sample that `apply` gave."""
        batch = batch_of(self.preprocessing, samples)
        return self.predictor.task.decode(self.predictor.outputs(batch), batch)

    def vectors(self, samples: Sequence[Tensor]) -> list[list[float]]:
        """The vectors before the last linear layer."""
        batch = batch_of(self.preprocessing, samples)
        embed: Callable[..., Tensor] | None = getattr(self.run.model, "embed", None)
        found = self.run.predictor.outputs(batch, forward=embed)
        return [[finite(value) for value in row] for row in found.float().tolist()]

    @cached_property
    def refiner(self) -> Refiner | None:
        """Makes fields finer; None where the run is of another kind."""
        return Refiner(self.run) if self.preprocessing.kind == FIELDS else None

    def check_takes(self, fields: bool) -> None:
        """Refuse what the run is not for.

        Args:
            fields: whether fields are sent, and not samples.

        Raises:
            RefusedError: 400, its kind is another.
        """
        kind = self.preprocessing.kind
        if fields != (kind == FIELDS):
            ask = "/downscale" if kind == FIELDS else "/predict, /embed and /explain"
            raise RefusedError(400, "other_kind", f"{self.name} is a run of {kind}; ask {ask}.")

    def warm(self) -> None:
        """Make a pass or two, so that the first request is as quick as the others."""
        if self.refiner is not None:
            self.refiner.warm()
        else:
            for count in {1, min(2, self.preprocessing.most_at_once)}:  # alone, and in a batch
                self.predictor.outputs(_example(self.preprocessing, count))

    def check_embeds(self) -> None:
        """Refuse where the network has no vectors.

        Raises:
            OptionError: so.
        """
        if not hasattr(self.run.model, "embed"):
            raise OptionError(f"The network of {self.name} has no vectors to embed with.")

    def about(self) -> dict[str, Any]:
        """What is told of it: card, form and version."""
        ready = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.since))
        told = {"name": self.name, "version": self.version, "form": self.form, "ready": ready}
        return {**told, "kind": self.preprocessing.kind, "card": _told(self.run.card)}


@dataclass(frozen=True, eq=False)
class Lanes:
    """The batches of a version, one queue for each thing that it computes."""

    predict: Batcher[Tensor, Record]
    embed: Batcher[Tensor, list[float]]
    finer: Batcher[Piece, Values] | None


def open_served(name: str, folder: Path, *, untuned: bool = False) -> Served:
    """Open a run and warm it up, so that its first request is as quick as the others.

    A link is followed once, and files that change meanwhile are no version: so none is half old.

    Args:
        name: that requests know it by.
        folder: of the run.
        untuned: run the network itself, not what `tune` chose.

    Raises:
        RunError: it is no finished run, or it changed while it was opened.
        OptionError: its samples cannot be sent.
    """
    where, folder = folder, folder.resolve()
    signature = signature_of(folder)
    run = predict.open_run(folder)
    check_kind(run.preprocessing.kind, str(where))
    found = None if untuned else deploy.in_use(run.model, run.tuned)
    forward, form = found or (run.model, "the network itself")
    digests = [sha256(folder / each) for each in _FILES]
    if signature_of(folder) != signature:
        raise RunError(f"{where} changed while it was opened; the next look takes it whole.")
    version = hashlib.sha256("".join(digests).encode()).hexdigest()[:_VERSION]
    served = Served(name, run, form, forward, version, signature)
    served.warm()
    return served


def lanes_of(
    served: Served, limits: Limits, executor: Executor, told: Callable[[int], None]
) -> Lanes:
    """The queues of a version.

    Args:
        served: the version.
        limits: of the server.
        executor: whose thread computes.
        told: is told the size of each batch.
    """
    most = min(limits.batch_size, served.preprocessing.most_at_once)
    settings: dict[str, Any] = {"most": most, "wait": limits.wait_ms / 1000, "told": told}
    refiner = served.refiner
    return Lanes(
        predict=Batcher(served.records, executor, **settings),
        embed=Batcher(served.vectors, executor, **settings),
        finer=None if refiner is None else Batcher(refiner.made, executor, most=1, told=told),
    )


def signature_of(folder: Path) -> Signature:
    """What changes when a file of a run is replaced; a file that is not there counts as None.

    The choices of `tune` are among them, so that a new one is taken.
    """
    names = [folder / name for name in _FILES]
    names += sorted((folder / "tuned").glob("choice-*.json"))
    return tuple(map(_state, names))


def announced(signature: Signature) -> Signature:
    """The part of it that is written last: the card, and what `tune` chose.

    So a watch does not open weights whose card is still on its way.
    """
    return signature[1:]


def batch_of(preprocessing: Preprocessing, samples: Sequence[Tensor]) -> Batch:
    """A batch as evaluation makes it of what `apply` gave of each sample."""
    pixels, mask = preprocessing.padded(samples)
    inputs = (preprocessing.finish(pixels),)
    index = torch.arange(len(samples))
    return Batch(inputs=inputs, target=None, mask=mask, index=index, weight=None)


def row_of(record: Record, classes: Sequence[str], *, probabilities: bool) -> dict[str, Any]:
    """What is said of a sample, as `convarium predict --json` has it.

    Args:
        record: of the sample.
        classes: names, in the order of the outputs.
        probabilities: also that of every class, where there are any.

    Raises:
        DataError: a number is not finite.
    """
    row = {key: finite(value) for key, value in record.columns().items()}
    likely: Sequence[float] = getattr(record, "probabilities", ())
    if probabilities and likely:
        row["probabilities"] = {k: finite(p) for k, p in zip(classes, likely, strict=True)}
    return row


def finite(value: Any) -> Any:
    """A value for JSON, which has no NaN and no infinities.

    Raises:
        DataError: the network gave such a number.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError("The network gives no finite number for this sample.")
    return value


def named_runs(words: Sequence[str]) -> Mapping[str, Path]:
    """Folders by their names, from words such as `runs/photos` and `birds=runs/photos-2`.

    Raises:
        OptionError: two have one name, or a name has other signs than letters, digits, `-`, `_`
            and dots.

    >>> named_runs(["runs/photos", "birds=runs/photos-2"])["birds"].name
    'photos-2'
    """
    found: dict[str, Path] = {}
    for word in words:
        left, equals, right = word.partition("=")
        given = bool(equals) and not Path(word).exists()
        folder = Path(right if given else word)
        name = left if given else Path(os.path.abspath(folder)).name
        plain = name.replace("-", "").replace("_", "").replace(".", "")
        if not plain.isalnum() or not name.isascii():
            raise OptionError(f"{word!r} needs a plain name for addresses: NAME={folder}")
        if name in found:
            raise OptionError(f"Two runs are called {name!r}; give one another: NAME={folder}")
        found[name] = folder
    return found


def _told(card: Mapping[str, Any]) -> dict[str, Any]:
    """A card without the arrays of fields, which may be larger than what they are sent for."""
    steps = card.get("preprocessing")
    if not isinstance(steps, dict) or "arrays" not in steps:
        return dict(card)
    return {**card, "preprocessing": {k: v for k, v in steps.items() if k != "arrays"}}


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns, state.st_size


def _example(preprocessing: Preprocessing, count: int) -> Batch:
    pixels, index = preprocessing.example(count), torch.arange(count)
    return Batch(inputs=(pixels,), target=None, mask=None, index=index, weight=None)
