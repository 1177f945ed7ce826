"""What each augmentation gives on few images, and what mixing does to a network's confidence.

    python experiments/augmentation_ablation.py --jobs 2
    python experiments/augmentation_ablation.py --table

One small network, 10,000 images of Fashion-MNIST, one length of training; a row switches on flips
and crops, and one thing more. For each row and seed: test accuracy, expected calibration error
(15 bins) as trained and after temperature scaling on the validation images, mean confidence on the
test images and on unfamiliar ones (clip art and digits, grey and 28x28), and how well confidence
tells these from test images (area under the ROC curve). Finished runs are kept.

References:
    Zhang et al. 2018, arXiv:1710.09412 (mixup); Thulasidasan et al. 2019, arXiv:1905.11001 (mixup
    and calibration); Guo et al. 2017, arXiv:1706.04599, section 2 (the error); Hendrycks, Gimpel
    2017, arXiv:1610.02136 (confidence on unfamiliar inputs).
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import evidence
from convarium import data, models, train
from convarium.files import read_json, write_json
from convarium.predict import Predictor
from convarium.tasks.calibration import softmax_temperature
from convarium.tasks.scores import auroc, calibration_error, reliability

RESULT = evidence.RESULTS / "augmentation_ablation.json"
NETWORK, OPTIONS = "speednet", {"widths": [32, 64, 128]}
IMAGES, VALIDATION, BINS, UNFAMILIAR = 10_000, 2_000, 15, 1_500
RECIPE = {
    "epochs": 15,
    "batch_size": 128,
    "optimizer": "adamw",
    "learning_rate": 4e-3,
    "weight_decay": 0.05,
    "precision": "fp32",
    "layout": "channels_last",
}
_BASE = {"flip": True, "pad_crop": 2}
ROWS: dict[str, dict[str, Any]] = {
    "none": {"flip": False},
    "flip and crop": _BASE,
    "+ jitter": _BASE | {"jitter": 0.4},
    "+ erasing": _BASE | {"erasing": 0.25},
    "+ mixup": _BASE | {"mixup": 0.4},
    "+ CutMix": _BASE | {"cutmix": 1.0},
    "+ RandAugment": _BASE | {"policy": "randaugment"},
    "+ label smoothing": _BASE | {"label_smoothing": 0.1},
}
FIGURES = (
    *("accuracy", "ece", "ece_scaled", "confidence"),
    *("confidence_clipart", "confidence_digits", "auroc_clipart", "auroc_digits"),
)


def parts() -> data.Parts:
    """The same images for every row and seed."""
    whole = data.split(evidence.opened("fashion-mnist"), validation=0.1, test=0.1)
    return dataclasses.replace(
        whole,
        train=evidence.drawn(whole.train, IMAGES, "train"),
        validation=evidence.drawn(whole.validation, VALIDATION, "validation"),
    )


def outputs(predictor: Predictor, part: data.Part | data.Dataset) -> Tensor:
    """What the network gives for each sample, before the softmax."""
    found = [
        predictor.outputs(batch)
        for batch in data.batches(part, predictor.preprocessing, batch_size=256)
    ]
    return torch.cat(found).float()


def unfamiliar(source: str, steps: data.Preprocessing) -> data.Part:
    """Some samples of another data set; what cannot be read is not among them."""
    dataset = evidence.opened(source)
    skipped: list[Any] = []
    readable = [b.index for b in data.batches(dataset, steps, batch_size=256, skipped=skipped)]
    ids = torch.cat(readable).numpy() if readable else np.arange(0)
    return evidence.drawn(data.Part(dataset, ids), UNFAMILIAR, source)


def area(known: NDArray[Any], other: NDArray[Any]) -> float:
    """Probability that a known sample has the larger number; ties count a half."""
    return auroc(np.concatenate([known, other]), np.arange(len(known) + len(other)) < len(known))


def one_run(row: str, seed: int) -> dict[str, Any]:
    """Train with one row's options on one thread, and measure."""
    torch.set_num_threads(1)
    own = parts()
    steps = data.fit_preprocessing(own.train)
    torch.manual_seed(seed)
    model = models.create(NETWORK, in_channels=1, num_classes=10, **OPTIONS)
    config = train.TrainConfig(**{**RECIPE, **ROWS[row]}, seed=seed, device="cpu")
    start = time.perf_counter()
    train.fit(model, own, config, preprocessing=steps)
    seconds = time.perf_counter() - start
    predictor = Predictor(model, data.build_card(own, steps))
    test, validation = outputs(predictor, own.test), outputs(predictor, own.validation)
    labels = torch.from_numpy(own.test.targets)
    temperature = softmax_temperature(validation, torch.from_numpy(own.validation.targets))
    sure = test.softmax(1).amax(1).numpy()
    right = (test.argmax(1) == labels).numpy()
    scaled = (test / temperature).softmax(1).amax(1).numpy()
    found = {
        "accuracy": float(right.mean()),
        "ece": calibration_error(reliability(sure, right, BINS)),
        "ece_scaled": calibration_error(reliability(scaled, right, BINS)),
        "temperature": temperature,
        "confidence": float(sure.mean()),
    }
    for name, source in (("clipart", "openclipart"), ("digits", "digits")):
        other = outputs(predictor, unfamiliar(source, steps)).softmax(1).amax(1).numpy()
        found |= {f"confidence_{name}": float(other.mean()), f"auroc_{name}": area(sure, other)}
    digits = {key: evidence.digits(value) for key, value in found.items()}
    return {"row": row, "seed": seed, "n": len(labels), **digits, "seconds": round(seconds, 1)}


