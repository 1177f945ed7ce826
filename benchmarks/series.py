"""Accuracy and time on time series with one command and its default settings.

    python benchmarks/series.py [--seeds 0 1 2 3 4] [--names GunPoint ...]

`convarium train NAME_TRAIN.ts --out RUN` on the default splits of the UCR and UEA archives, several
seeds; the test series are evaluated once at the end. The bound is the accuracy that is published
for FCN and InceptionTime on these splits, less .01 (ArrowHead, of 175 test series, .02). The
reference in the same run is MiniRocket of aeon, which is no network; published figures of it stand
beside. Time is held against aeon's InceptionTime: it is trained for 10, 20, 40, ... epochs, up to
its own 1,500, until it reaches the bound or takes longer than our command takes as a whole. Time is
what the processor gave, start of Python and report included in ours and imports left out in theirs,
so that other work does not count; give both one thread (`OMP_NUM_THREADS=1`). Results are stored
after each seed and each of those trainings, and what is stored is not measured again.
Data: the files that come with aeon (BSD-3), from `make env-peers`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import harness

#: Published: FCN, ResNet, InceptionTime, MiniRocket; and how far below the mean may lie.
PUBLISHED = {
    "ArrowHead": (0.843, 0.838, 0.846, 0.863, 0.02),
    "GunPoint": (1.0, 0.991, 1.0, 0.993, 0.01),
    "ItalyPowerDemand": (0.963, 0.962, 0.965, 0.963, 0.01),
    "BasicMotions": (None, 1.0, 1.0, 1.0, 0.01),
}
EPOCHS = (10, 20, 40, 80, 160, 320, 640, 1500)  # that aeon's InceptionTime gets


def taken() -> float:
    """Seconds of the processor that the commands so far took."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def one_seed(source: Path, seed: int) -> dict:
    """Train and test by the command; gives accuracy, interval, epochs and the processor's time."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = ["train", str(source), "--out", str(run), "--seed", str(seed)]
        before = taken()
        subprocess.run([sys.executable, "-m", "convarium", *command], check=True)
        seconds = taken() - before
        card = json.loads((run / "card.json").read_text())
        rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    test = card["result"]["test"]
    return {
        "seed": seed,
        "accuracy": test["accuracy"],
        "interval": test["interval"],
        "n": test["n"],
        "counts": card["data"]["counts"],
        "epochs": len(rows),
        "seconds": seconds,
        "model": card["model"],
        "recipe": card["recipe"],
    }


def summary(name: str, runs: list[dict], rocket: list[dict]) -> dict:
    """Means over the seeds that were run, and whether the bound is met."""
    mean = statistics.mean(run["accuracy"] for run in runs)
    fcn, resnet, inception, minirocket, slack = PUBLISHED[name]
    bound = max(filter(None, (fcn, inception))) - slack
    said = {"fcn": fcn, "resnet": resnet, "inception_time": inception, "minirocket": minirocket}
    return {
        "mean_accuracy": mean,
        "bound": bound,
        "holds": mean >= bound,
        "published": said,
        "minirocket": {
            "mean_accuracy": statistics.mean(each["accuracy"] for each in rocket),
            "seconds": harness.summary([each["seconds"] for each in rocket]),
            "runs": rocket,
        },
        "seconds": harness.summary([run["seconds"] for run in runs]),
        "runs": runs,
    }


def raced(row: dict, budgets: list[dict]) -> dict:
    """How long aeon's InceptionTime took to the bound, if it was quicker than we are."""
    there = [each["seconds"] for each in budgets if each["accuracy"] >= row["bound"]]
    reached = there[0] if there else None
    holds = row["holds"] and (reached is None or row["seconds"]["median"] <= reached)
    return {"budgets": budgets, "seconds_to_bound": reached, "holds": holds}


def decided(race: dict, row: dict) -> bool:
    """Whether longer trainings of the peer cannot change who was first."""
    longest = race["budgets"][-1]["seconds"] if race["budgets"] else 0.0
    return race["seconds_to_bound"] is not None or longest > row["seconds"]["median"]


def measured(
    name: str, found: dict[str, dict], seeds: list[int], peer: harness.Peer, told: dict
) -> None:
    """Our seeds and MiniRocket's that are missing, and the race; writes after each."""
    row = found.get(name, {})
    runs, rocket = row.get("runs", []), row.get("minirocket", {}).get("runs", [])
    for seed in seeds:
        if any(run["seed"] == seed for run in runs):
            continue
        run = one_seed(Path(told["folder"]) / name / f"{name}_TRAIN.ts", seed)
        runs = sorted([*runs, run], key=lambda run: run["seed"])
        rocket = [*rocket, {"seed": seed, **peer.ask(f"{name} {seed}")}]
        found[name] = row = {**row, **summary(name, runs, rocket)}
        write(found, told)
    budgets = row.get("aeon_inception_time", {}).get("budgets", [])
    for epochs in EPOCHS[len(budgets) :]:
        if decided(raced(row, budgets), row):
            break
        budgets.append({"epochs": epochs, **peer.ask(f"{name} {seeds[0]} {epochs}")})
        row["aeon_inception_time"] = raced(row, budgets)
        write(found, told)
    row["aeon_inception_time"] = raced(row, budgets)
    write(found, told)
    print(
        f"{name}: {row['mean_accuracy']:.4f} (bound {row['bound']:.3f}, MiniRocket "
        f"{row['minirocket']['mean_accuracy']:.4f}), {row['seconds']['median']:.0f} s a run"
    )
    print(f"  aeon's InceptionTime: {row['aeon_inception_time']}")


def holds(found: dict[str, dict]) -> bool:
    """Whether what was measured reached its bounds, in accuracy and in time."""
    timed = [each.get("aeon_inception_time", {}).get("holds", False) for each in found.values()]
    return all(timed) and all(each["holds"] for each in found.values())


def write(found: dict[str, dict], told: dict) -> Path:
    """All data sets so far."""
    result = {"holds": holds(found), "data_sets": found, "peers": {"aeon": told["aeon"]}}
    return harness.write("series", {**result, "threads": os.environ.get("OMP_NUM_THREADS")})


def main() -> int:
    """Measure what is not stored, and store it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--names", nargs="+", default=list(PUBLISHED), choices=PUBLISHED)
    parser.add_argument("--afresh", action="store_true", help="measure what is stored, too")
    arguments = parser.parse_args()
    path = harness.RESULTS / "series.json"
    stored = {} if arguments.afresh or not path.exists() else json.loads(path.read_text())
    found = stored.get("data_sets", {})
    with harness.Peer("series_classifiers.py") as peer:
        told = peer.answer()
        for name in arguments.names:
            measured(name, found, arguments.seeds, peer, told)
    return 0 if holds(found) else 1


if __name__ == "__main__":
    sys.exit(main())
