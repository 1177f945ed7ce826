"""Deeper plain networks fit worse, deeper residual ones do not: plain and residual nets, 20 and 56.

    python experiments/plain_against_residual.py --jobs 2
    python experiments/plain_against_residual.py --config cifar --data cifar-10-batches-bin
    python experiments/plain_against_residual.py --figure

Four networks with the same convolutions under one recipe; the plain ones lack the shortcuts. For
each network and seed: training and test error with intervals, and on one batch of training images,
before the first step and after each epoch, the gradient at every convolution and the share of dead
units. All networks learn from the same images; a seed draws the initial weights and the order.
Finished runs are kept: called again with the same settings, it goes on with what is missing.

The configuration "fashion" (Fashion-MNIST resized to 32x32, a part of it) is sized for two cores;
"cifar" has the paper's batches, length and rates; its momentum is Nesterov's, norms do not decay.

References:
    He, Zhang, Ren, Sun 2015, arXiv:1512.03385, section 4.2, table 6 and figure 6.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import evidence
import figures
from convarium import data, models, train
from convarium.errors import ConvariumError
from convarium.files import read_json, write_json
from convarium.measure.flow import GradientFlow, gradient_flow
from convarium.predict import Predictor

NETWORKS = ("plain20_cifar", "plain56_cifar", "resnet20_cifar", "resnet56_cifar")
RESULT = evidence.RESULTS / "plain_against_residual.json"


@dataclass(frozen=True)
class Settings:
    """What a run depends on besides its network and its seed.

    Args:
        source: the data set; a name inside the cache folder, or a path.
        images: training images; None means all that validation leaves.
        validation: images that choose the epoch.
        test: test images; None means all.
        recipe: keywords of `train.TrainConfig`.
    """

    source: str
    images: int | None
    validation: int
    test: int | None
    recipe: Mapping[str, Any]


_SGD = {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 1e-4}
_RECIPE = _SGD | {"batch_size": 128, "flip": True}
CONFIGS = {
    "fashion": Settings(
        source="fashion-mnist",
        images=5_000,
        validation=500,
        test=2_000,
        recipe=_RECIPE | {"epochs": 10, "warmup": 0.1, "pad_crop": 2, "batch_size": 64},
    ),
    # 45,000 images are 352 steps an epoch: 182 epochs are the paper's 64,000 steps.
    "cifar": Settings(
        source="cifar-10-batches-bin",
        images=45_000,
        validation=5_000,
        test=None,
        recipe=_RECIPE
        | {"epochs": 182, "warmup": 0.0, "pad_crop": 4, "milestones": [32_000, 48_000]},
    ),
}


def load(settings: Settings) -> data.Parts:
    """The same images for every network and seed."""
    parts = data.split(evidence.opened(settings.source), validation=0.1, test=0.1)
    sizes = {"train": settings.images, "validation": settings.validation, "test": settings.test}
    chosen = {name: evidence.drawn(getattr(parts, name), n, name) for name, n in sizes.items()}
    return dataclasses.replace(parts, **chosen)


class Watch:
    """Looks at the gradient before the first step and after each epoch."""

    def __init__(self, model: nn.Module, batch: data.Batch) -> None:
        self.model, self.batch = model, batch
        self.rows: list[dict[str, Any]] = []

    def on_start(self, **_: int) -> None:
        """The gradient at initialisation."""
        self.look(0)

    def on_step(self, step: int, loss: float) -> None:
        """Nothing to do."""

    def on_epoch(self, row: Mapping[str, Any]) -> None:
        """The gradient after an epoch."""
        self.look(row["epoch"])

    def look(self, epoch: int) -> None:
        """Add one row."""
        flow = gradient_flow(self.model, self.batch.inputs[0], self.batch.target, training=True)
        self.rows.append({"epoch": epoch, **told(flow)})


def told(flow: GradientFlow) -> dict[str, Any]:
    """What is kept of a gradient flow, to four digits."""
    convolutions = [row for row in flow.rows if row.kind == "Conv2d"]
    return {
        "loss": evidence.digits(flow.loss),
        "first_weight_gradient": evidence.digits(convolutions[0].weight_gradient),
        "first_output_gradient": evidence.digits(convolutions[0].output_gradient),
        "last_output_gradient": evidence.digits(convolutions[-1].output_gradient),
        "dead": evidence.digits(flow.dead),
        "weight_gradients": [evidence.digits(row.weight_gradient) for row in convolutions],
    }


def one_run(network: str, seed: int, settings: Settings) -> dict[str, Any]:
    """Train one network on one thread, and measure it."""
    torch.set_num_threads(1)
    parts = load(settings)
    preprocessing = data.fit_preprocessing(parts.train, size=32)
    channels, classes = preprocessing.input_shape[0], len(parts.train.classes)
    torch.manual_seed(seed)
    model = models.create(network, in_channels=channels, num_classes=classes)
    config = train.TrainConfig(**settings.recipe, seed=seed, device="cpu")
    watch = Watch(model, next(iter(data.batches(parts.train, preprocessing, batch_size=128))))
    result: dict[str, Any] = {"network": network, "seed": seed}
    result["parameters"] = sum(p.numel() for p in model.parameters())
    start = time.perf_counter()
    try:
        history = train.fit(model, parts, config, preprocessing=preprocessing, observers=[watch])
    except ConvariumError as error:
        return result | {"diverged": str(error), "gradients": watch.rows}
    seconds = time.perf_counter() - start
    predictor = Predictor(model, data.build_card(parts, preprocessing))
    return result | {
        "train": evidence.error_of(predictor, parts.train),
        "test": evidence.error_of(predictor, parts.test),
        "best_epoch": history.best_epoch,
        "history": [dict(row) for row in history.rows],
        "gradients": watch.rows,
        "seconds": round(seconds, 1),
        "seconds_per_epoch_per_1000_images": per_thousand(history, len(parts.train)),
    }


def per_thousand(history: train.History, n: int) -> float:
    """Seconds of an epoch, validation included, for each 1,000 training images."""
    return statistics.median(row["seconds"] for row in history.rows) / n * 1000


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """For each network its errors over the seeds, its first layer's gradient and its dead units."""
    rows: dict[str, Any] = {}
    for network in NETWORKS:
        mine = [run for run in runs if run["network"] == network and "test" in run]
        if not mine:
            continue
        rows[network] = {"seeds": [run["seed"] for run in mine]}
        for part in ("train", "test"):
            errors = [run[part]["error"] for run in mine]
            rows[network][f"{part}_error"] = evidence.over_seeds(errors)
        for place, word in ((0, "initial"), (-1, "final")):
            for name in ("first_weight_gradient", "dead"):
                values = [run["gradients"][place][name] for run in mine]
                rows[network][f"{word}_{name}"] = evidence.over_seeds(values)
    for kind in ("plain", "resnet"):
        rows[f"{kind}56_minus_{kind}20"] = {
            f"{part}_error": difference(runs, f"{kind}56_cifar", f"{kind}20_cifar", part)
            for part in ("train", "test")
        }
    return rows


