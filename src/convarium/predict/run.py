"""A run folder, opened: its network, its card, and the predictor that joins them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convarium import files, models
from convarium.data import Dataset, Part, Preprocessing
from convarium.errors import RunError
from convarium.predict.predictor import Predictor
from convarium.predict.tables import rows_of, write_table

if TYPE_CHECKING:
    from torch import Tensor

    from convarium.tasks import Evaluation


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

    def samples(self) -> Tensor:
        """The real inputs `(N, C, *S)` that the run keeps for checks, preprocessed float32.

        Raises:
            RunError: the run has none, or the file cannot be read.
        """
        tensors = files.read_tensors(self.folder / "preprocessing" / "samples.safetensors")
        return self.preprocessing.finish(tensors["inputs"])


def open_run(folder: str | Path) -> Run:
    """Open a finished run folder.

    Raises:
        RunError: the folder is missing, is not a run, is not finished, or is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"There is no run folder {folder}; 'convarium train DATA --out' makes one.")
    if not (folder / "card.json").exists():
        if (folder / "latest").exists():
            raise RunError(f"The run {folder} is not finished; repeat its train with --resume.")
        raise RunError(f"{folder} is not a run: it has no card.json.")
    card = models.read_card(folder)
    missing = [key for key in ("task", "classes", "preprocessing") if key not in card]
    if missing:
        raise RunError(f"{folder} holds a network but no run: card.json lacks {missing[0]!r}.")
    model = models.load(folder)
    model.eval()
    return Run(folder, model, card)


def record_result(folder: str | Path, name: str, evaluation: Evaluation, part: Part) -> None:
    """Write a measured result into the run's card, and its predictions beside it.

    Args:
        folder: the run.
        name: which data it was measured on, such as "test".
        evaluation: the result.
        part: the samples, for their names in `predictions.parquet`.
    """
    folder = Path(folder)
    write_predictions(folder / "predictions.parquet", evaluation, part.dataset)
    card = files.read_json(folder / "card.json")
    card.setdefault("result", {})[name] = evaluation.summary()
    files.write_json(folder / "card.json", card)


def write_predictions(path: str | Path, evaluation: Evaluation, dataset: Dataset) -> int:
    """Write an evaluation's single predictions with the samples' names; gives their number.

    Args:
        path: ends in `.csv` or `.parquet`.
        evaluation: of samples of `dataset`.
        dataset: knows the names.
    """
    table = evaluation.table()
    names = {"name": [dataset.name(id) for id in table["id"]]}
    return write_table(path, rows_of({**names, **table}))
