"""`convarium show NAME`: all about one network; torch loads only for another input or options."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from convarium import files
from convarium.cli.parsing import Parser, key_value, write, write_json
from convarium.errors import OptionError, ShapeError, did_you_mean
from convarium.models import catalogue, weights
from convarium.models.structure import Part
from convarium.report import wording

Row = Mapping[str, Any]

LARGEST = 2**40  # numbers in one input
BARS = "bars: positions along an axis; darker: more channels; both logarithmic"


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    parser.add_argument("name", metavar="NAME", help="a name of 'convarium list'")
    parser.add_argument(
        "--input",
        type=shape,
        metavar="SHAPE",
        help="shapes for this input, channels first: 3x224x224; or one number for every axis: 224",
    )
    parser.add_argument(
        "--option",
        type=key_value,
        action="append",
        metavar="KEY=VALUE",
        help="an option of the network, such as stem=cifar; may be given several times",
    )
    parser.add_argument("--svg", metavar="FILE", help="write a drawing of the network as SVG")
    parser.add_argument("--png", metavar="FILE", help="write it as PNG")


def run(arguments: argparse.Namespace) -> int:
    """Print paper, sizes, parts, initial weights and options; draw the network."""
    options = dict(arguments.option or [])
    stored = catalogue.find(arguments.name)
    check_options(stored, options)
    row = stored
    if options or arguments.input is not None:
        check_input(stored, options, arguments.input)
        row = _described(arguments.name, options, arguments.input)
    parts = [Part.from_row(part) for part in row["parts"]]
    drawn = _draw(arguments, parts)
    published = [] if options else weights.rows(arguments.name)
    if arguments.json:
        write_json({**row, "weights": [dataclasses.asdict(found) for found in published]})
        return 0
    for line in [*_facts(row, published), *_parts(parts), *_initial(row), *_options(row, stored)]:
        write(line.encode(_encoding(), "replace").decode(_encoding()))
    for path in drawn:
        write(f"drawing: {path}")
    return 0


def shape(text: str) -> tuple[int, ...] | int:
    """`3x224x224` as a tuple, `224` as a number.

    >>> shape("3x224x224"), shape("224")
    ((3, 224, 224), 224)
    """
    if not re.fullmatch(r"\d{1,15}(x\d{1,15})*", text):
        raise argparse.ArgumentTypeError(f"{text!r} must look like 3x224x224 or 224")
    lengths = tuple(int(n) for n in text.split("x"))
    if min(lengths) < 1:
        raise argparse.ArgumentTypeError(f"every length of {text!r} must be 1 or more")
    if prod(lengths) > LARGEST:
        raise argparse.ArgumentTypeError(f"{text!r} must hold at most 2^40 numbers")
    return lengths if len(lengths) > 1 else lengths[0]


def _described(
    name: str, options: Mapping[str, Any], given: tuple[int, ...] | int | None
) -> dict[str, Any]:
    """What the stored row holds, worked out for other options or another input."""
    from convarium.measure.facts import facts

    row = catalogue.describe(name, options, shape=given)
    found = facts(catalogue.without_memory(name, options), (1, *row["parts"][0]["shape"]))
    return {**row, **{key: found[key] for key in ("macs", "field", "field_stride")}}


def check_options(row: Row, options: Mapping[str, Any]) -> None:
    """Unknown options are refused before torch is loaded."""
    for key in options:
        if key not in row["options"]:
            near = did_you_mean(key, row["options"])
            known = ", ".join(row["options"])
            raise OptionError(f"{row['name']} has no option {key!r}.{near} It takes: {known}.")


def check_input(row: Row, options: Mapping[str, Any], given: Sequence[int] | int | None) -> None:
    """Rank and channels, in the words of the command line."""
    channels = options.get("in_channels", row["in_channels"])
    rank = options.get("spatial_dims", row["spatial_dims"])
    if given is None or rank not in (1, 2, 3):
        return
    if isinstance(given, int):
        if isinstance(channels, int) and channels * given**rank > LARGEST:
            raise ShapeError(f"--input (={given}) along {rank} axes is more than 2^40 numbers.")
        return
    if row["input_kind"] == "tokens":
        if len(given) != 1:
            shown = "x".join(map(str, given))
            raise ShapeError(f"--input (={shown}) must be one number, the tokens of a text.")
        return
    letters = ("L", "HxW", "DxHxW")[rank - 1]
    if len(given) != rank + 1 or given[0] != channels:
        raise ShapeError(
            f"--input (={'x'.join(map(str, given))}) must be {channels}x{letters} for "
            f"{row['name']}, or one number; other channels and ranks take --option "
            "in_channels=... and --option spatial_dims=..."
        )


def _draw(arguments: argparse.Namespace, parts: Sequence[Part]) -> list[str]:
    """Write the drawings that were asked for."""
    given = {"--svg": arguments.svg, "--png": arguments.png}
    for flag, path in given.items():
        if path == "":
            raise OptionError(f"{flag} (='') must name a file.")
    if not (arguments.svg or arguments.png):
        return []
    if arguments.svg == arguments.png:
        raise OptionError(f"--svg and --png (={arguments.svg!r}) must name two files.")
    from convarium import report

    svg = report.draw_network(parts, arguments.name)
    if arguments.svg:
        files.write_text(arguments.svg, svg + "\n")
    if arguments.png:
        files.write_bytes(arguments.png, report.svg_as_png(svg))
    return [path for path in (arguments.svg, arguments.png) if path]


def _facts(row: Row, published: Sequence[weights.Weights]) -> list[str]:
    """What it is, where it comes from, how large it is, and what its weights reach."""
    first = row["parts"][0]["shape"]
    facts = [
        ("paper", " ".join(row["references"])),
        ("table", row["source"]),
        ("year", str(row["year"] or "")),
        ("class", f"{row['class']} in convarium.models.{row['family']}"),
        ("parameters", f"{row['parameters']:,}"),
        ("MACs", f"{row['macs']:,} ({wording.short(row['macs'])})"),
        ("field", _field(row)),
        ("input", "x".join(str(n) for n in first)),
        ("outputs", _outputs(row)),
        ("heatmaps", row["heatmap_layer"]),
        *(("weights", _weights(found)) for found in published),
    ]
    lines = [f"{row['name']}: {row['summary']}"]
    for name, words in facts:
        if words:
            lines += _wrapped(f"  {name:<12}", words)
    return lines


def _outputs(row: Row) -> str:
    """Classes, features, or the size of the fields."""
    last = row["parts"][-1]["shape"]
    if row["input_kind"] == "fields":
        return "fields of " + "x".join(str(n) for n in last)
    return str(row["num_classes"] or f"{last[0]} features")


def _field(row: Row) -> str:
    """The field of the last map, or why none is told."""
    if not row["field"]:
        return "unknown; convarium measure says why"
    size, stride = wording.axes(row["field"]), wording.axes(row["field_stride"])
    along = "" if "x" in size or len(row["field"]) == 1 else " along each axis"
    return f"{size} inputs{along}, stride {stride}"


def _weights(found: weights.Weights) -> str:
    """One set of published weights, with its accuracy and who states it."""
    accuracy = f"{found.accuracy:.2f} % top-1" if found.accuracy else "accuracy not stated"
    words = f"{found.name}: {accuracy} on {found.classes} at {found.size}"
    return f"{words} ({found.accuracy_source}), {found.licence}"


def _parts(parts: Sequence[Part]) -> list[str]:
    """The drawing for the terminal."""
    from convarium import report

    lines = report.network_lines(parts, width=_columns() - 4, encoding=_encoding())
    return ["  parts", *(f"    {line}" for line in lines), *_wrapped("    ", BARS)]


def _initial(row: Row) -> list[str]:
    width = max(len(kind["layers"]) for kind in row["initial"])
    lines = ["  initial weights"]
    for kind in row["initial"]:
        lines += _wrapped(f"    {kind['layers']:<{width}}  ", kind["rule"])
    return lines


def _options(row: Row, stored: Row) -> list[str]:
    """Every option with its value, what else it may be, and the row's own where it differs."""
    lines = ["  options"]
    for name, value in row["options"].items():
        words = f"{name}={json.dumps(value)}"
        if allowed := row["choices"].get(name):
            words += f"  one of {', '.join(json.dumps(choice) for choice in allowed)}"
        if stored["options"].get(name) != value:
            words += f"  ({row['name']} has {json.dumps(stored['options'].get(name))})"
        lines += _wrapped("    ", words)
    return lines


def _wrapped(lead: str, words: str) -> list[str]:
    """Words behind a lead, broken where the terminal ends."""
    return textwrap.wrap(
        words,
        max(_columns(), len(lead) + 20),
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
    )


def _columns() -> int:
    """The terminal's width, up to 100; 100 where there is none."""
    return min(shutil.get_terminal_size((100, 24)).columns, 100)


def _encoding() -> str:
    """What the terminal or file takes; a stream that does not say takes UTF-8."""
    return getattr(sys.stdout, "encoding", None) or "utf-8"
