"""Time to 93 % on Fashion-MNIST: the recipe `speedrun` against `baseline` and against fastai.

Seconds count the epochs: training and the validation after each, not the test. `speedrun` trains to
its end with each seed, by the command, and its mean test accuracy has to be 93 %, without test-time
flips. The others have one seed and are tested after each epoch, outside of the time, until they
have 93 %, or until they took `LIMIT` times as long as `speedrun`: then 93 % is told as not reached,
their seconds are the least they need, and the share is told as "at most".

fastai trains its small residual network (xresnet18, Adam, one cycle, flips, smoothed labels, fp32)
with everything in memory; the network is larger. It takes the best of `RATES` at the shortest of
`CYCLES`, and then the fewest epochs of `CYCLES` that reach 93 %; what else it tried does not count.
All compute on processors, one at a time, and take turns with the seeds of `speedrun`.

Bounds: at most half of the time of each.

What is finished is kept in FILE, where one is named, so that a run that was cut off goes on.

Run: python benchmarks/speedrun.py [--seeds 0 1 2] [--threads N] [--keep FILE]
Data: Fashion-MNIST (MIT licence), from `make data`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from convarium import data, models, train
from convarium.files import read_json, write_json
from convarium.predict import Predictor
from harness import Peer, write

ACCURACY, SHARE, LIMIT = 0.93, 0.5, 2.5
CYCLES, RATES = (3, 5, 8, 12, 18), (0.001, 0.003, 0.01)


class EnoughError(Exception):
    """A run that is compared has reached what it should, or had its time."""


def speedrun(source: Path, seed: int, threads: int) -> dict[str, Any]:
    """Train by the command; accuracy without test-time flips, and seconds."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    command = [sys.executable, "-m", "convarium"]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        given = ["train", str(source), "--recipe", "speedrun", "--seed", str(seed)]
        given += ["--device", "cpu"]
        start = time.perf_counter()
        subprocess.run([*command, *given, "--out", str(run)], check=True, env=environment)
        whole = time.perf_counter() - start
        card = json.loads((run / "card.json").read_text())
        rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return {
        "seed": seed,
        "accuracy": card["result"]["test"]["accuracy"],
        "seconds": sum(row["seconds"] for row in rows),
        "seconds_of_the_command": whole,
        "epochs": len(rows),
        "recipe": card["recipe"],
    }


class Watch:
    """Tests after each epoch; ends the run when it has reached 93 %, or had its time."""

    def __init__(self, predictor: Predictor, part: data.Part, limit: float) -> None:
        self.predictor, self.part, self.limit = predictor, part, limit
        self.rows: list[dict[str, float]] = []
        self.seconds = 0.0

    def on_start(self, **_: int) -> None:
        """Nothing to do."""

    def on_step(self, step: int, loss: float) -> None:
        """Nothing to do."""

    def on_epoch(self, row: dict[str, float]) -> None:
        """One more test."""
        self.seconds += row["seconds"] - (self.rows[-1]["tested"] if self.rows else 0.0)
        start = time.perf_counter()
        accuracy = self.predictor.evaluate(self.part).score
        tested = time.perf_counter() - start
        self.rows.append({"seconds": self.seconds, "accuracy": accuracy, "tested": tested})
        print(f"baseline: epoch {row['epoch']}, {self.seconds:.0f} s, {accuracy:.4f}", flush=True)
        if accuracy >= ACCURACY or self.seconds > self.limit:
            raise EnoughError


def baseline(source: Path, limit: float, threads: int) -> dict[str, Any]:
    """The recipe `baseline` until it has 93 %, or until a limit of seconds."""
    torch.set_num_threads(threads)
    dataset = data.open_dataset(source)
    choice = train.recommend(dataset, recipe="baseline")
    parts = data.split(dataset, validation=choice.validation, test=choice.test, seed=0)
    steps = data.fit_preprocessing(parts.train, size=choice.size)
    torch.manual_seed(0)
    model = models.create(choice.model, in_channels=1, num_classes=10, **choice.options)
    watch = Watch(Predictor(model, data.build_card(parts, steps)), parts.test, limit)
    with contextlib.suppress(EnoughError):
        config = dataclasses.replace(choice.config, device="cpu")
        train.fit(model, parts, config, preprocessing=steps, observers=[watch])
    return told(choice.model, watch.rows)


class Kept:
    """What is finished, by name, in a file where one is given."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.found: dict[str, Any] = read_json(file) if file and file.exists() else {}

    def once(self, name: str, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What a call gives, or gave before it was cut off."""
        if name not in self.found:
            self.found[name] = call()
            if self.file:
                write_json(self.file, self.found)
        return self.found[name]


