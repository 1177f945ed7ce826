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

Each run is a process of its own, and they take turns. The clock runs from the end of the steps that
warm up, while the loaders go on reading ahead.

Bounds: the geometric mean over the networks of ours / peer is at least 1.6 for each peer with its
defaults; and no network is below 0.97 of either peer at its best.

Run: python benchmarks/training.py [ROUNDS [NETWORK ...]]
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from convarium.train.config import TrainConfig
from harness import PEER_PYTHON, PEERS, ratio, summary, write
from loader import write_photographs

ROUNDS, WORKERS, WARM, AHEAD = 3, 2, 3, 6
LONG = 100_000  # epochs of the run that the probe decides for
PEERS_COMPARED, FLAGS = ("lightning", "timm"), ("bf16,channels_last", "fp32,channels_last")
BOUNDS = {"defaults": 1.6, "best": 0.97}


class Case(NamedTuple):
    """A network, its input's side, the batch, and the steps that are timed."""

    name: str
    size: int
    batch: int
    steps: int
    options: dict[str, Any]


CASES = (
    Case("resnet50", 224, 16, 5, {}),
    Case("efficientnet_b0", 224, 16, 8, {}),
    Case("mobilenet_v1", 224, 16, 12, {}),
    Case("densenet121", 224, 16, 6, {}),
    Case("resnet18", 32, 64, 12, {"stem": "cifar"}),
)


class Ended(Exception):  # noqa: N818
    """The last step that is timed is done."""


class Clock:
    """An observer that times the steps after those that warm up, and ends the run."""

    def __init__(self, timed: int) -> None:
        self.timed, self.start, self.seconds = timed, 0.0, 0.0

    def on_start(self, **_: int) -> None:
        """Nothing to do."""

    def on_step(self, step: int, loss: float) -> None:
        """Start and stop the clock."""
        if step == WARM:
            self.start = time.perf_counter()
        if step == WARM + self.timed:
            self.seconds = time.perf_counter() - self.start
            raise Ended

    def on_epoch(self, row: object) -> None:
        """Nothing to do."""


def ours(case: Case, folder: Path, choices: dict[str, str]) -> dict[str, Any]:
    """What the probe decides; or images per second of `train.fit`, where that is known."""
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
    clock = Clock(case.steps)
    with contextlib.suppress(Ended):
        train.fit(model, parts, config, preprocessing=preprocessing, observers=[clock])
    return {
        "images_per_second": case.steps * case.batch / clock.seconds,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def answer(*words: str | Path) -> dict[str, Any]:
    """The last line that a process writes, which is JSON."""
    command = [str(word) for word in words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def run(kind: str, case: Case, folder: Path, choices: dict[str, str]) -> dict[str, Any]:
    """One contender's run in a process of its own."""
    if kind == "ours":
        return answer(sys.executable, __file__, "--ours", case.name, folder, json.dumps(choices))
    peer, _, flags = kind.partition(" ")
    python = PEER_PYTHON if peer == "timm" else sys.executable
    numbers = (case.size, case.batch, WORKERS, WARM, case.steps)
    script = PEERS / f"training_{peer}.py"
    return answer(python, script, folder, case.name, *map(str, numbers), flags or "none")


def compare(case: Case, rounds: int, folder: Path) -> dict[str, Any]:
    """Every contender's images per second, round by round, and the ratios."""
    decided = answer(sys.executable, __file__, "--ours", case.name, folder, "{}")
    flags = max(FLAGS, key=lambda each: run(f"timm {each}", case, folder, {})["images_per_second"])
    best = [f"{peer} {flags}" for peer in PEERS_COMPARED]
    kinds = ["ours", *PEERS_COMPARED, *best]
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    versions: dict[str, str] = {}
    counts = set()
    for turn in range(rounds):
        first = turn % len(kinds)
        for kind in kinds[first:] + kinds[:first]:
            found = run(kind, case, folder, decided["choices"])
            rates[kind].append(found["images_per_second"])
            counts.add(found["parameters"])
            versions |= found.get("versions", {})
    if len(counts) > 1:
        raise SystemExit(f"{case.name} is not the same network everywhere: {counts}.")
    ratios = {kind: ratio(rates["ours"], rates[kind]) for kind in kinds[1:]}
    return {
        "network": case.name,
        "size": case.size,
        "batch": case.batch,
        "parameters": counts.pop(),
        "probe": decided,
        "peers' best flags": flags,
        "images_per_second": {kind: summary(values) for kind, values in rates.items()},
        "ratios": ratios,
        "lowest to best": min(ratios[kind] for kind in best),
        "versions": versions,
    }


def write_small(folder: Path, count: int) -> None:
    """The photographs as JPEGs of 32x32."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as name:
        write_photographs(Path(name), count)
        for path in sorted(Path(name).rglob("*.jpg")):
            place = folder / path.parent.name
            place.mkdir(exist_ok=True)
            Image.open(path).resize((32, 32), Image.Resampling.BICUBIC).save(
                place / path.name, quality=95
            )


def main(rounds: int, names: list[str]) -> int:
    """Compare each network and write the result."""
    rows = []
    for case in CASES:
        if case.name not in names:
            continue
        with tempfile.TemporaryDirectory() as name:
            count = (WARM + case.steps + AHEAD) * case.batch
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
    path = write("training", result, ("lightning", "pillow", "simplejpeg"))
    print(f"geometric means {means}, lowest to best {lowest:.3f}; holds: {holds}; {path}")
    return 0 if holds else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ours"]:
        wanted = next(case for case in CASES if case.name == sys.argv[2])
        print(json.dumps(ours(wanted, Path(sys.argv[3]), json.loads(sys.argv[4]))), flush=True)
        os._exit(0)  # what the loader reads ahead need not be waited for
    arguments = sys.argv[1:]
    sys.exit(
        main(
            int(arguments[0]) if arguments else ROUNDS,
            arguments[1:] or [case.name for case in CASES],
        )
    )
