"""What anti-aliased downsampling changes: shift consistency and accuracy of trained networks.

    python experiments/blur_pooling.py

Two small residual networks for small images, with the same weights in number and in shape: one
halves its maps by stride, one blurs before (`downsample="blur"`). Both learn from the same part of
Fashion-MNIST (MIT licence, from `make data`), for each seed with the same order and flips, without
crops, so that only the network can make them stable. Afterwards test images are padded with black
by 4 pixels, and each is shown in two windows that differ by up to 8 pixels; the same pairs for both
networks and all seeds.

References:
    Zhang 2019, "Making convolutional networks shift-invariant again", arXiv:1904.11486, section 4.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

import evidence
from convarium import data, models, train
from convarium.files import write_json
from convarium.intervals import wilson
from convarium.measure.consistency import shift_consistency
from convarium.predict import Predictor

RESULT = evidence.RESULTS / "blur_pooling.json"
NETWORK = {"depths": (1, 1, 1), "widths": (16, 32, 64)}
PADDING = 4
KINDS = ("stride", "blur")
RECIPE = {
    "epochs": 4,
    "batch_size": 64,
    "optimizer": "adamw",
    "learning_rate": 4e-3,
    "flip": True,
    "pad_crop": 0,
    "device": "cpu",
}


def padded(images: torch.Tensor, preprocessing: data.Preprocessing) -> torch.Tensor:
    """The images with a black border, as they would be had it been there before."""
    black = -preprocessing.mean[0] / preprocessing.std[0]
    return functional.pad(images, [PADDING] * 4, value=black)


def one_run(
    downsample: str, seed: int, parts: data.Parts, preprocessing: data.Preprocessing
) -> dict[str, Any]:
    """Train one network, then measure its accuracy and its consistency."""
    torch.manual_seed(seed)
    options = NETWORK | {"downsample": downsample}
    model = models.create("resnet8", in_channels=1, num_classes=10, **options)
    config = train.TrainConfig(**RECIPE, seed=seed)
    start = time.perf_counter()
    train.fit(model, parts, config, preprocessing=preprocessing)
    seconds = time.perf_counter() - start
    found = Predictor(model, data.build_card(parts, preprocessing)).evaluate(parts.test)
    right = round(found.score * found.n)
    batches = data.batches(parts.test, preprocessing, batch_size=1000)
    images = torch.cat([batch.inputs[0] for batch in batches])
    windows = shift_consistency(
        model, padded(images, preprocessing), shifts="crop", max_shift=2 * PADDING, seed=0
    )
    return {
        "downsample": downsample,
        "seed": seed,
        "parameters": sum(p.numel() for p in model.parameters()),
        "accuracy": {"n": found.n, "share": right / found.n, "interval": wilson(right, found.n)},
        "consistency": windows.to_json(),
        "seconds": round(seconds, 1),
    }


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """For each kind accuracy and consistency over the seeds, and what the blur changes by seed."""
    rows: dict[str, Any] = {}
    for measured in ("accuracy", "consistency"):
        shares = {
            kind: [run[measured]["share"] for run in runs if run["downsample"] == kind]
            for kind in KINDS
        }
        changes = [one - other for one, other in zip(shares["blur"], shares["stride"], strict=True)]
        rows[measured] = {kind: evidence.over_seeds(values) for kind, values in shares.items()}
        rows[measured]["blur_minus_stride"] = evidence.over_seeds(changes)
    return rows


def main() -> int:
    """Train both kinds with each seed and store the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=6000, help="training images")
    parser.add_argument("--test", type=int, default=4000, help="test images")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    whole = data.split(evidence.opened("fashion-mnist"), validation=0.05)
    parts = dataclasses.replace(
        whole,
        train=evidence.drawn(whole.train, arguments.images, "train"),
        validation=evidence.drawn(whole.validation, 500, "validation"),
        test=evidence.drawn(whole.test, arguments.test, "test"),
    )
    preprocessing = data.fit_preprocessing(parts.train)
    runs = []
    for seed in arguments.seeds:
        for kind in KINDS:
            runs.append(one_run(kind, seed, parts, preprocessing))
            share, accuracy = (runs[-1][name]["share"] for name in ("consistency", "accuracy"))
            evidence.say(f"{kind} seed {seed}: {accuracy=:.4f} consistency={share:.4f}")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    result = {
        "experiment": "blur_pooling",
        "claim": "Blurring before a map is halved makes a classifier's answer more stable under "
        "shifts (Zhang 2019, section 4).",
        "network": {"name": "resnet8", **NETWORK},
        "recipe": RECIPE,
        "images": {"train": len(parts.train), "validation": len(parts.validation)},
        "summary": summary(runs),
        "runs": runs,
    }
    write_json(arguments.out, result | evidence.provenance())
    return 0


if __name__ == "__main__":
    sys.exit(main())
