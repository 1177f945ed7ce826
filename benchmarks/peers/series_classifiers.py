"""MiniRocket and InceptionTime of aeon on its data sets: a line of JSON for each line that asks.

    python series_classifiers.py

Reads lines "NAME SEED" of MiniRocket and "NAME SEED EPOCHS" of InceptionTime, whose other settings
are aeon's own (five networks), and the files that come with aeon. Time is the processor's, for fit
and score.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aeon.datasets
from aeon.classification.convolution_based import MiniRocketClassifier
from aeon.datasets import load_from_ts_file

FOLDER = Path(aeon.datasets.__file__).parent / "data"


def main() -> None:
    """Answer each name of the command line."""
    print(json.dumps({"folder": str(FOLDER), "aeon": aeon.__version__}), flush=True)
    for line in sys.stdin:
        name, seed, *epochs = line.split()
        files = (FOLDER / name / f"{name}_{part}.ts" for part in ("TRAIN", "TEST"))
        train, test = (load_from_ts_file(str(file)) for file in files)
        with tempfile.TemporaryDirectory() as folder:
            model = classifier(int(seed), [int(each) for each in epochs], folder)
            started = time.process_time()
            with contextlib.redirect_stdout(sys.stderr):  # Keras writes its progress
                accuracy = float(model.fit(*train).score(*test))
            told = {"accuracy": accuracy, "seconds": time.process_time() - started}
        print(json.dumps(told), flush=True)


def classifier(seed: int, epochs: list[int], folder: str) -> Any:
    """InceptionTime of so many epochs, which keeps its weights in a folder; MiniRocket without."""
    if not epochs:
        return MiniRocketClassifier(random_state=seed, n_jobs=1)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow
    from aeon.classification.deep_learning import InceptionTimeClassifier

    threads = int(os.environ.get("OMP_NUM_THREADS", "0"))  # 0: as many as there are
    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    return InceptionTimeClassifier(n_epochs=epochs[0], random_state=seed, file_path=f"{folder}/")


if __name__ == "__main__":
    main()
