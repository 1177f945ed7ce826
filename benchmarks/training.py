"""Images per second of the whole training, from JPEG files to updated weights, against peers.

The networks at 224 read photographs of 500x375, ResNet-18 for 32x32 reads pictures of that size;
all take random resized crops (.08 to 1) and flips, batches of one size, SGD with momentum, and as
many loader workers. Ours runs with the settings that its probe decides, as a run of many hours
would; what the probe took is reported and not timed. The peers, both with timm's network of the
same number of parameters:

    lightning   Lightning's Trainer with its defaults; ImageFolder, Pillow, torchvision, DataLoader
    timm        the loop of timm's train.py with its defaults, timm's loader
    ... FLAGS   the same with channels_last and, where timm's loop is faster with it, bf16: their
                users have to know and ask for it

Each contender trains in processes of its own. After the steps that warm up they take turns: one
goes on for a few steps, and all processes of the others stand still meanwhile, those that read
ahead too. So every pair of numbers is seconds apart, on a machine whose pace changes by the minute.

Bounds: the geometric mean over the networks of ours / peer is at least 1.6 for each peer with its
defaults; and no network is below 0.97 of either peer at its best.

Run: python benchmarks/training.py [ROUNDS [NETWORK ...]]
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

from convarium.train.config import TrainConfig
from harness import PEER_PYTHON, PEERS, ratio, summary, write
from loader import write_photographs
from turns import in_turns

ROUNDS, TRIALS, WORKERS, WARM, AHEAD = 10, 3, 2, 3, 6
DRAWN = 500  # small pictures that differ
LONG = 100_000  # epochs of the run that the probe decides for
PEERS_COMPARED, FLAGS = ("lightning", "timm"), ("bf16,channels_last", "fp32,channels_last")
BOUNDS = {"defaults": 1.6, "best": 0.97}


class Case(NamedTuple):
    """A network, its input's side, the batch, and the steps of a turn."""

    name: str
    size: int
    batch: int
    steps: int
    options: dict[str, Any]


CASES = (
    Case("resnet50", 224, 16, 2, {}),
    Case("efficientnet_b0", 224, 16, 2, {}),
    Case("mobilenet_v1", 224, 16, 4, {}),
    Case("densenet121", 224, 16, 2, {}),
    Case("resnet18", 32, 64, 12, {"stem": "cifar"}),
)


class Steps:
    """An observer that tells the benchmark of each step."""

    def on_start(self, **_: int) -> None:
        """Nothing to do."""

    def on_step(self, step: int, loss: float) -> None:
        """The update is done."""
        os.write(int(os.environ["STEPS"]), b"step\n")

    def on_epoch(self, row: object) -> None:
        """Nothing to do."""


