"""What few series are trained with, settled on a data set that has no goal here.

    python experiments/series_recipes.py --ways rule shorter quicker --draws 3

OSULeaf, which comes with aeon (BSD-3, from `make env-peers`), has 442 outlines of leaves of six
kinds, as series of 427 steps. For each draw 36 of them, as many of each kind, are trained with in
one way (two of them are kept for validation, which chooses nothing), and the others are answered.
"rule" is what `train.recommend` chooses; what the other ways change stands in `WAYS`. What counts
is the share of right answers of each draw, and the difference to the rule on the same draw: a draw
is one case, as its series are answered by one network. One thread; seconds are the processor's.
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
from convarium.predict import Predictor
from convarium.train.series_choice import few_held, for_members

RESULT = evidence.RESULTS / "series_recipes.json"
NAME = "OSULeaf"
_EACH = 6  # of its kinds


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
    "larger batches": Way(epochs=2, config={"batch_size": 8}),
    "five members": Way(options={"members": 5}),
    "unscaled": Way(config={"scaling": 0.0}),
    "every 4th step": Way(every=4),
    "residual": Way(model="resnet1d"),
}


def one_run(dataset: data.Dataset, way: Way, draw: int, each: int = _EACH) -> dict[str, Any]:
    """Train on a draw of so many series of each class, and answer the others."""
    with tempfile.TemporaryDirectory() as folder:
        some, others = drawn(dataset, each, way.every, draw, Path(folder))
        parts = data.split(some, validation=few_held(some), test=0.0, seed=draw)
        preprocessing = data.fit_preprocessing(parts.train)
        model, options, config = asked(some, way)
        config = dataclasses.replace(config, seed=draw)
        seeds.torch_seed(torch.device("cpu"), draw, "initial weights")
        classes = len(dataset.classes)
        given = {**options, **preprocessing.network_options}
        network = convarium.create(model, num_classes=classes, **given)
        start = time.process_time()
        train.fit(network, parts, config, preprocessing=preprocessing)
        seconds = time.process_time() - start
        predictor = Predictor(network, data.build_card(parts, preprocessing))
        answered = data.Part(others, np.arange(len(others)))
        records = sorted(predictor.records(answered), key=lambda record: record.id)
    right = "".join(str(int(record.label == record.target)) for record in records)
    told = {"draw": draw, "trained": len(parts.train), "asked": plain(model, config)}
    return told | {"seconds": round(seconds, 1), "right": right}


def asked(some: data.Dataset, way: Way) -> tuple[str, dict[str, Any], train.TrainConfig]:
    """Network, its options and the training that a way comes to on these series."""
    choice = train.recommend(some)
    options = {**choice.options, **way.options}
    epochs = max(1, round(way.epochs * choice.config.epochs))
    config = dataclasses.replace(choice.config, precision="fp32", epochs=epochs, **way.config)
    config = dataclasses.replace(config, **for_members(config, options.get("members", 1)))
    return way.model or choice.model, options, config


def plain(model: str, config: train.TrainConfig) -> dict[str, Any]:
    """What tells one way from another, as JSON gives it back."""
    names = ("learning_rate", "batch_size", "epochs", "scaling")
    return {"model": model, **{name: getattr(config, name) for name in names}}


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
    """Right answers of each way over its draws, and beside the rule's on the same draws."""
    shares: dict[str, dict[int, float]] = {}
    for run in runs:
        shares.setdefault(run["way"], {})[run["draw"]] = run["right"].count("1") / len(run["right"])
    found: dict[str, Any] = {}
    for way, own in shares.items():
        seconds = [run["seconds"] for run in runs if run["way"] == way]
        accuracy = evidence.over_seeds([*own.values()])
        found[way] = {"accuracy": accuracy, "seconds": float(np.mean(seconds))}
        rules = shares.get("rule", {})
        both = [share - rules[draw] for draw, share in own.items() if draw in rules]
        if way != "rule" and both:
            found[way]["against_rule"] = evidence.over_seeds(both)
    return found


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
    for way in arguments.ways:
        with tempfile.TemporaryDirectory() as folder:
            some, _ = drawn(dataset, _EACH, WAYS[way].every, 0, Path(folder))
            model, _, config = asked(some, WAYS[way])
        if any(run["way"] == way and run["asked"] != plain(model, config) for run in runs):
            raise SystemExit(f"{arguments.out} has {way} of other settings; give another --out.")
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
        share = run["right"].count("1") / len(run["right"])
        evidence.say(f"{way}, draw {draw}: {share:.1%}, {run['seconds']:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
