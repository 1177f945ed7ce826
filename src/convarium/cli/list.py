"""`convarium list [PATTERN]`: the networks, from the catalogue file, without loading torch."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from convarium.cli.parsing import Parser, natural, write, write_json
from convarium.errors import OptionError, UnknownModelError, did_you_mean
from convarium.models import catalogue, weights
from convarium.report import wording

Row = Mapping[str, Any]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9}
_SORTS: dict[str, Callable[[Row], Any]] = {
    "family": lambda row: row["family"],
    "name": lambda row: row["name"],
    "parameters": lambda row: row["parameters"],
    "macs": lambda row: row["macs"],
    "field": lambda row: _field(row),
    "year": lambda row: row["year"] or 0,
}


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    parser.add_argument("pattern", nargs="?", default="*", help="a pattern such as 'resnet*'")
    parser.add_argument(
        "--family", action="append", help="only this family; may be given several times"
    )
    words = "such as 5000000, 5M or 500k"
    parser.add_argument("--min-parameters", type=amount, metavar="N", help=f"at least, {words}")
    parser.add_argument("--max-parameters", type=amount, metavar="N", help=f"at most, {words}")
    parser.add_argument(
        "--max-macs", type=amount, metavar="N", help="multiply-adds at most, such as 600M or 4G"
    )
    parser.add_argument(
        "--min-field", type=natural, metavar="N", help="inputs that a position sees, at least"
    )
    parser.add_argument(
        "--pretrained", action="store_true", help="only networks with published weights"
    )
    parser.add_argument(
        "--sort",
        choices=list(_SORTS),
        default="family",
        help="the order (family); within equals, that of the catalogue",
    )
    parser.add_argument("--reverse", action="store_true", help="the order the other way round")


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each network that matches, or all that is known as JSON."""
    rows = _chosen(arguments)
    rows.sort(key=_SORTS[arguments.sort], reverse=arguments.reverse)
    if arguments.json:
        write_json(rows)
        return 0
    for line in _table(rows):
        write(line)
    return 0


def amount(text: str) -> int:
    """A number: plain, or in thousands (k), millions (M) or billions (B or G).

    >>> amount("5.3M"), amount("25_557_032"), amount("270k"), amount("4G")
    (5300000, 25557032, 270000, 4000000000)
    """
    found = re.fullmatch(r"([\d_,]{,30}\d(?:\.\d+)?)([kmbg]?)", text.strip().lower())
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number such as 5000000, 5M or 500k")
    return round(float(re.sub("[_,]", "", found[1])) * _UNITS[found[2]])


def _chosen(arguments: argparse.Namespace) -> list[Row]:
    """The rows that pattern and filters leave; at least one."""
    least, most = arguments.min_parameters, arguments.max_parameters
    if least is not None and most is not None and least > most:
        raise OptionError(
            f"--min-parameters (={least:,}) must not be above --max-parameters (={most:,})."
        )
    names = set(catalogue.names(arguments.pattern))
    if not names:
        near = did_you_mean(arguments.pattern, catalogue.names())
        wider = arguments.pattern.lower().rstrip("*") + "*"
        if wider != "*" and catalogue.names(wider):
            near = f" Did you mean {wider!r}?"
        raise UnknownModelError(
            f"No network matches {arguments.pattern!r}.{near} See: convarium list"
        )
    families = _families(arguments.family or [])
    rows: list[Row] = [
        row
        for row in catalogue.read()
        if row["name"] in names
        and (not families or row["family"] in families)
        and (least is None or row["parameters"] >= least)
        and (most is None or row["parameters"] <= most)
        and (arguments.max_macs is None or row["macs"] <= arguments.max_macs)
        and (arguments.min_field is None or _field(row) >= arguments.min_field)
        and (not arguments.pretrained or weights.rows(row["name"]))
    ]
    if not rows:
        raise UnknownModelError(
            f"No network of the {len(names)} that match {arguments.pattern!r} passes the filters; "
            "loosen or drop one."
        )
    return rows


def _families(given: Sequence[str]) -> set[str]:
    known = list(dict.fromkeys(row["family"] for row in catalogue.read()))
    for family in given:
        if family not in known:
            raise OptionError(
                f"--family (={family!r}) must be one of {', '.join(known)}."
                + did_you_mean(family, known)
            )
    return set(given)


def _field(row: Row) -> int:
    """The field along the axis on which it is shortest; 0 where it is not known."""
    return min(row["field"], default=0)


def _table(rows: Sequence[Row]) -> list[str]:
    """A line a network under a heading; on a terminal, lines end where it ends."""
    cells = [("name", "family", "year", "parameters", "MACs", "field", "input", "summary")]
    for row in rows:
        cells.append(
            (
                row["name"],
                row["family"],
                str(row["year"] or ""),
                f"{row['parameters']:,}",
                wording.short(row["macs"]),
                wording.axes(row["field"]),
                "x".join(str(n) for n in row["parts"][0]["shape"]),
                row["summary"],
            )
        )
    widths = [max(len(line[column]) for line in cells) for column in range(7)]
    end = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    lines = []
    for *front, summary in cells:
        padded = [
            text.ljust(width) if column < 3 else text.rjust(width)
            for column, (text, width) in enumerate(zip(front, widths, strict=True))
        ]
        line = "  ".join([*padded, summary])
        lines.append(line if end is None or len(line) <= end else line[: end - 3] + "...")
    return lines
