"""What few series are trained with, settled on a data set that has no goal here.

    python experiments/series_recipes.py --ways rule shorter quicker --draws 3

OSULeaf, which comes with aeon (BSD-3, from `make env-peers`), has 442 outlines of leaves of six
kinds, as series of 427 steps. For each draw 36 of them, as many of each kind, are trained with in
one way, and the others are answered. "rule" is what `train.recommend` chooses; the other ways
change one thing each, named in `WAYS`. What counts is the number of right answers over all draws,
and where a way and the rule differ on the same series. One thread; seconds are the processor's.
Finished runs are kept: called again with the same settings, it goes on with what is missing.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import convarium
import evidence
import harness
from convarium import data, seeds, train
from convarium.files import read_json, write_json
from convarium.intervals import newcombe_pairs, wilson
from convarium.predict import Predictor
from convarium.train.series_choice import few_held, for_members

RESULT = evidence.RESULTS / "series_recipes.json"
NAME = "OSULeaf"


@dataclass(frozen=True)
class Way:
    """One change of what the rule chooses.

    Args:
        model: another network; None keeps the rule's.
        options: of the network.
        config: of the training.
        epochs: times the rule's.
        every: of so many time steps only one is read.
    """

    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    epochs: float = 1.0
    every: int = 1


WAYS = {
    "rule": Way(),
    "quicker": Way(config={"learning_rate": 2e-3}),
    "shorter": Way(epochs=0.5),
    "shorter and quicker": Way(epochs=0.5, config={"learning_rate": 2e-3}),
    "longer": Way(epochs=2),
    "larger batches": Way(config={"batch_size": 8}),
    "five members": Way(options={"members": 5}),
    "unscaled": Way(config={"scaling": 0.0}),
    "every 4th step": Way(every=4),
    "residual": Way(model="resnet1d"),
}


def one_run(dataset: data.Dataset, way: Way, draw: int, each: int = 6) -> dict[str, Any]:
    """Train on a draw of so many series of each class, and answer the others."""
    with tempfile.TemporaryDirectory() as folder:
        some, others = drawn(dataset, each, way.every, draw, Path(folder))
        parts = data.split(some, validation=few_held(some), test=0.0, seed=draw)
        preprocessing = data.fit_preprocessing(parts.train)
        choice = train.recommend(some)
        options = {**choice.options, **way.options, **preprocessing.network_options}
        own = dict(way.config) | {"seed": draw, "precision": "fp32"}
        own["epochs"] = max(1, round(way.epochs * choice.config.epochs))
        config = dataclasses.replace(choice.config, **own)
        config = dataclasses.replace(config, **for_members(config, options.get("members", 1)))
        seeds.torch_seed(torch.device("cpu"), draw, "initial weights")
        classes = len(dataset.classes)
        network = convarium.create(way.model or choice.model, num_classes=classes, **options)
        start = time.process_time()
        train.fit(network, parts, config, preprocessing=preprocessing)
        seconds = time.process_time() - start
        predictor = Predictor(network, data.build_card(parts, preprocessing))
        answered = data.Part(others, np.arange(len(others)))
        records = sorted(predictor.records(answered), key=lambda record: record.id)
    right = "".join(str(int(record.label == record.target)) for record in records)
    told = {"draw": draw, "trained": len(parts.train), "epochs": config.epochs}
    return told | {"seconds": round(seconds, 1), "right": right}


def drawn(
    dataset: data.Dataset, each: int, every: int, draw: int, folder: Path
) -> tuple[data.Dataset, data.Dataset]:
    """`each` series of every class, and all others, of every `every`-th time step."""
    series = np.stack([dataset.read(i).values[:, ::every] for i in range(len(dataset))])
    kinds = np.asarray(dataset.targets)
    order = seeds.permutation(len(series), draw, "series")
    some = np.concatenate([order[kinds[order] == kind][:each] for kind in np.unique(kinds)])
    found = []
    for name, places in (("some", some), ("others", np.setdiff1d(order, some))):
        np.savez(folder / f"{name}.npz", x=series[places], y=kinds[places])
        found.append(data.open_dataset(folder / f"{name}.npz", kind="series"))
    return found[0], found[1]


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Right answers of each way over its draws, and of the rule on the same draws."""
    found: dict[str, Any] = {}
    for way in dict.fromkeys(run["way"] for run in runs):
        own, rules = (
            {run["draw"]: bits(run["right"]) for run in runs if run["way"] == each}
            for each in (way, "rule")
        )
        right = np.concatenate([*own.values()])
        seconds = evidence.over_seeds([run["seconds"] for run in runs if run["way"] == way])
        interval = list(wilson(int(right.sum()), len(right)))
        found[way] = {"n": len(right), "draws": len(own), "accuracy": float(right.mean())}
        found[way] |= {"interval": interval, "seconds": seconds["mean"]}
        both = [draw for draw in own if draw in rules]
        if way != "rule" and both:
            ours, theirs = (np.concatenate([it[draw] for draw in both]) for it in (own, rules))
            found[way]["against_rule"] = {
                "n": len(ours),
                "gained": int((ours & ~theirs).sum()),
                "lost": int((theirs & ~ours).sum()),
                "interval": list(newcombe_pairs(ours, theirs)),
            }
    return found


def bits(right: str) -> np.ndarray:
    """Which answers were right, of a line of 0 and 1."""
    return np.array([letter == "1" for letter in right])


def archive() -> Path:
    """The data sets that come with aeon."""
    root = harness.PEER_PYTHON.parents[1]
    found = next(root.glob("lib/python3*/site-packages/aeon/datasets/data"), None)
    if found is None:
        raise SystemExit(f"There is no aeon in {root}; run: make env-peers")
    return found


def main() -> int:
    """Run what is missing, and write after each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["rule", "shorter"])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    runs = list(read_json(arguments.out)["runs"]) if arguments.out.exists() else []
    done = {(run["way"], run["draw"]) for run in runs}
    dataset = data.open_dataset(archive() / NAME / f"{NAME}_TRAIN.ts")
    wanted = ((way, draw) for draw in range(arguments.draws) for way in arguments.ways)
    for way, draw in (each for each in wanted if each not in done):
        run = one_run(dataset, WAYS[way], draw)
        runs.append({"way": way, **run})
        told = {
            "experiment": "series_recipes",
            "claim": "What few series are trained with is settled on data that has no goal here.",
            "data": NAME,
            "ways": {name: dataclasses.asdict(each) for name, each in WAYS.items()},
            "summary": summary(runs),
            "runs": runs,
        }
        write_json(arguments.out, told | evidence.provenance())
        share = np.mean(bits(run["right"]))
        evidence.say(f"{way}, draw {draw}: {share:.1%}, {run['seconds']:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
