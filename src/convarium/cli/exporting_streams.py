"""`convarium export RUN --stream`: a causal network for live data, a step or a piece at a time."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from convarium.cli.parsing import write, write_json
from convarium.errors import OptionError

if TYPE_CHECKING:
    from convarium.predict import Run


def export_stream(arguments: argparse.Namespace, opened: Run) -> int:
    """Export, verify over whole series piece by piece, and say what the state is."""
    from convarium import deploy

    others = arguments.int8 or arguments.pixels or arguments.dynamic_size
    if arguments.to != "onnx" or others or opened.preprocessing.kind != "series":
        raise OptionError(
            "--stream is for runs of series and --to onnx, alone; leave it or the others out."
        )
    path = Path(arguments.output or opened.folder / "stream.onnx")
    samples = opened.samples(arguments.samples)
    made = deploy.export_stream(
        opened.model, path, samples=samples, form=arguments.stream, card=opened.card
    )
    if arguments.json:
        write_json(made.to_json())
        return 0
    write(made.sentence())
    write("input and state go in, output and next_state come out; the first state is zeros.")
    return 0