def fastai(source: Path, limit: float, threads: int, kept: Kept) -> dict[str, Any]:
    """Fastai's one cycle of as few epochs as it takes, each length from the start."""

    def cycle(epochs: int, rate: float) -> dict[str, Any]:
        call = functools.partial(one_cycle, source, epochs, rate, threads)
        return kept.once(f"fastai, {epochs} epochs, {rate}", call)

    shortest = {rate: cycle(CYCLES[0], rate) for rate in RATES}
    rate, found = max(shortest.items(), key=lambda item: item[1]["rows"][-1]["accuracy"])
    for epochs in CYCLES[1:]:
        if found["reached"] or found["seconds"] > limit:
            break
        found = cycle(epochs, rate)
    tried = {str(each): run["rows"][-1]["accuracy"] for each, run in shortest.items()}
    return found | {"accuracy_of_the_shortest_by_rate": tried}


def one_cycle(source: Path, epochs: int, rate: float, threads: int) -> dict[str, Any]:
    """One run of fastai in a process of its own."""
    with Peer("one_cycle.py", str(source), str(threads)) as peer:
        versions = peer.answer()
        rows = peer.ask(json.dumps({"epochs": epochs, "rate": rate}))["rows"]
    last = rows[-1]
    print(f"fastai: {epochs} epochs, {rate}, {last['seconds']:.0f} s, {last['accuracy']:.4f}")
    return told("xresnet18", rows) | versions | {"epochs": epochs, "rate": rate}


def told(name: str, rows: list[dict[str, float]]) -> dict[str, Any]:
    """The seconds to 93 %, or the seconds without it."""
    reached = [row["seconds"] for row in rows if row["accuracy"] >= ACCURACY]
    last = rows[-1]["seconds"]
    return {
        "network": name,
        "reached": bool(reached),
        "seconds": reached[0] if reached else last,
        "rows": rows,
    }


def shared(name: str, seconds: float, other: dict[str, Any]) -> dict[str, Any]:
    """The share of another's time: a value, or a bound where the other is not there yet."""
    share, took = seconds / other["seconds"], other["seconds"]
    if other["reached"]:
        words = f"{name} reached 93 % after {took:.0f} s: speedrun took {share:.2f} of its time"
        return {"share": share, "words": words}
    best = max(row["accuracy"] for row in other["rows"])
    words = f"{name} did not reach 93 % in {took:.0f} s (best {best:.4f}): speedrun took at most"
    return {"share_at_most": share, "words": f"{words} {share:.2f} of its time"}


def turns(
    source: Path, seeds: list[int], threads: int, kept: Kept
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A seed of `speedrun`, another, the next seed; limits follow from the seeds before."""
    runs: list[dict[str, Any]] = []
    others: dict[str, Any] = {}
    for seed, other in itertools.zip_longest(seeds, ("baseline", "fastai")):
        if seed is not None:
            call = functools.partial(speedrun, source, seed, threads)
            runs.append(kept.once(f"speedrun, seed {seed}", call))
        limit = LIMIT * statistics.mean(run["seconds"] for run in runs)
        if other == "baseline":
            call = functools.partial(baseline, source, limit, threads)
            others[other] = kept.once(other, call)
        elif other == "fastai":
            others[other] = fastai(source, limit, threads, kept)
    return runs, others


def main() -> int:
    """Train, compare, store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    default = Path.home() / ".cache" / "convarium"
    source = Path(os.environ.get("CONVARIUM_DATA", default)) / "fashion-mnist"
    runs, others = turns(source, arguments.seeds, arguments.threads, Kept(arguments.keep))
    seconds = statistics.mean(run["seconds"] for run in runs)
    accuracy = statistics.mean(run["accuracy"] for run in runs)
    shares = {name: shared(name, seconds, other) for name, other in others.items()}
    bounded = all(seconds <= SHARE * other["seconds"] for other in others.values())
    holds = accuracy >= ACCURACY and bounded
    result = {
        "threads": arguments.threads,
        "mean_accuracy": accuracy,
        "mean_seconds": seconds,
        "runs": runs,
        "others": others,
        "share_of_their_time": shares,
        "bounds": {"mean_accuracy": ACCURACY, "share": SHARE},
        "holds": holds,
    }
    print(write("speedrun", result, by_processor=True))
    print(f"speedrun: {accuracy:.4f} in {seconds:.0f} s")
    for share in shares.values():
        print(share["words"])
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