def write(path: Path, runs: list[dict[str, Any]]) -> None:
    """The whole result so far, in the order of rows and seeds."""
    runs.sort(key=lambda run: ([*ROWS].index(run["row"]), run["seed"]))
    told = {
        "experiment": "augmentation_ablation",
        "network": NETWORK,
        "options": OPTIONS,
        "images": IMAGES,
        "recipe": RECIPE,
        "rows": ROWS,
        "summary": summary(runs),
        "runs": runs,
    }
    write_json(path, told | evidence.provenance())


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Each figure of each row over the seeds, and accuracy less that of flips and crops.

    The interval of a share is that of its logit, so that it lies between 0 and 1.
    """
    base = {run["seed"]: run["accuracy"] for run in runs if run["row"] == "flip and crop"}
    told: dict[str, Any] = {}
    for row in ROWS:
        mine = [run for run in runs if run["row"] == row]
        if not mine:
            continue
        name = label(row)
        told[name] = {key: share([run[key] for run in mine]) for key in FIGURES}
        pairs = [run["accuracy"] - base[run["seed"]] for run in mine if run["seed"] in base]
        if pairs:
            told[name]["gain"] = evidence.over_seeds(pairs)
    return told


def label(row: str) -> str:
    """The row's name, with the strength of a mixture."""
    strength = {"+ mixup": "mixup", "+ CutMix": "cutmix"}.get(row)
    return row if strength is None else f"{row} (alpha {ROWS[row][strength]:g})"


def share(values: Sequence[float]) -> dict[str, Any]:
    """Mean and range of a share over seeds; from two on, the 95 % interval of its logit."""
    told = evidence.over_seeds(values)
    if len(values) > 1:
        folds = [train.FoldResult(k, 0, value, 0.0, 0) for k, value in enumerate(values, 1)]
        told["interval"] = list(train.cross_validation(folds, "share").interval)
    return told


def table(result: Mapping[str, Any]) -> str:
    """The summary as rows of Markdown; behind each accuracy its 95 % interval over the seeds."""
    heads = ("augmentation", "test accuracy", "gain", "ECE", "scaled", "confidence")
    lines = [
        "| " + " | ".join((*heads, "on clip art", "on digits", "AUROC", "AUROC")) + " |",
        "|---" * (len(heads) + 4) + "|",
    ]
    for row, found in result["summary"].items():
        low, high = found["accuracy"].get("interval", (float("nan"),) * 2)
        cells = [f"{found['accuracy']['mean']:.2%} ({low:.2%} to {high:.2%})"]
        cells.append(f"{100 * found['gain']['mean']:+.2f}" if "gain" in found else "")
        cells += [f"{found[key]['mean']:.3f}" for key in FIGURES[1:]]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Run what is missing, a few side by side, and write after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=[*ROWS])
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, one thread each")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--table", action="store_true", help="sum up and print --out")
    arguments = parser.parse_args()
    if arguments.table:
        told = read_json(arguments.out)
        told["summary"] = summary(told["runs"])
        write_json(arguments.out, told)
        evidence.say(table(told))
        return 0
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    runs: list[dict[str, Any]] = []
    if arguments.out.exists():
        before = read_json(arguments.out)
        now = {"network": NETWORK, "options": OPTIONS, "images": IMAGES, "recipe": RECIPE}
        if any(before[key] != value for key, value in now.items()) or before["rows"] != ROWS:
            raise SystemExit(f"{arguments.out} was made with other settings; give another --out.")
        runs = list(before["runs"])
    done = {(run["row"], run["seed"]) for run in runs}
    wanted = [(row, seed) for seed in arguments.seeds for row in arguments.rows]
    os.environ["OMP_NUM_THREADS"] = "1"
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.jobs, mp_context=spawn) as pool:
        waiting = [pool.submit(one_run, *pair) for pair in wanted if pair not in done]
        for future in as_completed(waiting):
            run = future.result()
            runs.append(run)
            write(arguments.out, runs)
            evidence.say(" ".join(f"{key} {value}" for key, value in run.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
