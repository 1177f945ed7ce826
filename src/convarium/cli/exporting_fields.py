"""`convarium export RUN` for fields: the network with its constraint, as ONNX or for OpenVINO."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from convarium.cli.parsing import write, write_json
from convarium.errors import OptionError

if TYPE_CHECKING:
    from convarium.predict import Run

_SUFFIXES = {"onnx": ".onnx", "openvino": ".xml"}


def export_fields(arguments: argparse.Namespace, opened: Run) -> int:
    """Export, verify numbers and constraint on real fields, and say how close they are."""
    from convarium import deploy, predict

    if arguments.to not in _SUFFIXES:
        raise OptionError(
            f"--to {arguments.to} is for networks of one input; fields take onnx or openvino."
        )
    path = Path(arguments.output or opened.folder / f"model{_SUFFIXES[arguments.to]}")
    given = predict.field_samples(opened, arguments.samples)
    samples = given.pop("input")
    made = deploy.export_fields(
        opened.model,
        path,
        samples=samples,
        mask=given.get("mask"),
        fine=given.get("fine"),
        weights=given.get("weights"),
        format=arguments.to,
        card=opened.card,
    )
    if arguments.json:
        write_json(made.to_json())
        return 0
    write(made.sentence())
    return 0
