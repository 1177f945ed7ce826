"""A folder of JPEGs as torchvision's pipeline and torch's DataLoader read it, an epoch a line.

Usage: loader.py FOLDER SIZE BATCH WORKERS; each line that is read starts an epoch.
"""

import json
import sys
import time

import torch
from torchvision_operators import photos

folder, size, batch, workers = sys.argv[1], *map(int, sys.argv[2:])
torch.set_num_threads(1)
loader = photos(folder, size, batch_size=batch, num_workers=workers, persistent_workers=workers > 0)
for _line in sys.stdin:
    start, count = time.perf_counter(), 0
    for images, _ in loader:
        count += len(images)
    print(json.dumps({"seconds": time.perf_counter() - start, "images": count}), flush=True)
