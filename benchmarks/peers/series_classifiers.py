"""MiniRocket of aeon on its data sets: a line of JSON for each line that asks.

    python series_classifiers.py

Reads lines "NAME SEED" and the files that come with aeon. Time covers fit and score.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import aeon.datasets
from aeon.classification.convolution_based import MiniRocketClassifier
from aeon.datasets import load_from_ts_file

FOLDER = Path(aeon.datasets.__file__).parent / "data"


def main() -> None:
    """Answer each name of the command line."""
    print(json.dumps({"folder": str(FOLDER), "aeon": aeon.__version__}), flush=True)
    for line in sys.stdin:
        name, seed = line.split()
        files = (FOLDER / name / f"{name}_{part}.ts" for part in ("TRAIN", "TEST"))
        train, test = (load_from_ts_file(str(file)) for file in files)
        started = time.perf_counter()
        model = MiniRocketClassifier(random_state=int(seed), n_jobs=1).fit(*train)
        accuracy = float(model.score(*test))
        told = {"accuracy": accuracy, "seconds": time.perf_counter() - started}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
