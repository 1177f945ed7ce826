"""How long few series are to be trained, by how many time steps they have.

    python experiments/series_epochs.py --every 1 4 16 --times 1 2 4 --draws 2

OSULeaf, which comes with aeon (BSD-3, from `make env-peers`) and is no data set of ours that has a
goal: 36 of its 442 series, as many of each class, train what `train.recommend` chooses for them,
with so many times its epochs; the others are answered. Of every k-th time step alone, the series
are shorter, and otherwise the same. One thread; seconds are the processor's. What is finished
is kept.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import convarium
import evidence
from convarium import data, seeds, train
from convarium.files import read_json, write_json
from convarium.predict import Predictor
from series_recipes import VALIDATION, archive

RESULT = evidence.RESULTS / "series_epochs.json"
NAME = "OSULeaf"


def drawn(count: int, every: int, draw: int, folder: Path) -> tuple[data.Dataset, data.Dataset]:
    """`count` series, as many of each class, and the others, of every `every`-th time step."""
    dataset = data.open_dataset(archive() / NAME / f"{NAME}_TRAIN.ts")
    series = np.stack([dataset.read(i).values[:, ::every] for i in range(len(dataset))])
    kinds = np.asarray(dataset.targets)
    order = seeds.permutation(len(series), draw, "series")
    each = count // len(dataset.classes)
    some = np.concatenate([order[kinds[order] == kind][:each] for kind in np.unique(kinds)])
    found = []
    for name, places in (("some", some), ("others", np.setdiff1d(order, some))):
        np.savez(folder / f"{name}.npz", x=series[places], y=kinds[places])
        found.append(data.open_dataset(folder / f"{name}.npz", kind="series"))
    return found[0], found[1]


def one_run(count: int, every: int, times: int, draw: int) -> dict[str, Any]:
    """Train on a draw for so many times the epochs, and answer the other series."""
    with tempfile.TemporaryDirectory() as folder:
        dataset, others = drawn(count, every, draw, Path(folder))
        parts = data.split(dataset, validation=VALIDATION, test=0.0, seed=draw)
        preprocessing = data.fit_preprocessing(parts.train)
        choice = train.recommend(dataset)
        epochs = times * choice.config.epochs
        config = dataclasses.replace(choice.config, seed=draw, precision="fp32", epochs=epochs)
        options = {**choice.options, **preprocessing.network_options}
        seeds.torch_seed(torch.device("cpu"), draw, "initial weights")
        network = convarium.create(choice.model, num_classes=len(dataset.classes), **options)
        start = time.process_time()
        train.fit(network, parts, config, preprocessing=preprocessing)
        seconds = time.process_time() - start
        predictor = Predictor(network, data.build_card(parts, preprocessing))
        found = evidence.error_of(predictor, data.Part(others, np.arange(len(others))))
        length = int(dataset.read(0).values.shape[1])
    told = {"every": every, "length": length, "times": times, "draw": draw, "epochs": epochs}
    return told | {"model": choice.model, "seconds": round(seconds, 1), **found}


def main() -> int:
    """Run what is missing, and write after each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=36)
    parser.add_argument("--every", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--times", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    before = read_json(arguments.out) if arguments.out.exists() else {"count": arguments.count}
    if before["count"] != arguments.count:
        raise SystemExit(f"{arguments.out} has draws of {before['count']}; give another --out.")
    runs = list(before.get("runs", []))
    done = {(run["every"], run["times"], run["draw"]) for run in runs}
    for wanted in itertools.product(arguments.every, arguments.times, range(arguments.draws)):
        if wanted in done:
            continue
        run = one_run(arguments.count, *wanted)
        runs.append(run)
        told = {
            "experiment": "series_epochs",
            "claim": "Of few series, long ones need more epochs than short ones.",
            "count": arguments.count,
            "runs": runs,
        }
        write_json(arguments.out, told | evidence.provenance())
        evidence.say(
            f"{run['length']} steps, {run['epochs']} epochs, draw {run['draw']}: "
            f"{1 - run['error']:.1%} of {run['n']}, {run['seconds']:.0f} s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
