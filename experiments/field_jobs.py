"""The two jobs of `downscaling.py`: their data, networks and recipes, and how a network is trained.

fields -> pairs (coarse, fine, static means) -> network for all cells -> places -> fine fields
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import evidence
import learning
from convarium import data, models, tasks

Ids = NDArray[np.int64]

FACTOR = 4
CHANNELS = {"channels": [64, 64], "kernel_sizes": [5, 3, 3]}


@dataclass(frozen=True)
class Job:
    """One data set, what is cut from it, and the recipe that validation chose.

    Args:
        file: in the folder that `make data` fills.
        variables: the target first, then what is read besides.
        rows: of the file's grid, from and to.
        columns: likewise.
        train: first times, for training.
        test: last times, for the test.
        validation: first times, times left out and times behind them, for choosing.
        unit: of the target.
        network: the row's name and its options.
        delta: whether it starts from the delta method's field, not from the interpolated one.
        shifts: of training fields in fine rows and columns, so that blocks lie otherwise; on a
            circle of columns the whole field is turned, else a smaller one is cut.
        mirrored: whether training fields are mirrored at the equator too, where V changes its sign.
        horizon: times after which a time counts a third; None counts all alike.
        steps: of training.
        batch: fields in a step.
        rate: the first learning rate.
        penalty: of the places, in times.
        rounds: how often it is learned anew.
        block: times that are drawn together for intervals.
    """

    file: str
    variables: tuple[str, ...]
    rows: tuple[int, int]
    columns: tuple[int, int]
    train: int
    test: int
    validation: tuple[int, int, int]
    unit: str
    network: dict[str, Any]
    delta: bool
    shifts: tuple[tuple[int, int], ...]
    mirrored: bool
    horizon: float | None
    steps: int
    batch: int
    rate: float
    penalty: float
    rounds: int
    block: int


class Scene(NamedTuple):
    """Fields for one division of the times.

    Args:
        pairs: what a network reads and gives.
        others: the same shifted and mirrored, for training.
        climatology: of the training times, for the delta method.
        counts: how much each training time counts.
        train: training times.
    """

    pairs: data.FieldPairs
    others: list[data.FieldPairs]
    climatology: data.Climatology
    counts: NDArray[np.float32]
    train: Ids


def opened(job: Job) -> data.Fields:
    """The job's fields, all cells of the file."""
    return data.open_fields(evidence.harness.cache() / job.file, job.variables)


def set_scene(job: Job, whole: data.Fields, train: Ids, *, weighted: bool = False) -> Scene:
    """Pairs and what training times say of them."""
    counts = np.exp((train - train[-1]) / (job.horizon or math.inf)).astype(np.float32)
    fields = whole.cut(slice(*job.rows), slice(*job.columns))
    pairs = _pairs(job, fields, train, counts, weighted)
    moved = [_shifted(job, whole, *by) for by in job.shifts]
    moved += [_mirrored(each) for each in moved if job.mirrored]
    others = [_pairs(job, each, train, counts, weighted) for each in moved]
    return Scene(pairs, others, _climatology(fields, train, pairs.areas), counts, train)


def _shifted(job: Job, whole: data.Fields, rows: int, columns: int) -> data.Fields:
    (top, bottom), (left, right) = job.rows, job.columns
    if whole.grid.wraps:
        turned = {name: np.roll(v, -columns, -1) for name, v in whole.source.items()}
        whole = replace(whole, source=turned)
        return whole.cut(slice(top + rows, bottom + rows), slice(left, right))
    ends = [
        slice(low + by, low + by + (high - low - FACTOR))
        for low, high, by in ((top, bottom, rows), (left, right, columns))
    ]
    return whole.cut(*ends)


def _mirrored(fields: data.Fields) -> data.Fields:
    """North and south exchanged, and summer and winter with them."""
    signs = (1, -1)  # of U and of V
    source = {
        name: sign * values[:, ::-1]
        for sign, (name, values) in zip(signs, fields.source.items(), strict=True)
    }
    grid = replace(fields.grid, latitude=-fields.grid.latitude[::-1])
    return replace(fields, source=source, grid=grid, months=(fields.months + 5) % 12 + 1)


def _climatology(
    fields: data.Fields, train: Ids, areas: NDArray[np.float64] | None
) -> data.Climatology:
    values = fields.read(train)[:, :1]
    return data.fit_climatology(values, fields.months[train], (FACTOR, FACTOR), areas)