def ours(case: Case, folder: Path, choices: dict[str, str]) -> dict[str, Any]:
    """What the probe decides; or, where that is known, `train.fit` until it is stopped."""
    import torch

    from convarium import data, models, train
    from convarium.train.allocator import keep_freed_memory

    keep_freed_memory()  # as the command does
    dataset = data.open_dataset(folder)
    dataset.survey()
    parts = data.split(dataset, validation=0.01, test=0.01)
    preprocessing = dataclasses.replace(
        data.Preprocessing((3, case.size, case.size), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        classes=parts.train.classes,
    )
    torch.manual_seed(0)
    model = models.create(case.name, num_classes=2, in_channels=3, **case.options)
    config = TrainConfig(
        epochs=1,
        batch_size=case.batch,
        optimizer="sgd",
        learning_rate=0.01,
        weight_decay=1e-4,
        resized_crop=0.08,
        workers=WORKERS,
        **choices,
    )
    if not choices:
        long = dataclasses.replace(config, epochs=LONG)
        found = train.probe(model, parts, long, preprocessing=preprocessing, cache=False)
        taken = {name: getattr(found.config, name) for name in ("precision", "layout", "compile")}
        return {"choices": taken, **found.to_mapping()}
    count = sum(parameter.numel() for parameter in model.parameters())
    os.write(int(os.environ["STEPS"]), json.dumps({"parameters": count}).encode() + b"\n")
    train.fit(model, parts, config, preprocessing=preprocessing, observers=[Steps()])
    raise SystemExit("The pictures were too few.")


def _command(kind: str, case: Case, folder: Path, choices: dict[str, str]) -> list[Any]:
    if kind == "ours":
        return [sys.executable, __file__, "--ours", case.name, folder, json.dumps(choices)]
    peer, _, flags = kind.partition(" ")
    python = PEER_PYTHON if peer == "timm" else sys.executable
    script = PEERS / f"training_{peer}.py"
    return [python, script, folder, case.name, case.size, case.batch, WORKERS, flags or "none"]


def decided(case: Case, folder: Path) -> dict[str, Any]:
    """What our probe takes, in a process of its own."""
    command = [sys.executable, __file__, "--ours", case.name, str(folder), "{}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"The probe of {case.name} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _rates(
    kinds: Sequence[str], case: Case, folder: Path, choices: dict[str, str], rounds: int
) -> tuple[dict[str, list[float]], list[dict[str, Any]]]:
    """Images a second of each contender, round by round, and what they tell of themselves."""
    commands = {kind: _command(kind, case, folder, choices) for kind in kinds}
    rates, told = in_turns(commands, warm=WARM, steps=case.steps, rounds=rounds)
    return {kind: [case.batch * rate for rate in rates[kind]] for kind in kinds}, told


def compare(case: Case, rounds: int, folder: Path) -> dict[str, Any]:
    """Every contender's images per second, round by round, and the ratios."""
    probe = decided(case, folder)
    choices = probe["choices"]
    tried, _ = _rates([f"timm {each}" for each in FLAGS], case, folder, choices, TRIALS)
    flags = max(FLAGS, key=lambda each: median(tried[f"timm {each}"]))
    best = [f"{peer} {flags}" for peer in PEERS_COMPARED]
    kinds = ["ours", *PEERS_COMPARED, *best]
    rates, told = _rates(kinds, case, folder, choices, rounds)
    counts = {each["parameters"] for each in told}
    if len(counts) > 1:
        raise SystemExit(f"{case.name} is not the same network everywhere: {counts}.")
    versions = {name: number for each in told for name, number in each.get("versions", {}).items()}
    ratios = {kind: ratio(rates["ours"], rates[kind]) for kind in kinds[1:]}
    return {
        "network": case.name,
        "size": case.size,
        "batch": case.batch,
        "parameters": counts.pop(),
        "probe": probe,
        "peers' best flags": flags,
        "images_per_second": {kind: summary(values) for kind, values in rates.items()},
        "ratios": ratios,
        "lowest to best": min(ratios[kind] for kind in best),
        "versions": versions,
    }


def write_small(folder: Path, count: int) -> None:
    """Photographs as JPEGs of 32x32; beyond `DRAWN` they repeat."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as name:
        write_photographs(Path(name), min(count, DRAWN))
        paths = sorted(Path(name).rglob("*.jpg"))
        for path in paths:
            place = folder / path.parent.name
            place.mkdir(exist_ok=True)
            Image.open(path).resize((32, 32), Image.Resampling.BICUBIC).save(
                place / path.name, quality=95
            )
    for number in range(len(paths), count):
        path = paths[number % len(paths)]
        place = folder / path.parent.name
        shutil.copy(place / path.name, place / f"{number}.jpg")


def main(rounds: int, names: list[str]) -> int:
    """Compare each network and write the result."""
    rows = []
    for case in CASES:
        if case.name not in names:
            continue
        with tempfile.TemporaryDirectory() as name:
            count = (WARM + case.steps * max(rounds, TRIALS) + AHEAD) * case.batch * 21 // 20
            fill = write_photographs if case.size == 224 else write_small
            fill(Path(name), count)
            rows.append(compare(case, rounds, Path(name)))
        taken = " ".join(rows[-1]["probe"]["choices"].values())
        ratios = ", ".join(f"{k} {v:.2f}" for k, v in rows[-1]["ratios"].items())
        print(f"{case.name} ({taken}): ours / {ratios}", flush=True)
    means = {
        peer: math.exp(fmean(math.log(row["ratios"][peer]) for row in rows))
        for peer in PEERS_COMPARED
    }
    lowest = min(row["lowest to best"] for row in rows)
    holds = min(means.values()) >= BOUNDS["defaults"] and lowest >= BOUNDS["best"]
    result = {
        "rounds": rounds,
        "workers": WORKERS,
        "geometric means": means,
        "lowest to best": lowest,
        "bounds": BOUNDS,
        "holds": holds,
        "rows": rows,
    }
    path = write("training", result, ("lightning", "pillow", "simplejpeg"), by_processor=True)
    print(f"geometric means {means}, lowest to best {lowest:.3f}; holds: {holds}; {path}")
    return 0 if holds else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ours"]:
        wanted = next(case for case in CASES if case.name == sys.argv[2])
        print(json.dumps(ours(wanted, Path(sys.argv[3]), json.loads(sys.argv[4]))), flush=True)
        sys.exit(0)
    arguments = sys.argv[1:]
    sys.exit(
        main(
            int(arguments[0]) if arguments else ROUNDS,
            arguments[1:] or [case.name for case in CASES],
        )
    )
