"""`convarium list [PATTERN]`: the networks, from the catalogue file, without loading torch."""

from __future__ import annotations

import argparse

from convarium.cli.parsing import Parser, write, write_json
from convarium.errors import UnknownModelError, did_you_mean
from convarium.models import catalogue


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    parser.add_argument("pattern", nargs="?", default="*", help="a pattern such as 'resnet*'")


def run(arguments: argparse.Namespace) -> int:
    """Print name, parameters and a summary of each network that matches."""
    names = catalogue.names(arguments.pattern)
    if not names:
        near = did_you_mean(arguments.pattern, catalogue.names())
        raise UnknownModelError(
            f"No network matches {arguments.pattern!r}.{near} See: convarium list"
        )
    rows = [catalogue.find(name) for name in names]
    if arguments.json:
        write_json(rows)
        return 0
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        write(f"{row['name']:<{width}}  {row['parameters']:>11,}  {row['summary']}")
    return 0
