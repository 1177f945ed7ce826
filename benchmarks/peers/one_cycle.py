"""The peer of `benchmarks/speedrun.py`: fastai's small residual network with one cycle.

Runs in .venv-peers and imports nothing of convarium:

    python benchmarks/peers/one_cycle.py FOLDER THREADS

FOLDER holds the IDX files of Fashion-MNIST. A line `{"epochs": E, "rate": R}` on standard input
trains for E epochs with the highest learning rate R and is answered by seconds and test accuracy
after each; the test is not timed. The images are in memory, so that no reading of files is held
against it.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torchvision_operators import declare

BATCH = 128
MEAN, STD = 0.2860, 0.3530


def images(path: Path) -> torch.Tensor:
    """One IDX file: its sizes are four bytes each, behind a magic number that tells how many."""
    with gzip.open(path) as file:
        content = file.read()
    sizes = np.frombuffer(content, ">i4", content[3], 4).tolist()
    return torch.from_numpy(
        np.frombuffer(content, np.uint8, offset=4 + 4 * len(sizes)).copy()
    ).view(sizes)


def pair(folder: Path, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels (N, 1, 28, 28), normalised, and labels."""
    pixels = images(folder / f"{part}-images-idx3-ubyte.gz")[:, None].float() / 255
    return (pixels - MEAN) / STD, images(folder / f"{part}-labels-idx1-ubyte.gz").long()


class Batches:
    """Batches of tensors; in training shuffled, and half of the images mirrored."""

    bs, device = BATCH, torch.device("cpu")

    def __init__(self, given: tuple[torch.Tensor, torch.Tensor], training: bool) -> None:
        self.given, self.training = given, training
        self.dataset = given[0]

    def __len__(self) -> int:
        return len(self.dataset) // BATCH

    def __iter__(self):
        """The whole batches of one epoch."""
        inputs, labels = self.given
        order = torch.randperm(len(inputs)) if self.training else torch.arange(len(inputs))
        for k in range(len(self)):
            chosen = order[k * BATCH : (k + 1) * BATCH]
            batch = inputs[chosen]
            if self.training:
                turned = torch.rand(len(batch)) < 0.5
                batch = torch.where(turned[:, None, None, None], batch.flip(3), batch)
            yield batch, labels[chosen]


def clock(inputs: torch.Tensor, labels: torch.Tensor):
    """A callback that notes seconds and test accuracy after each epoch; the test is not timed."""
    from fastai.vision.all import Callback

    class Clock(Callback):
        def before_fit(self) -> None:
            self.rows, self.away, self.start = [], 0.0, time.perf_counter()

        def after_epoch(self) -> None:
            now = time.perf_counter()
            self.learn.model.eval()
            with torch.no_grad():
                found = torch.cat([self.learn.model(x).argmax(1) for x in inputs.split(1000)])
            accuracy = (found == labels).float().mean().item()
            self.rows.append({"seconds": now - self.start - self.away, "accuracy": accuracy})
            self.away += time.perf_counter() - now

    return Clock()


def main(folder: Path, threads: int) -> None:
    """Answer requests until standard input ends."""
    torch.set_num_threads(threads)
    declare()
    import fastai
    from fastai.data.all import DataLoaders
    from fastai.vision.all import LabelSmoothingCrossEntropyFlat, Learner, xresnet18

    print(json.dumps({"fastai": fastai.__version__}), flush=True)
    learnt, tested = pair(folder, "train"), pair(folder, "t10k")
    few = (learnt[0][:1024], learnt[1][:1024])
    for line in sys.stdin:
        asked = json.loads(line)
        torch.manual_seed(0)
        watch = clock(*tested)
        learner = Learner(
            DataLoaders(Batches(learnt, True), Batches(few, False)),
            xresnet18(c_in=1, n_out=10),
            loss_func=LabelSmoothingCrossEntropyFlat(),
            cbs=[watch],
        )
        with learner.no_bar(), learner.no_logging():
            learner.fit_one_cycle(asked["epochs"], asked["rate"])
        print(json.dumps({"rows": watch.rows}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
