"""A run folder, opened: its network, its card, and the predictor that joins them."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convarium import files, models, tasks
from convarium.data import Dataset, Part, Preprocessing, batches, open_dataset, open_inputs
from convarium.data.batch import memory_order
from convarium.data.places import place_now
from convarium.errors import ConvariumError, DataError, OptionError, RunError
from convarium.predict.predictor import Predictor
from convarium.predict.tables import write_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from convarium.tasks import Evaluation

_SAMPLES = 32
_OPTIONS = {"in_channels": "channels", "spatial_dims": "axes", "vocabulary": "tokens"}


@dataclass(frozen=True)
class Run:
    """A trained network with all that it needs.

    Args:
        folder: where it lies.
        model: the network, in evaluation mode.
        card: what `card.json` says.
    """

    folder: Path
    model: models.Network
    card: dict[str, Any]

    @cached_property
    def predictor(self) -> Predictor:
        """Answers for data, with the card's preprocessing."""
        return Predictor(self.model, self.card)

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """The steps from a file to the network's input."""
        return self.predictor.preprocessing

    @property
    def tuned(self) -> Path:
        """Where `tune` keeps its files, once it has run."""
        return self.folder / "tuned"

    @property
    def identity(self) -> dict[str, str]:
        """Hashes that tell its network and steps from others; what is measured later is not in."""
        card = {name: value for name, value in self.card.items() if name != "result"}
        text = json.dumps(card, sort_keys=True)
        weights = files.sha256(self.folder / "model.safetensors")
        return {"network": weights, "card": hashlib.sha256(text.encode()).hexdigest()}

    @property
    def columns(self) -> dict[str, Any]:
        """Of the table it was trained on, by the keywords of `data.open_dataset`; none if unknown.

        The group column is among them, so that the data has the fingerprint of the card.
        """
        found: dict[str, Any] = self._read.get("columns", {})
        return found

    @property
    def _read(self) -> dict[str, Any]:
        """What `config.toml` says of the data; nothing of a run from elsewhere."""
        try:
            settings = tomllib.loads((self.folder / "config.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        found: dict[str, Any] = settings.get("data", {})
        return found

    def dataset(self, source: str | Path | None = None) -> Dataset:
        """The data that the run was trained on, opened as it was then.

        Args:
            source: where it is; None takes the place where it was, or that the card names.

        Raises:
            OptionError: it is not at that place any more, and no other was named.
            DataError: the source that was named cannot be read.
        """
        place = source or place_now({**self._read, **self.card.get("data", {})})
        try:
            return open_dataset(
                place, task=self.card["task"], kind=self.preprocessing.kind, **self.columns
            )
        except ConvariumError as error:
            if source is not None:
                raise
            raise OptionError(
                f"The data that {self.folder} was trained on is not at {place!r} any more; name "
                "it: --data DATA"
            ) from error

    def trained_on(self, dataset: Dataset) -> int:
        """How many samples of a data set the network has learnt from; 0 if it is other data."""
        told = self.card.get("data", {})
        counts = told.get("counts", {})
        known = sum(counts.values()) + told.get("between", 0)
        if not known or not known <= len(dataset) <= known + told.get("skipped", 0):
            return 0
        try:
            same = told.get("fingerprint") == dataset.fingerprint()
        except DataError:  # too much of it cannot be read
            same = False
        return int(counts["train"]) if same else 0

    def part(self, dataset: Dataset, name: str) -> Part:
        """A part of the data that the run was trained on, as it was split.

        Args:
            dataset: the same data.
            name: train, validation or test.

        Raises:
            RunError: it is other data, the part is empty, or the run does not say who is in it.
        """
        if not self.trained_on(dataset):
            raise RunError(
                f"{self.folder} was trained on other data, of which it knows no part (={name!r}); "
                "leave the part out to measure all samples."
            )
        path = self.folder / "splits.parquet"
        if not path.exists():
            raise RunError(f"{self.folder} does not say which samples are in a part: no {path}.")
        import pyarrow.parquet as pq

        rows = pq.read_table(path, columns=["id"], filters=[("part", "=", name)])
        if not len(rows):
            raise RunError(f"The part {name!r} of {self.folder} is empty.")
        ids = rows["id"].to_numpy().copy()
        return Part(self.counting(dataset, name, ids), ids)

    def counting(self, dataset: Dataset, name: str, ids: NDArray[np.int64]) -> Dataset:
        """The data with what counts in a part: of fields the region that the run held out, or not.

        Args:
            dataset: that the run was trained on.
            name: of the part.
            ids: its samples.
        """
        region = self.card.get("split", {}).get("held_out")
        if region is None:
            return dataset
        from convarium.data.grids.holding import held_out

        return held_out(dataset, region, ids if name == "test" else ids[:0])

    def samples(self, data: str | Path | None = None) -> Tensor:
        """Real inputs `(N, C, *S)` for checks, preprocessed float32, 32 at most.

        Args:
            data: a path, as `data.open_inputs` takes them; None takes those that the run keeps.

        Raises:
            RunError: the run keeps none, or the file cannot be read.
            DataError: `data` cannot be read.
        """
        if data is not None:
            series = self.preprocessing.kind == "series"
            columns = self.columns if series else None
            dataset = open_inputs([str(data)], kind=self.preprocessing.kind, columns=columns)
            if series:  # of any lengths, cut to the shortest
                some = range(min(_SAMPLES, len(dataset)))
                found = [self.preprocessing.apply(dataset.read(i)) for i in some]
                return self.preprocessing.together(found)
            first = next(batches(dataset, self.preprocessing, batch_size=_SAMPLES))
            return first.inputs[0]
        path = self.folder / "preprocessing" / "samples.safetensors"
        if not path.exists():
            raise RunError(
                f"{self.folder} keeps no samples, since it was not trained here; give some images: "
                "convarium export RUN --samples PHOTOS"
            )
        return self.preprocessing.finish(files.read_tensors(path)["inputs"])


def open_run(folder: str | Path) -> Run:
    """Open a finished run folder.

    Raises:
        RunError: the folder is missing, is not a run, is not finished, or is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"There is no run folder {folder}; 'convarium train DATA --out' makes one.")
    if not (folder / "card.json").exists():
        if (folder / "config.toml").exists():
            raise RunError(f"The run {folder} is not finished; repeat its train with --resume.")
        raise RunError(f"{folder} is not a run: it has no card.json.")
    card = models.read_card(folder)
    missing = [key for key in ("task", "classes", "preprocessing") if key not in card]
    if missing:
        raise RunError(f"{folder} holds a network but no run: card.json lacks {missing[0]!r}.")
    model = models.load(folder)
    model.eval()
    _check_fit(folder / "card.json", card, model)
    _order(model, card)
    return Run(folder, model, card)


def _order(model: models.Network, card: dict[str, Any]) -> None:
    """Lay the weights out as in training, so that the validation result comes out bit for bit."""
    layout = card.get("recipe", {}).get("layout", "contiguous")
    order = memory_order(layout, card["preprocessing"]["input_shape"])
    model.to(memory_format=order)  # type: ignore[call-overload]


def _check_fit(path: Path, card: dict[str, Any], model: models.Network) -> None:
    """Refuse a card whose classes or preprocessing are not those of its network."""
    remedy = "copy the whole run folder again, or repeat its train."
    try:
        preprocessing = Preprocessing.from_card(card)
    except (DataError, OverflowError) as error:
        raise RunError(f"{path} cannot be used: {error} Else {remedy}") from error
    classes = card["classes"]
    if not isinstance(classes, list):
        raise RunError(f"{path} has classes that are no list of names; {remedy}")
    try:
        tasks.from_card(card)
    except OptionError as error:
        raise RunError(f"{path} cannot be used: {error} Else {remedy}") from error
    outputs = model.num_classes if isinstance(model, models.Classifier) else len(classes)
    if len(classes) != outputs:
        raise RunError(
            f"{path} has {len(classes)} classes and a network of {outputs} outputs; {remedy}"
        )
    for name, value in preprocessing.network_options.items():
        own = model.config.get(name, getattr(model, name, None))
        if own != value:
            raise RunError(
                f"{path} prepares {preprocessing.kind} of {value} {_OPTIONS.get(name, name)} for a "
                f"network that takes {own}; {remedy}"
            )


def record_result(folder: str | Path, name: str, evaluation: Evaluation, part: Part) -> None:
    """Write a measured result into the run's card, and its predictions beside it.

    Two processes that do so at once take turns: no result is lost.

    Args:
        folder: the run.
        name: which data it was measured on, such as "test".
        evaluation: the result.
        part: the samples, for their names in `predictions.parquet`.
    """
    import filelock

    folder = Path(folder)
    with filelock.FileLock(folder / ".lock"):
        write_predictions(folder / "predictions.parquet", evaluation, part.dataset)
        card = files.read_json(folder / "card.json")
        card.setdefault("result", {})[name] = evaluation.summary()
        files.write_json(folder / "card.json", card)


def record_baselines(folder: str | Path, baselines: Sequence[Mapping[str, Any]]) -> None:
    """Write into the run's card what simple classifiers reach on its test samples."""
    import filelock

    folder = Path(folder)
    with filelock.FileLock(folder / ".lock"):
        card = files.read_json(folder / "card.json")
        card.setdefault("result", {})["baselines"] = [dict(each) for each in baselines]
        files.write_json(folder / "card.json", card)


def write_predictions(path: str | Path, evaluation: Evaluation, dataset: Dataset) -> int:
    """Write an evaluation's single predictions with the samples' names; gives their number.

    Args:
        path: ends in `.csv` or `.parquet`.
        evaluation: of samples of `dataset`.
        dataset: knows the names.
    """
    rows = evaluation.predictions()
    return write_table(path, ({"name": dataset.name(row["id"]), **row} for row in rows))
