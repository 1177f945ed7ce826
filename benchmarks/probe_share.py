"""What the probe of `train` takes of a real run: at most 2 %.

    python benchmarks/probe_share.py [--epochs N]

The command trains the recipe `speedrun` on Fashion-MNIST (MIT licence, from `make data`) with an
empty folder for kept times, so that the probe measures everything. Its seconds are those that the
run's card holds; the run's are the wall time of the whole command, reading and report included.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import harness
from convarium.files import read_json
from convarium.train.probing import SHARE


def main() -> int:
    """Train once, and store what the probe took of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5)
    epochs = str(parser.parse_args().epochs)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        words = ["train", str(harness.cache() / "fashion-mnist"), "--recipe", "speedrun"]
        command = [sys.executable, "-m", "convarium", *words, "--layout", "auto"]
        environment = dict(os.environ, XDG_CACHE_HOME=folder)
        taken = harness.seconds(
            lambda: subprocess.run(
                [*command, "--epochs", epochs, "--out", str(run)], check=True, env=environment
            )
        )
        card = read_json(run / "card.json")
    probe = card["probe"]
    share = probe["seconds"] / taken
    holds = len(probe["milliseconds"]) > 1 and share <= SHARE
    harness.write(
        "probe_share",
        {
            "run_seconds": round(taken, 1),
            "expected_seconds": probe["run_seconds"],
            "probe_seconds": probe["seconds"],
            "share": round(share, 5),
            "bounds": {"share": SHARE},
            "holds": holds,
            "probe": probe,
            "chosen": {name: card["recipe"][name] for name in ("precision", "layout", "compile")},
            "test_accuracy": card["result"]["test"]["accuracy"],
        },
    )
    print(f"probe: {probe['seconds']:.1f} s of {taken:.0f} s, {share:.2%}; bound {SHARE:.0%}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
