"""The two jobs of `downscaling.py`: their data, and how a network is trained on them.

fields -> parts in time -> what `convarium train --task downscale` trains on them -> fine fields
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import evidence
from convarium import data, models, seeds, tasks
from convarium import train as training
from convarium.data.grids.samples import GridSamples
from convarium.predict.scatter import drawn, scatter_of
from convarium.train.field_choice import field_choice, usual_grids
from convarium.train.places import Recipe, fit_best

Ids = NDArray[np.int64]

FACTOR = 4
DRAWS = 20


@dataclass(frozen=True)
class Job:
    """One data set, what is cut from it, and what is said of it to the command.

    Args:
        file: in the folder that `make data` fills.
        variables: the target first, then what is read besides.
        rows: of the file's grid, from and to.
        columns: likewise.
        times: first times for training, those behind them that validate, and last times for the
            test.
        choosing: the same within the training times, where something is chosen.
        unit: of the target.
        block: times that are drawn together for intervals.
        config: how it is trained, where it is not as the command does by itself.
    """

    file: str
    variables: tuple[str, ...]
    rows: tuple[int, int]
    columns: tuple[int, int]
    times: tuple[int, int, int]
    choosing: tuple[int, int, int]
    unit: str
    block: int
    config: Mapping[str, Any] = field(default_factory=dict)


class Scene(NamedTuple):
    """Fields for one division of the times.

    Args:
        parts: training, validation and test times.
        steps: fitted to the training times.
        pairs: what a network reads and gives.
        climatology: of the training times, for the delta method.
    """

    parts: data.Parts
    steps: data.FieldPreprocessing
    pairs: data.FieldPairs
    climatology: data.Climatology


def opened(job: Job) -> data.Fields:
    """The job's fields."""
    fields = data.open_fields(evidence.harness.cache() / job.file, job.variables)
    return fields.cut(slice(*job.rows), slice(*job.columns))


def times_of(job: Job, count: int, *, choose: bool) -> tuple[Ids, Ids, Ids]:
    """Training, validation and test times; or such of the training times, where one chooses."""
    train, validation, test = job.choosing if choose else job.times
    end = train + validation + test if choose else count
    each = np.arange(end)
    return each[:train], each[train : train + validation], each[end - test :]


def set_scene(
    job: Job, fields: data.Fields, times: tuple[Ids, Ids, Ids], *, weighted: bool = False
) -> Scene:
    """What training times say of the fields."""
    samples = GridSamples(data.perfect_pairs(fields, FACTOR, fields.names[:1], weighted=weighted))
    facts: dict[str, Any] = {
        "classes": list(fields.names[:1]),
        "units": [job.unit],
        "targets": samples.told[1],
    }
    dataset = data.Dataset(samples, source=job.file, mirrored=False, task="downscale", **facts)
    parts = data.Parts(*(data.Part(dataset, ids) for ids in times))
    grids = data.GridOptions(**usual_grids(dataset))
    steps = cast("data.FieldPreprocessing", data.fit_preprocessing(parts.train, grids=grids))
    climatology = cast("data.Climatology", steps.climatology)
    return Scene(parts, steps, steps.pairs_of(samples.pairs), climatology)


def build(scene: Scene, seed: int) -> models.FieldToField:
    """A network that gives the field it starts from."""
    name, options, _ = field_choice(len(scene.parts.train))
    seeds.torch_seed(torch.device("cpu"), seed, "initial weights")
    network = models.create(name, **{**options, **scene.steps.network_options})
    scene.steps.begin(network)
    found = cast("models.FieldToField", network)
    found.begin_at_start()
    return found


def train(job: Job, scene: Scene, network: models.FieldToField, seed: int) -> float:
    """Train it with places, as the command does; gives the seconds that the processor took."""
    config = field_choice(len(scene.parts.train))[2] | dict(job.config)
    settings = training.TrainConfig(**config, seed=seed)
    start = time.process_time()
    training.fit(network, scene.parts, settings, preprocessing=scene.steps)
    return time.process_time() - start


def fit_places(scene: Scene, network: models.FieldToField, recipe: Recipe | None = None) -> Recipe:
    """Fit what is left, place by place; as validates best, or as it was found elsewhere."""
    ids = scene.parts.train.ids
    batch, times = scene.pairs.batch(ids), torch.from_numpy(ids)
    if recipe is None:
        return fit_best(network, batch, times, scene.pairs.batch(scene.parts.validation.ids))
    models.fit_places(network, **batch._asdict(), times=times, **recipe._asdict())
    return recipe


def without_places(network: models.FieldToField) -> None:
    """Let the maps of a network's places give nothing."""
    for parameter in cast("nn.Module", network.places).parameters():
        nn.init.zeros_(parameter)


@torch.no_grad()
def predict(network: nn.Module, scene: Scene) -> NDArray[np.float32]:
    """The fine fields of the test times, (n, 1, H, W)."""
    batch = scene.pairs.batch(scene.parts.test.ids)
    network.eval()
    y: Tensor = network(batch.x, batch.mask, batch.fine, batch.weights)
    return y.numpy()


def draws(
    network: models.FieldToField, scene: Scene, fields: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Draws around the fine fields of the test times, (DRAWS, n, 1, H, W)."""
    parts = scene.parts
    patterns = scatter_of(network, parts.train, parts.validation, scene.steps)
    found = drawn(patterns, parts.test.ids.tolist(), DRAWS).transpose(0, 1).numpy()
    return fields + cast("NDArray[np.float32]", found)


def baselines(scene: Scene) -> dict[str, Any]:
    """The fine fields of what needs no training."""
    return tasks.baseline_fields(scene.pairs, scene.parts.test.ids, scene.climatology)


JOBS = {
    "winds": Job(
        file="ferret-datasets/monthly_navy_winds.cdf",
        variables=("uwnd", "vwnd"),
        rows=(4, 68),
        columns=(0, 144),
        times=(100, 8, 24),
        choosing=(76, 8, 16),
        unit="m/s",
        block=6,
    ),
    "warming": Job(
        file="iris-sample-data/A1B_north_america.nc",
        variables=("air_temperature",),
        rows=(0, 36),
        columns=(0, 48),
        times=(160, 20, 60),
        choosing=(120, 20, 20),
        unit="K",
        block=10,
    ),
}
