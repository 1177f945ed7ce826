"""`convarium show MODEL`: one network's facts, from the catalogue file, without loading torch."""

from __future__ import annotations

import argparse
import json
from typing import Any

from convarium.cli.parsing import Parser, write, write_json
from convarium.models import catalogue


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    parser.add_argument("model", metavar="MODEL", help="a name of 'convarium list'")


def run(arguments: argparse.Namespace) -> int:
    """Print source, sizes, stages and options."""
    row = catalogue.find(arguments.model)
    if arguments.json:
        write_json(row)
        return 0
    for line in _lines(row):
        write(line)
    return 0


def _lines(row: dict[str, Any]) -> list[str]:
    size = " x ".join(str(length) for length in row["input_size"])
    lines = [
        f"{row['name']}: {row['summary']}",
        f"  source      {row['source']}",
        f"  class       {row['class']} in convarium.models.{row['family']}",
        f"  parameters  {row['parameters']:,}",
        f"  input       {row['in_channels']} channels, {size}",
        f"  outputs     {row['num_classes']}",
        f"  heatmaps    {row['heatmap_layer']}",
        "  stages",
    ]
    lines += [
        f"    {stage['name']:<10} {stage['channels']:>5} channels, size / {stage['reduction']}"
        for stage in row["stages"]
    ]
    lines.append("  options")
    for name, value in row["options"].items():
        allowed = row["choices"].get(name)
        words = f"  one of {', '.join(json.dumps(choice) for choice in allowed)}" if allowed else ""
        lines.append(f"    {name}={json.dumps(value)}{words}")
    return lines