def _pairs(
    job: Job, fields: data.Fields, train: Ids, counts: NDArray[np.float32], weighted: bool
) -> data.FieldPairs:
    """Pairs with the mean fields of the training times, and latitudes, as static ones."""
    mean = np.average(fields.read(train), 0, counts)
    latitude = np.sin(np.deg2rad(fields.grid.latitude))[None, :, None]
    static = np.concatenate([mean, np.broadcast_to(latitude, mean[:1].shape)]).astype(np.float32)
    areas = fields.grid.areas if weighted else None
    return data.perfect_pairs(
        fields,
        FACTOR,
        fields.names[:1],
        static=static,
        climatology=_climatology(fields, train, areas) if job.delta else None,
        weighted=weighted,
    )


def build(job: Job, scene: Scene, seed: int) -> models.FieldToField:
    """A network that gives the field it starts from."""
    torch.manual_seed(seed)
    cells = list(scene.pairs.read(scene.train[:1])[0].shape[2:])
    options = scene.pairs.network_options | job.network
    network = models.create(
        **options, constraint="additive", cells=cells, cell_features=0, cell_kernel=5
    )
    statistics = scene.pairs.statistics(scene.train)
    left = scene.pairs.residual(scene.train)
    statistics["targets"] = (statistics["targets"][0], left[1])
    network.normalise_with(**statistics)
    network.begin_at_start()
    return network


def train(job: Job, scene: Scene, network: models.FieldToField, seed: int) -> float:
    """Train what all cells share; gives the seconds that the processor took."""
    reader = _Reader(network)
    start = time.process_time()
    learning.learn(reader, _batches(job, scene, seed), reader.loss, steps=job.steps, rate=job.rate)
    return time.process_time() - start


def fit_places(job: Job, scene: Scene, network: models.FieldToField) -> None:
    """Fit what is left, place by place."""
    batch = scene.pairs.batch(scene.train)
    models.fit_places(
        network,
        batch.x,
        batch.y,
        fine=batch.fine,
        weights=batch.weights,
        penalty=job.penalty,
        rounds=job.rounds,
        counts=torch.from_numpy(scene.counts),
    )


@torch.no_grad()
def predict(network: nn.Module, scene: Scene, ids: Ids) -> NDArray[np.float32]:
    """The fine fields of some times, (n, 1, H, W)."""
    batch = scene.pairs.batch(ids)
    network.eval()
    y: Tensor = network(batch.x, batch.mask, batch.fine, batch.weights)
    return y.numpy()


class _Reader(nn.Module):
    """A network as `learning.learn` calls it, with batches of fields."""

    def __init__(self, network: models.FieldToField) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: data.FieldBatch) -> Tensor:
        """Fine fields."""
        y: Tensor = self.network(batch.x, batch.mask, batch.fine, batch.weights)
        return y

    def loss(self, outputs: Tensor, batch: data.FieldBatch) -> Tensor:
        """The squared error over the cells."""
        return tasks.field_loss(self.network, outputs, batch.y, weights=batch.weights)


def _batches(
    job: Job, scene: Scene, seed: int
) -> Iterator[tuple[data.FieldBatch, data.FieldBatch]]:
    """Times drawn by how much they count, each batch shifted as drawn."""
    random = np.random.default_rng(seed)
    share = scene.counts / scene.counts.sum(dtype=np.float64)
    share /= share.sum()
    while True:
        pairs = scene.others[random.integers(len(scene.others))]
        some = pairs.batch(random.choice(scene.train, job.batch, p=share))
        yield some, some


JOBS = {
    "winds": Job(
        file="ferret-datasets/monthly_navy_winds.cdf",
        variables=("uwnd", "vwnd"),
        rows=(4, 68),
        columns=(0, 144),
        train=100,
        test=24,
        validation=(68, 8, 24),
        unit="m/s",
        network={"name": "espcn", "start": "coarse"} | CHANNELS,
        delta=False,
        shifts=tuple((row, column) for row in range(-4, 5) for column in range(4)),
        mirrored=True,
        horizon=60.0,
        steps=450,
        batch=16,
        rate=2e-3,
        penalty=100.0,
        rounds=0,
        block=6,
    ),
    "warming": Job(
        file="iris-sample-data/A1B_north_america.nc",
        variables=("air_temperature",),
        rows=(0, 36),
        columns=(0, 48),
        train=160,
        test=60,
        validation=(120, 20, 20),
        unit="K",
        network={"name": "espcn"} | CHANNELS,
        delta=True,
        shifts=tuple((row, column) for row in range(5) for column in range(5)),
        mirrored=False,
        horizon=None,
        steps=400,
        batch=16,
        rate=2e-3,
        penalty=3.0,
        rounds=16,
        block=10,
    ),
}
