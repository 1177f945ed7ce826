"""`convarium choose --target mobile --max-ms 10`: networks for an input, measured here."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convarium import files
from convarium.cli.list import amount
from convarium.cli.parsing import Parser, above_zero, positive, write, write_json
from convarium.cli.show import shape
from convarium.errors import OptionError
from convarium.report.wording import axes

if TYPE_CHECKING:
    from convarium.measure.chosen import Candidate, Choices

_PICTURES = (".svg", ".png")


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    words = "such as 5000000, 5M or 600k"
    add = parser.add_argument
    add("pattern", nargs="?", default="*", help="only names that match, such as 'resnet*'")
    add("--input", type=shape, default=(3, 224, 224), metavar="SHAPE",
        help="of a sample, channels first (3x224x224); one number is an image's side")  # fmt: skip
    add("--batch-size", type=positive, default=1, metavar="N", help="samples in a pass (1)")
    add("--target", default="server", help="server, mobile, edge or sequence (server)")
    add("--task", help="series, images or volumes (follows from the input)")
    add("--max-parameters", type=amount, metavar="N", help=f"at most, {words}")
    add("--max-macs", type=amount, metavar="N", help=f"multiply-adds at most, {words}")
    add("--max-ms", type=above_zero, metavar="MS", help="milliseconds of a pass, on this machine")
    add("--max-memory-mb", type=above_zero, metavar="MB", help="megabytes in a pass")
    add("--min-field", type=positive, metavar="N", help="inputs that a position sees, at least")
    add("--causal", action="store_true", help="outputs may not see later inputs")
    add("--long-context", action="store_true", help="the field must cover the whole input")
    add("--small-data", action="store_true", help="there are few samples to train on")
    add("--num-classes", type=positive, metavar="N", help="outputs (each network's own)")
    add("--measure", type=positive, default=24, metavar="N",
        help="how many to measure where --max-ms is not given (24)")  # fmt: skip
    add("--threads", type=positive, metavar="N", help="threads to compute with (torch's own)")
    add("--fresh", action="store_true", help="measure anew what was measured before")
    add("-o", "--output", metavar="FILE", help="a picture of latency and accuracy: .svg or .png")


def run(arguments: argparse.Namespace) -> int:
    """Print the ranked table and the reasons, or what is nearest where nothing satisfies."""
    _check_output(arguments.output)
    choices = _choices(arguments)
    if not choices.rows and not arguments.json:
        raise OptionError(f"{choices.sentence()} Loosen a limit, or give another --input.")
    drawn = _draw(choices, arguments.output)
    if arguments.json:
        write_json(choices.to_json())
        return 0 if choices.rows else 2
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    for line in [*_table(choices.rows), "", *_reasons(choices), *_notes(choices)]:
        write(line.encode(encoding, "replace").decode(encoding))
    if drawn:
        write(f"picture: {drawn}")
    return 0


def _choices(arguments: argparse.Namespace) -> Choices:
    """Measure, with progress on a terminal."""
    from convarium.measure.choice import choose
    from convarium.progress import Progress

    given = arguments.input
    sample = (3, given, given) if isinstance(given, int) else given
    with Progress(0, "choose", unit="networks", enabled=not arguments.json) as progress:
        return choose(
            input_shape=(arguments.batch_size, *sample),
            target=arguments.target,
            task=arguments.task,
            max_parameters=arguments.max_parameters,
            max_macs=arguments.max_macs,
            max_ms=arguments.max_ms,
            max_memory_mb=arguments.max_memory_mb,
            min_field=arguments.min_field,
            causal=arguments.causal,
            long_context=arguments.long_context,
            small_data=arguments.small_data,
            num_classes=arguments.num_classes,
            pattern=arguments.pattern,
            n=arguments.measure,
            threads=arguments.threads,
            fresh=arguments.fresh,
            progress=progress,
        )


def _table(rows: Sequence[Candidate]) -> list[str]:
    """A line a network under a heading; a star marks the front."""
    cells = [("name", "parameters", "GMACs", "field", "MB", "ms", "top-1 %", "front")]
    cells += [
        (
            row.label,
            f"{row.parameters:,}",
            f"{row.macs / 1e9:.3f}",
            axes(row.field) if row.field else "?",
            f"{row.memory_mb:.0f}" if row.memory_mb >= 10 else f"{row.memory_mb:.1f}",
            "" if row.latency_ms is None else f"{row.latency_ms:.3g}",
            "" if row.accuracy is None else f"{row.accuracy:.2f}" if row.counted else "",
            "*" if row.on_front else "",
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(8)]
    lines = []
    for name, *numbers in cells:
        line = f"{name:<{widths[0]}}"
        for text, width in zip(numbers, widths[1:], strict=True):
            line += f"  {text:>{width}}"
        lines.append(line.rstrip())
    return lines


def _reasons(choices: Choices) -> list[str]:
    """A sentence a row, in the order of the table."""
    lines = []
    for place, row in enumerate(choices.rows, 1):
        lines += _wrapped(f"{place:>3}. ", f"{row.label}: {row.reason}.")
    return lines


def _notes(choices: Choices) -> list[str]:
    """Under what conditions this was measured, and what else to know."""
    threads = f"{choices.threads} thread{'s' if choices.threads > 1 else ''}"
    shape = "x".join(map(str, choices.input_shape))
    limits = ", ".join(f"{name} {value:,.10g}" for name, value in choices.limits.items())
    first = (
        f"Medians for an input of {shape} in float32 on {choices.processor}, {threads}, "
        f"torch {choices.torch}; limits: {limits or 'none'}."
    )
    star = "A star: none of these is both faster and more accurate." if choices.front else ""
    return ["", *_wrapped("", " ".join(filter(None, [first, star, *choices.notes])))]


def _check_output(path: str | None) -> None:
    """Refuse a picture of another kind before anything is measured."""
    if path is not None and Path(path).suffix.lower() not in _PICTURES:
        raise OptionError(f"--output (={path!r}) must end in .svg or .png.")


def _draw(choices: Choices, path: str | None) -> str | None:
    """Write the picture that was asked for."""
    if path is None:
        return None
    from convarium.report.pareto import draw_choices
    from convarium.report.raster import svg_as_png

    svg = draw_choices(choices)
    if path.lower().endswith(".svg"):
        files.write_text(path, svg + "\n")
    else:
        files.write_bytes(path, svg_as_png(svg))
    return path


def _wrapped(lead: str, words: str) -> list[str]:
    """Words behind a lead, broken where the terminal ends."""
    columns = min(shutil.get_terminal_size((100, 24)).columns, 100)
    return textwrap.wrap(
        words,
        max(columns, len(lead) + 20),
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    )
