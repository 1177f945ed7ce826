"""What few series are trained with, settled inside training parts: no test series is looked at.

    python experiments/series_recipes.py --names ArrowHead GunPoint --ways rule five
    python experiments/series_recipes.py --folds 4 --seeds 0 1

For data sets of the UCR and UEA archives that come with aeon (BSD-3, from `make env-peers`), each
way of training is cross-validated inside the given training part: every series of it is answered
once for each seed, by a network that has not seen it. "rule" is what `train.recommend` chooses; the
others change one thing each, named in `WAYS`. What counts is the number of right answers over all
data sets, and where a way and the rule differ on the same series. Everything runs on one thread,
and seconds are the processor's. Finished folds are kept: called again with the same settings, it
goes on with what is missing.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
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

RESULT = evidence.RESULTS / "series_recipes.json"
NAMES = ("ArrowHead", "GunPoint", "ItalyPowerDemand", "BasicMotions")
VALIDATION = 0.05  # of all series; with --keep last it decides nothing


@dataclass(frozen=True)
class Way:
    """One change of what the rule chooses.

    Args:
        model: another network; None keeps the rule's.
        options: of the network.
        config: of the training.
        epochs: times the rule's.
        batch: times the rule's.
    """

    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    epochs: float = 1.0
    batch: int = 1


WAYS = {
    "rule": Way(),
    "longer": Way(epochs=2),
    "five": Way(options={"members": 5}, epochs=2, batch=5),
    "five_longer": Way(options={"members": 5}, epochs=5, batch=5),
    "unscaled": Way(config={"scaling": 0.0}),
    "windows": Way(config={"crop": 0.9}),
    "masks": Way(config={"time_mask": 0.1}),
    "inception": Way(model="inception_time"),
    "residual": Way(model="resnet1d"),
}


def one_fold(dataset: data.Dataset, way: Way, folds: int, fold: int, seed: int) -> dict[str, Any]:
    """Train outside a fold, and answer the series in it."""
    parts = data.split_folds(dataset, folds, validation=VALIDATION)[fold]
    preprocessing = data.fit_preprocessing(parts.train)
    choice = train.recommend(dataset)
    config = dataclasses.replace(
        choice.config,
        seed=seed,
        precision="fp32",
        epochs=round(way.epochs * choice.config.epochs),
        batch_size=way.batch * choice.config.batch_size,
        **way.config,
    )
    options = {**choice.options, **way.options, **preprocessing.network_options}
    seeds.torch_seed(torch.device("cpu"), seed, "initial weights")
    network = convarium.create(
        way.model or choice.model, num_classes=len(dataset.classes), **options
    )
    start = time.process_time()
    train.fit(network, parts, config, preprocessing=preprocessing)
    seconds = time.process_time() - start
    predictor = Predictor(network, data.build_card(parts, preprocessing))
    records = sorted(predictor.records(parts.test), key=lambda record: record.id)
    right = {str(record.id): record.label == record.target for record in records}
    return {"fold": fold, "seed": seed, "seconds": round(seconds, 1), "right": right}


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Shares of right answers by data set and way, and each way against the rule, over all."""
    answers: dict[str, dict[tuple[str, int, str], bool]] = {}
    for run in runs:
        own = answers.setdefault(run["way"], {})
        for series, right in run["right"].items():
            own[run["name"], run["seed"], series] = right
    found: dict[str, Any] = {}
    for way, own in answers.items():
        found[way] = {"all": _share([*own.values()])}
        for name in dict.fromkeys(key[0] for key in own):
            found[way][name] = _share([right for key, right in own.items() if key[0] == name])
        both = [key for key in own if key in answers.get("rule", {})]
        if way != "rule" and both:
            ours, rules = (np.array([each[key] for key in both]) for each in (own, answers["rule"]))
            found[way]["against_rule"] = {
                "n": len(both),
                "gained": int((ours & ~rules).sum()),
                "lost": int((rules & ~ours).sum()),
                "interval": list(newcombe_pairs(ours, rules)),
            }
    return found


def _share(right: Sequence[bool]) -> dict[str, Any]:
    interval = list(wilson(sum(right), len(right)))
    return {"n": len(right), "accuracy": sum(right) / len(right), "interval": interval}


def archive() -> Path:
    """The data sets that come with aeon."""
    root = harness.PEER_PYTHON.parents[1]
    found = next(root.glob("lib/python3*/site-packages/aeon/datasets/data"), None)
    if found is None:
        raise SystemExit(f"There is no aeon in {root}; run: make env-peers")
    return found


def main() -> int:
    """Run what is missing, and write after each fold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", nargs="+", default=list(NAMES))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["rule", "five"])
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    before = read_json(arguments.out) if arguments.out.exists() else {"folds": arguments.folds}
    if before["folds"] != arguments.folds:
        raise SystemExit(f"{arguments.out} has {before['folds']} folds; give another --out.")
    runs, folder = list(before.get("runs", [])), archive()
    done = {(run["name"], run["way"], run["seed"], run["fold"]) for run in runs}
    wanted = (
        (name, way, seed, fold)
        for name in arguments.names
        for seed in arguments.seeds
        for fold in range(arguments.folds)
        for way in arguments.ways
    )
    for name, way, seed, fold in (each for each in wanted if each not in done):
        dataset = data.open_dataset(folder / name / f"{name}_TRAIN.ts")
        run = one_fold(dataset, WAYS[way], arguments.folds, fold, seed)
        runs.append({"name": name, "way": way, **run})
        ways = {name: dataclasses.asdict(each) for name, each in WAYS.items()}
        told = {
            "experiment": "series_recipes",
            "claim": "What few series are trained with is settled without their test series.",
            "folds": arguments.folds,
            "ways": ways,
            "summary": summary(runs),
            "runs": runs,
        }
        write_json(arguments.out, told | evidence.provenance())
        right = list(run["right"].values())
        evidence.say(
            f"{name} {way} fold {fold} seed {seed}: {sum(right)} of {len(right)}, "
            f"{run['seconds']:.0f} s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
