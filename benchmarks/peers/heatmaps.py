"""The peer of `benchmarks/explaining.py`: the PyPI package `grad-cam` on torchvision's ResNet-50.

Runs in .venv-peers and imports nothing of convarium:

    python benchmarks/peers/heatmaps.py TASK.npz MAPS.npz

TASK.npz holds the batch "x", the classes "target" and the weights "w000", "w001" ... in the order
of the state dict. Each line on standard input asks for the heatmaps of the batch and is answered by
their seconds. At the end of the input the raw maps are written to MAPS.npz.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time

import numpy as np
import torch
from torchvision_operators import declare


def main(task_path: str, maps_path: str) -> None:
    """Answer requests until standard input ends."""
    declare()
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    from torchvision.models import resnet50

    task = np.load(task_path)
    network = resnet50(weights=None).eval()
    names = list(network.state_dict())
    weights = {name: torch.from_numpy(task[f"w{k:03d}"]) for k, name in enumerate(names)}
    network.load_state_dict(weights)
    x = torch.from_numpy(task["x"])
    targets = [ClassifierOutputTarget(int(label)) for label in task["target"]]
    layers = [network.layer4]
    package = f"grad-cam {importlib.metadata.version('grad-cam')}"
    with GradCAM(model=network, target_layers=layers) as cam:
        print(json.dumps({"package": package}), flush=True)
        for _ in sys.stdin:
            start = time.perf_counter()
            cam(input_tensor=x, targets=targets)
            print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)
        cam(input_tensor=x, targets=targets)
        kept = cam.activations_and_grads
        activation, gradient = kept.activations[0].numpy(), kept.gradients[0].numpy()
        raw = cam.get_cam_image(x, layers[0], targets, activation, gradient)
    np.savez(maps_path, raw=raw)


if __name__ == "__main__":
    main(*sys.argv[1:])
