"""`convarium export RUN --to onnx`: a file for another runtime, checked before it gets its name."""

from __future__ import annotations

import argparse
from pathlib import Path

from convarium.cli.exporting_texts import export_texts
from convarium.cli.parsing import Parser, write, write_json


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    parser.add_argument("run", metavar="RUN", help="a run folder of 'convarium train'")
    parser.add_argument("--to", required=True, choices=("onnx",), help="the file's format")
    parser.add_argument(
        "--samples",
        metavar="DATA",
        help="images to verify on; by default those that the run keeps (up to 32)",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="the file (RUN/model.onnx)")


def run(arguments: argparse.Namespace) -> int:
    """Export, verify on real samples, and say how close the two are."""
    from convarium import deploy, predict

    opened = predict.open_run(arguments.run)
    if opened.preprocessing.kind == "texts":
        return export_texts(arguments, opened)
    path = Path(arguments.output or opened.folder / f"model.{arguments.to}")
    samples = opened.samples(arguments.samples)
    exported = deploy.export(
        opened.model, path, samples=samples, format=arguments.to, card=opened.card
    )
    if arguments.json:
        write_json(exported.to_json())
        return 0
    write(exported.sentence())
    return 0
