"""What each recipe reaches here: accuracy on test images, and the time that it takes.

    python experiments/recipe_results.py --runs RUNS
    python experiments/recipe_results.py --table

Each row is a call of the command, one after the other, on `--threads` threads. Seconds count the
epochs, with the validation after each; where a run stood still in one of them, the median of an
epoch tells more. Finished rows are kept; a run that was cut off goes on, and its seconds are those
of all its epochs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import evidence
from convarium.files import read_json, read_jsonl, write_json

RESULT = evidence.RESULTS / "recipe_results.json"
CACHE = Path(os.environ.get("CONVARIUM_DATA", Path.home() / ".cache" / "convarium"))
LITE = CACHE / "efficientnet-lite0"


class Row(NamedTuple):
    """A recipe, the data, and what is asked for besides."""

    recipe: str
    data: str
    flags: tuple[str, ...] = ()


ROWS = (
    Row("quick", "digits"),
    Row("baseline", "digits"),
    Row("strong", "digits"),
    Row("cifar2015", "digits"),
    Row("quick", "fashion-mnist"),
    Row("speedrun", "fashion-mnist"),
    Row("strong", "fashion-mnist", ("--model", "speednet", "--epochs", "40")),
    Row("strong", "fashion-mnist", ("--model", "speednet")),
    Row("quick", "openclipart", ("--size", "96")),
    Row(
        "finetune",
        "openclipart",
        ("--size", "96", "--model", "efficientnet_lite0", "--option", "pretrained=WEIGHTS"),
    ),
)


def main() -> int:
    """Run what is missing, and write after each row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, help="a folder for the runs")
    parser.add_argument("--rows", type=int, nargs="+", default=range(len(ROWS)))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--table", action="store_true", help="print what --out holds")
    arguments = parser.parse_args()
    if arguments.table:
        evidence.say(table(read_json(arguments.out)))
        return 0
    if arguments.runs is None:
        parser.error("--runs FOLDER is needed, to train in")
    rows = list(read_json(arguments.out)["rows"]) if arguments.out.exists() else []
    for number in arguments.rows:
        row = ROWS[number]
        if any(_key(row) == (done["recipe"], done["data"], done["flags"]) for done in rows):
            continue
        rows.append(one_row(row, arguments.runs / str(number), arguments.threads))
        rows.sort(key=lambda done: [_key(each) for each in ROWS].index(_key(Row(**_asked(done)))))
        write_json(
            arguments.out,
            {"experiment": "recipe_results", "rows": rows, **evidence.provenance()},
        )
        evidence.say(table({"rows": rows[-1:]}))
    return 0


def one_row(row: Row, folder: Path, threads: int) -> dict[str, Any]:
    """Train by the command, or go on with what it began; test with and without flips."""
    weights = next(iter(sorted(LITE.rglob("*.pth"))), LITE)
    flags = [flag.replace("WEIGHTS", str(weights)) for flag in row.flags]
    source = str(CACHE / row.data) if (CACHE / row.data).exists() else row.data
    command = [sys.executable, "-m", "convarium"]
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    asked = ["train", source, "--recipe", row.recipe, *flags, "--out", str(folder)]
    resume = ["--resume"] if (folder / "config.toml").exists() else []
    subprocess.run([*command, *asked, *resume], check=True, env=environment)
    card = read_json(folder / "card.json")
    found = card["result"]["test"]
    epochs = [float(each["seconds"]) for each in read_jsonl(folder / "history.jsonl")]
    told = {
        "recipe": row.recipe,
        "data": row.data,
        "flags": list(row.flags),
        "network": card["model"]["name"],
        "n": found["n"],
        "accuracy": found["accuracy"],
        "interval": found["interval"],
        "seconds": round(sum(epochs)),
        "epoch_seconds": statistics.median(epochs),
        "epochs": len(epochs),
        "threads": threads,
    }
    if row.data == "fashion-mnist":  # whose images may be mirrored; digits may not
        again = ["evaluate", str(folder), source, "--part", "test", "--tta", "flip", "--json"]
        said = subprocess.run(
            [*command, *again], check=True, env=environment, capture_output=True, text=True
        )
        told["accuracy_with_flips"] = json.loads(said.stdout)["accuracy"]
    return told


def table(result: Mapping[str, Any]) -> str:
    """The rows as Markdown."""
    heads = ("recipe", "data", "network", "epochs", "test accuracy, 95 % interval", "n", "minutes")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in result["rows"]:
        low, high = row["interval"]
        accuracy = f"{row['accuracy']:.2%} ({low:.2%} to {high:.2%})"
        if "accuracy_with_flips" in row:
            accuracy += f"; {row['accuracy_with_flips']:.2%} with `--tta flip`"
        flags = " ".join(row["flags"])
        asked = f"`{row['recipe']}`" + (f" `{flags}`" if flags else "")
        cells = [asked, row["data"], row["network"], str(row["epochs"]), accuracy]
        lines.append(
            "| " + " | ".join([*cells, str(row["n"]), f"{row['seconds'] / 60:.1f}"]) + " |"
        )
    return "\n".join(lines)


def _asked(done: Mapping[str, Any]) -> dict[str, Any]:
    return {"recipe": done["recipe"], "data": done["data"], "flags": tuple(done["flags"])}


def _key(row: Row) -> tuple[str, str, list[str]]:
    return row.recipe, row.data, list(row.flags)


if __name__ == "__main__":
    sys.exit(main())