def difference(
    runs: Sequence[Mapping[str, Any]], deep: str, shallow: str, part: str
) -> dict[str, Any] | None:
    """The error of one network less that of another, by seeds that both have."""
    errors = {(run["network"], run["seed"]): run[part]["error"] for run in runs if part in run}
    shared = [seed for network, seed in errors if network == deep and (shallow, seed) in errors]
    found = [errors[deep, seed] - errors[shallow, seed] for seed in shared]
    return evidence.over_seeds(found) if found else None


def write(path: Path, config: str, settings: Settings, runs: list[dict[str, Any]]) -> None:
    """The whole result so far, in the order of networks and seeds."""
    runs.sort(key=lambda run: (NETWORKS.index(run["network"]), run["seed"]))
    told = {
        "experiment": "plain_against_residual",
        "claim": "Deeper plain networks fit even their training data worse; with shortcuts, depth "
        "does not hurt (He et al. 2015, section 4.2).",
        "config": config,
        "settings": dataclasses.asdict(settings),
        "summary": summary(runs),
        "runs": runs,
    }
    write_json(path, told | evidence.provenance())


def finished(path: Path, settings: Settings) -> list[dict[str, Any]]:
    """The runs of an earlier call with the same settings."""
    if not path.exists():
        return []
    before = read_json(path)
    if before["settings"] != dataclasses.asdict(settings):
        raise SystemExit(f"{path} was made with other settings; give another --out.")
    return list(before["runs"])


def main() -> int:
    """Run what is missing, a few side by side, and write after each."""
    arguments = parsed()
    if arguments.figure:
        evidence.say(" ".join(map(str, figures.write(arguments.out))))
        return 0
    settings = CONFIGS[arguments.config]
    given = {"source": arguments.data, "images": arguments.images, "test": arguments.test}
    settings = dataclasses.replace(settings, **{k: v for k, v in given.items() if v is not None})
    if arguments.epochs is not None:
        recipe = {**settings.recipe, "epochs": arguments.epochs}
        settings = dataclasses.replace(settings, recipe=recipe)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    runs = finished(arguments.out, settings)
    done = {(run["network"], run["seed"]) for run in runs}
    # Deep networks first: they take longest, and no core waits at the end.
    deep_first = sorted(arguments.networks, key=lambda name: "20" in name)
    wanted = [(network, seed) for seed in arguments.seeds for network in deep_first]
    missing = [pair for pair in wanted if pair not in done]
    os.environ["OMP_NUM_THREADS"] = "1"
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.jobs, mp_context=spawn) as pool:
        waiting = [pool.submit(one_run, network, seed, settings) for network, seed in missing]
        for future in as_completed(waiting):
            run = future.result()
            runs.append(run)
            write(arguments.out, arguments.config, settings, runs)
            evidence.say(line(run))
    return 0


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", choices=CONFIGS, default="fashion")
    parser.add_argument("--data", help="the data set, if it is not in the cache folder")
    parser.add_argument("--images", type=int, help="training images")
    parser.add_argument("--test", type=int, help="test images")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, one thread each")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument(
        "--figure", action="store_true", help="draw what --out holds; train nothing"
    )
    return parser.parse_args()


def line(run: Mapping[str, Any]) -> str:
    """A run in one line."""
    name = f"{run['network']} seed {run['seed']}"
    if "diverged" in run:
        return f"{name}: {run['diverged']}"
    return (
        f"{name}: training error {run['train']['error']:.4f}, test error "
        f"{run['test']['error']:.4f}, {run['seconds']:.0f} s, "
        f"{run['seconds_per_epoch_per_1000_images']:.2f} s an epoch for 1,000 images"
    )


if __name__ == "__main__":
    sys.exit(main())
