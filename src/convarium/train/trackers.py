"""Experiment trackers as observers: TensorBoard, MLflow, Weights & Biases, Trackio.

Each is an extra of its own; its package is imported when the training starts. They are told of each
step's loss, each epoch's row and the configuration. This file does not import torch.
"""

from __future__ import annotations

import contextlib
import sys
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from convarium import files
from convarium.errors import ConvariumError, OptionError, RunError, did_you_mean, import_extra
from convarium.train.config import TrainConfig

PROJECT = "convarium"
_IDS = "trackers.json"


class Client(Protocol):
    """What a tracker's package is asked for."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Store values of a step."""

    def close(self, *, failed: bool) -> None:
        """Write what is left."""


class TensorBoard:
    """Event files in the run folder's `tensorboard/`; steps after `first_step` are written anew."""

    def __init__(self, folder: Path, config: Mapping[str, Any], first_step: int) -> None:
        import_extra("tensorboard", "tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        purged = first_step + 1 if first_step else None
        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=purged)
        lines = [f"    {name} = {value!r}" for name, value in config.items()]
        self._writer.add_text("configuration", "\n".join(lines), first_step)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """One scalar a value."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self, *, failed: bool) -> None:
        """Flush and close the file."""
        self._writer.close()


class MLflow:
    """A run of the experiment `convarium` on the server that MLFLOW_TRACKING_URI names."""

    def __init__(self, folder: Path, config: Mapping[str, Any], first_step: int) -> None:
        mlflow = import_extra("mlflow", "mlflow")
        self._metric = mlflow.entities.Metric
        self._client = mlflow.MlflowClient()
        known = _stored_id(folder, "mlflow") if first_step else None
        if known is not None:
            self._run: str = known
            return
        experiment = self._client.get_experiment_by_name(PROJECT)
        number = (
            self._client.create_experiment(PROJECT)
            if experiment is None
            else experiment.experiment_id
        )
        self._run = self._client.create_run(number, run_name=folder.name).info.run_id
        for name, value in config.items():
            self._client.log_param(self._run, name, value)
        _store_id(folder, "mlflow", self._run)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """One metric a value, in one call."""
        now = int(1000 * time.time())
        metrics = [self._metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def close(self, *, failed: bool) -> None:
        """End the run."""
        self._client.set_terminated(self._run, "FAILED" if failed else "FINISHED")


class WandB:
    """A run of the project `convarium`; WANDB_MODE=offline keeps it in the run folder."""

    def __init__(self, folder: Path, config: Mapping[str, Any], first_step: int) -> None:
        wandb = import_extra("wandb", "wandb")
        name = (_stored_id(folder, "wandb") if first_step else None) or uuid.uuid4().hex
        _store_id(folder, "wandb", name)
        self._run = wandb.init(
            project=PROJECT,
            name=folder.name,
            id=name,
            dir=str(folder),
            config=dict(config),
            resume="allow",
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        """One entry."""
        self._run.log(dict(values), step=step)

    def close(self, *, failed: bool) -> None:
        """Finish and upload."""
        self._run.finish(exit_code=1 if failed else 0)


class Trackio:
    """A run of the project `convarium` in Trackio's own folder (TRACKIO_DIR).

    Trackio finds a run by its name, so that it has one of its own, beginning with the folder's.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], first_step: int) -> None:
        self._trackio = import_extra("trackio", "trackio")
        name = f"{folder.name}-{uuid.uuid4().hex[:8]}"
        if first_step:
            name = _stored_id(folder, "trackio") or folder.name  # of runs that kept no name
        with contextlib.redirect_stdout(sys.stderr):
            run = self._trackio.init(
                project=PROJECT,
                name=name,
                config=dict(config),
                resume="allow" if first_step else "never",
                embed=False,
            )
        _store_id(folder, "trackio", getattr(run, "name", name))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """One entry."""
        self._trackio.log(dict(values), step=step)

    def close(self, *, failed: bool) -> None:
        """Finish."""
        with contextlib.redirect_stdout(sys.stderr):
            self._trackio.finish()


_CLIENTS: Mapping[str, Callable[[Path, Mapping[str, Any], int], Client]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
    "trackio": Trackio,
}
TRACKERS = tuple(_CLIENTS)


class Tracker:
    """An observer that tells a tracker; use it in a `with` block, which closes it.

    Values are `step/loss` for each step and the columns of the history's rows for each epoch, all
    by number of the step. A resumed run goes on in the tracker's run. A tracker that fails after
    its start is left out from there on, with a warning; the training goes on.

    Args:
        name: one of `TRACKERS`.
        folder: the run folder; its name is the run's.
        config: is stored with the run.

    Raises:
        OptionError: there is no such tracker.
        MissingExtraError: its package is not installed.
    """

    def __init__(self, name: str, folder: str | Path, config: TrainConfig) -> None:
        if name not in _CLIENTS:
            raise OptionError(
                f"name (={name!r}) must be one of {', '.join(TRACKERS)}."
                f"{did_you_mean(name, TRACKERS)}"
            )
        import_extra(name, name)  # before anything is written
        self.name, self.folder, self.config = name, Path(folder), config
        self._client: Client | None = None
        self._step = 0

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._kept_going():
            if self._client is not None:
                self._client.close(failed=kind is not None)
        self._client = None

    def on_start(self, *, epochs: int, steps: int, first_step: int, batch_size: int) -> None:
        """Open the tracker.

        Raises:
            MissingExtraError: its package is not installed.
            RunError: it cannot be opened.
        """
        self._step = first_step
        try:
            self._client = _CLIENTS[self.name](self.folder, self.config.to_mapping(), first_step)
        except ConvariumError:
            raise
        except Exception as error:  # each package has errors of its own
            raise RunError(
                f"Cannot start {self.name}: {_first_line(error)}; set it up as its documents say, "
                "or train without it and --resume."
            ) from error

    def on_step(self, step: int, loss: float) -> None:
        """Tell the loss."""
        self._step = step
        with self._kept_going():
            if self._client is not None:
                self._client.log({"step/loss": loss}, step)

    def on_epoch(self, row: Mapping[str, Any]) -> None:
        """Tell the row."""
        values = {f"epoch/{name}": float(value) for name, value in row.items()}
        with self._kept_going():
            if self._client is not None:
                self._client.log(values, self._step)

    @contextlib.contextmanager
    def _kept_going(self) -> Iterator[None]:
        """Go on without a tracker that fails; its server may be gone, or its disk full."""
        try:
            yield
        except Exception as error:  # each package has errors of its own
            self._client = None
            warnings.warn(
                f"{self.name} failed after step {self._step} ({_first_line(error)}) and is told "
                "nothing more; the training goes on, and history.jsonl has every epoch.",
                stacklevel=3,
            )


def _first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _stored_id(folder: Path, name: str) -> str | None:
    """The tracker's own name for the run in `folder`, where it has one."""
    path = folder / _IDS
    return files.read_json(path).get(name) if path.exists() else None


def _store_id(folder: Path, name: str, value: str) -> None:
    path = folder / _IDS
    known = files.read_json(path) if path.exists() else {}
    files.write_json(path, {**known, name: value})
