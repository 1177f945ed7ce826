"""From a folder of JPEGs to batches of random resized crops, against torchvision's pipeline.

An epoch over N photographs of 500x375 (cut from those that scikit-image and scikit-learn ship,
saved at quality 90, 4:2:0) to normalised float batches at 224: random resized crop (.08 to 1) and
flips. The peer is the usual pipeline: ImageFolder, Pillow, torchvision's transforms, and DataLoader
with as many worker processes as ours has threads. Each computes on one thread a worker; ours keeps
freed memory for the next batch, as the command does. `cached` is an epoch through the packed cache
with short side 256, which was written before and is not timed.

Bounds: ours 1.8 times the images a second of the peer, through the cache 4 times.

Run: python benchmarks/loader.py [ROUNDS [IMAGES [WORKERS]]]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage import data as photographs
from sklearn.datasets import load_sample_images

from convarium import data
from convarium.data.dataset import Part
from convarium.data.packing import packed
from convarium.train.allocator import keep_freed_memory
from harness import Peer, ratio, seconds, summary, write

SIZE, BATCH, SHORT_SIDE = 224, 64, 256
BOUNDS = {"files": 1.8, "cached": 4.0}


def write_photographs(folder: Path, count: int) -> None:
    """`count` JPEGs of 500x375 in two class folders, each another cut of a real photograph."""
    sources = [photographs.cat(), photographs.coffee(), photographs.astronaut()]
    sources += [photographs.rocket(), *load_sample_images().images]
    random = np.random.default_rng(0)
    for k in range(count):
        image = Image.fromarray(sources[k % len(sources)])
        scale = random.uniform(0.6, 1) * min(image.width / 500, image.height / 375)
        wide, tall = 500 * scale, 375 * scale
        left, top = random.uniform(0, image.width - wide), random.uniform(0, image.height - tall)
        box = (left, top, left + wide, top + tall)
        place = folder / "ab"[k % 2]
        place.mkdir(exist_ok=True)
        image.resize((500, 375), Image.Resampling.BICUBIC, box).save(
            place / f"{k:05}.jpg", quality=90, subsampling=2
        )


def epoch(part: Part, steps: data.Preprocessing, number: int, workers: int) -> int:
    """All batches of one epoch; the number of images."""
    change = data.Augmentation(flip=True, resized_crop=0.08)
    return sum(
        len(batch.index)
        for batch in data.training_batches(
            part,
            steps,
            batch_size=BATCH,
            seed=0,
            epoch=number,
            augmentation=change,
            workers=workers,
        )
    )


def fresh(folder: Path) -> Part:
    """The whole folder as a training part that holds no picture in memory."""
    dataset = data.open_dataset(folder)
    dataset.survey()
    return Part(dataset, np.arange(len(dataset)))


def main(rounds: int = 7, images: int = 512, workers: int = 2) -> None:
    """Time, write the JSON, say the ratios."""
    torch.set_num_threads(1)
    keep_freed_memory()
    steps = data.Preprocessing((3, SIZE, SIZE), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    found: dict[str, list[float]] = {"files": [], "cached": [], "peer": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "photographs"
        folder.mkdir()
        write_photographs(folder, images)
        cached = packed(fresh(folder), SHORT_SIDE, Path(name) / "cache")
        with Peer("loader.py", str(folder), str(SIZE), str(BATCH), str(workers)) as peer:
            peer.ask("warm up")
            for number in range(rounds):
                part = fresh(folder)
                found["files"].append(seconds(lambda: epoch(part, steps, number, workers)))  # noqa: B023
                found["peer"].append(float(peer.ask("epoch")["seconds"]))
                found["cached"].append(seconds(lambda: epoch(cached, steps, number, workers)))  # noqa: B023
    ratios = {name: ratio(found["peer"], found[name]) for name in BOUNDS}
    result = {
        "images": images,
        "workers": workers,
        "size": SIZE,
        "batch": BATCH,
        "seconds": {name: summary(values) for name, values in found.items()},
        "images_per_second": {
            name: images / summary(values)["median"] for name, values in found.items()
        },
        "times_the_peer": ratios,
        "bounds": BOUNDS,
    }
    print(write("loader", result, ("pillow", "simplejpeg")))
    for name, value in ratios.items():
        print(f"{name}: {value:.2f} times the peer (bound {BOUNDS[name]})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
