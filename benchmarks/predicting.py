"""From JPEG files to labels: `predict` by the tuned form, against a usual pipeline in eager torch.

Photographs of 500x375. Ours decodes in threads while the form that `tune` chose computes. The usual
pipeline: Pillow opens and resizes to a short side of 256, the centre of 224 is cut out, torch's
DataLoader has as many worker processes as ours has threads, and the network runs in eager float32.
Both give a class for each file; they take turns. The networks have their initial weights, so that
neither their answers nor int8 are judged here; their inputs are compared.

Bounds: 5 times the images a second of that for ResNet-50, 3.5 times for MobileNetV1.

Run: python benchmarks/predicting.py [--networks resnet50 ...] [--images 256] [--rounds 5]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from convarium import data, deploy, predict
from harness import alternate, ratio, summary, write
from loader import write_photographs
from serving import make_run

BOUNDS = {"resnet50": 5.0, "mobilenet_v1": 3.5}
WORKERS, BATCH = 2, 16
SHORT, SIDE = 256, 224


class Files(TorchDataset[Tensor]):
    """Files as the usual pipeline reads them: `(3, 224, 224)`, normalised.

    Args:
        paths: of the photographs.
        mean: of each channel.
        std: likewise.
    """

    def __init__(self, paths: Sequence[Path], mean: Sequence[float], std: Sequence[float]) -> None:
        self.paths = paths
        self.mean, self.std = (torch.tensor(each).view(3, 1, 1) for each in (mean, std))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, k: int) -> Tensor:
        image = Image.open(self.paths[k]).convert("RGB")
        scale = SHORT / min(image.size)
        size = (round(image.width * scale), round(image.height * scale))
        image = image.resize(size, Image.Resampling.BILINEAR)
        left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
        pixels = np.array(image.crop((left, top, left + SIDE, top + SIDE)))
        found = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
        return (found - self.mean) / self.std


def usual(network: nn.Module, files: Files) -> list[int]:
    """The class of each file by the usual pipeline."""
    found: list[int] = []
    with torch.no_grad():
        for batch in DataLoader(files, batch_size=BATCH, num_workers=WORKERS):
            found += network(batch).argmax(1).tolist()
    return found


def ours(predictor: predict.Predictor, dataset: data.Dataset) -> list[int]:
    """The class of each file by `predict`."""
    records = predictor.records(dataset, batch_size=BATCH, workers=WORKERS)
    return [int(record.columns()["label"].split()[1]) for record in records]


def measured(name: str, folder: Path, photographs: Path, arguments: Any) -> dict[str, Any]:
    """One network: images a second of both, and how many times ours is as fast."""
    make_run(name, folder, arguments.engines)
    run = predict.open_run(folder)
    forward, form = deploy.in_use(run.model, run.tuned) or (run.model, "the network itself")
    predictor = predict.Predictor(forward, run.card)
    dataset = data.open_inputs([str(photographs)])
    steps = run.preprocessing
    files = Files(sorted(photographs.rglob("*.jpg")), steps.mean, steps.std)
    calls = {"ours": lambda: ours(predictor, dataset), "usual": lambda: usual(run.model, files)}
    first = next(data.batches(dataset, steps, batch_size=BATCH)).inputs[0]
    apart = float((first - torch.stack([files[k] for k in range(len(first))])).abs().max())
    taken = alternate(calls, arguments.rounds)
    times = ratio(taken["usual"], taken["ours"])
    print(f"{name}: {form}, {times:.2f} times the usual; inputs differ by {apart:.1g}")
    return {
        "network": name,
        "form": form,
        "times_the_usual": times,
        "bound": BOUNDS.get(name),
        "largest_difference_of_inputs": apart,
        "images_per_second": {
            key: len(files) / summary(values)["median"] for key, values in taken.items()
        },
        "seconds": {key: summary(values) for key, values in taken.items()},
    }


def main() -> None:
    """Measure each network and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=[*BOUNDS])
    parser.add_argument("--engines", nargs="+", default=["openvino"])
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        photographs = Path(name) / "photographs"
        photographs.mkdir()
        write_photographs(photographs, arguments.images)
        rows = [
            measured(network, Path(name) / network, photographs, arguments)
            for network in arguments.networks
        ]
    result = {"images": arguments.images, "workers": WORKERS, "batch": BATCH, "rows": rows}
    print(write("predicting", result, ("openvino", "simplejpeg", "pillow")))


if __name__ == "__main__":
    main()
