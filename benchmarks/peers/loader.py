"""A folder of JPEGs as torchvision's pipeline and torch's DataLoader read it, an epoch a line.

Usage: loader.py FOLDER SIZE BATCH WORKERS; each line that is read starts an epoch.
"""

import json
import sys
import time

import torch
import torchvision_operators

torchvision_operators.declare()

from torchvision import datasets, transforms  # noqa: E402

folder, size, batch, workers = sys.argv[1], *map(int, sys.argv[2:])
torch.set_num_threads(1)
steps = transforms.Compose(
    [
        transforms.RandomResizedCrop(size),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
)
loader = torch.utils.data.DataLoader(
    datasets.ImageFolder(folder, steps),
    batch_size=batch,
    shuffle=True,
    num_workers=workers,
    persistent_workers=workers > 0,
)
for _line in sys.stdin:
    start, count = time.perf_counter(), 0
    for images, _ in loader:
        count += len(images)
    print(json.dumps({"seconds": time.perf_counter() - start, "images": count}), flush=True)
