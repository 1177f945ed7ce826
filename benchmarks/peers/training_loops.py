"""What the peers of `benchmarks/training.py` share: timm's networks, and word of each step."""

import json
import os
import sys
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


def network(name: str, size: int) -> torch.nn.Module:
    """Timm's network for two classes; for 32x32 with a 3x3 stem and no pool, as is usual there."""
    model = timm.create_model(NAMES[name], num_classes=2)
    if size == 32:
        model.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
        model.maxpool = torch.nn.Identity()
    return model


def say(model: torch.nn.Module, **versions: str) -> None:
    """What is trained, as one line of JSON, before the first step."""
    found = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "versions": {"timm": timm.__version__, **versions},
    }
    tell(json.dumps(found))


def tell(line: str) -> None:
    """A line to the benchmark."""
    os.write(int(os.environ["STEPS"]), f"{line}\n".encode())
