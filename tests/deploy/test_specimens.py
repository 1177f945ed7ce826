"""Every kind of block in every runtime: folded, written, verified; all in the long run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from specimens import SPECIMENS
from torch.nn.modules.batchnorm import _BatchNorm

from convarium import deploy, models

FEW = ("bottleneck", "efficientnet")  # sequences: test_sequences.py
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "kind",
    [kind if kind in FEW else pytest.param(kind, marks=pytest.mark.long) for kind in SPECIMENS],
)
def test_every_kind_of_block_in_every_runtime(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    name, options, size = SPECIMENS[kind]
    model = models.create(name, **options)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    x = model.example_input(3, size=size)
    folded = deploy.fold(model, x.shape).model
    for format, suffix in SUFFIXES.items():
        path = tmp_path / f"net{suffix}"
        deploy.export(folded, path, samples=x, format=format)
        proof = deploy.verify(path, model, model.example_input(5, size=size, seed=1))
        assert proof.agreement == 1.0, format
