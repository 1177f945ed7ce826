"""Test accuracy on Fashion-MNIST with one command and its default settings.

    python benchmarks/fashion_mnist.py

The standard split: 60,000 training images, of which the command keeps some for validation, and the
10,000 test images, which are evaluated once at the end, without test-time flips. The reference in
the same run is a linear classifier on the pixels (scikit-learn's SGDClassifier, logistic loss).
Images per second count the training images over the epochs' seconds, validation included.
Data: Fashion-MNIST (MIT licence), from `make data`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import harness
from convarium import data

ACCURACY = 0.93
EPOCHS = 5


def one_seed(source: Path, seed: int, threads: int) -> dict:
    """Train and test by the command; gives accuracy, epochs, seconds and images per second."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = ["train", str(source), "--out", str(run), "--seed", str(seed)]
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "convarium", *command], check=True, env=environment)
        seconds = time.perf_counter() - start
        card = json.loads((run / "card.json").read_text())
        rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    trained = card["data"]["counts"]["train"] * len(rows)
    test = card["result"]["test"]
    return {
        "seed": seed,
        "accuracy": test["accuracy"],
        "interval": test["interval"],
        "n": test["n"],
        "epochs": len(rows),
        "seconds": seconds,
        "images_per_second": trained / sum(row["seconds"] for row in rows),
        "validation_accuracy": [row["val_acc"] for row in rows],
        "model": card["model"],
        "recipe": card["recipe"],
        "counts": card["data"]["counts"],
    }


def linear_reference(source: Path) -> float:
    """Test accuracy of a linear classifier on the pixels."""
    from sklearn.linear_model import SGDClassifier

    dataset = data.open_dataset(source)
    pixels = np.stack([dataset.read(i).reshape(-1) for i in range(len(dataset))]) / 255.0
    train, test = dataset.given == 0, dataset.given == 2
    model = SGDClassifier(loss="log_loss", max_iter=20, random_state=0)
    model.fit(pixels[train], dataset.targets[train])
    return float(model.score(pixels[test], dataset.targets[test]))


def main() -> int:
    """Train the seeds, compare their mean with the limit, and store the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="seeds side by side, sharing the cores")
    arguments = parser.parse_args()
    default = Path.home() / ".cache" / "convarium"
    source = Path(os.environ.get("CONVARIUM_DATA", default)) / "fashion-mnist"
    threads = max(1, (os.cpu_count() or 1) // arguments.jobs)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        runs = list(pool.map(lambda seed: one_seed(source, seed, threads), arguments.seeds))
    mean = statistics.mean(run["accuracy"] for run in runs)
    epochs = max(run["epochs"] for run in runs)
    reference = linear_reference(source)
    holds = mean >= ACCURACY and epochs <= EPOCHS
    harness.write(
        "fashion_mnist",
        {
            "test_time_flips": False,
            "mean_accuracy": mean,
            "epochs": epochs,
            "bounds": {"mean_accuracy": ACCURACY, "epochs": EPOCHS},
            "holds": holds,
            "linear_reference": reference,
            "error_ratio_to_reference": (1 - mean) / (1 - reference),
            "seeds_side_by_side": arguments.jobs,
            "threads_a_seed": threads,
            "runs": runs,
        },
        ["numpy", "scikit-learn"],
    )
    print(f"mean test accuracy {mean:.4f} of {len(runs)} seeds; linear {reference:.4f}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
