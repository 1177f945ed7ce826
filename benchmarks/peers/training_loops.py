"""What the peers of `benchmarks/training.py` share: timm's networks, and the clock of the steps."""

import json
import sys
import time
from pathlib import Path

import torch
import torchvision_operators

torchvision_operators.declare()
# Last in the search path, so that the packages of the interpreter that runs this come first.
sys.path += map(str, Path(__file__).parents[2].glob(".venv-peers/lib/*/site-packages"))

import timm  # noqa: E402

NAMES = {
    "resnet50": "resnet50",
    "efficientnet_b0": "efficientnet_b0",
    "mobilenet_v1": "mobilenetv1_100",
    "densenet121": "densenet121",
    "resnet18": "resnet18",
}


class Ended(Exception):  # noqa: N818
    """The last step that is timed is done."""


class Steps:
    """Counts updates; the clock runs from the end of the last one that warms up.

    Args:
        warm: steps that are not timed.
        timed: steps that are.
    """

    def __init__(self, warm: int, timed: int) -> None:
        self.warm, self.timed, self.done = warm, timed, 0
        self.start = self.seconds = 0.0

    def count(self) -> None:
        """One more update is done."""
        self.done += 1
        if self.done == self.warm:
            self.start = time.perf_counter()
        if self.done == self.warm + self.timed:
            self.seconds = time.perf_counter() - self.start
            raise Ended


def network(name: str, size: int) -> torch.nn.Module:
    """Timm's network for two classes; for 32x32 with a 3x3 stem and no pool, as is usual there."""
    model = timm.create_model(NAMES[name], num_classes=2)
    if size == 32:
        model.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
        model.maxpool = torch.nn.Identity()
    return model


def say(steps: Steps, batch: int, model: torch.nn.Module, **versions: str) -> None:
    """The result as one line of JSON, the last one of the process."""
    found = {
        "images_per_second": steps.timed * batch / steps.seconds,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "versions": {"timm": timm.__version__, **versions},
    }
    print(json.dumps(found), flush=True)
