"""`convarium data DATA`: what a data set holds, and what training makes of it, as a page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from convarium.cli.parsing import (
    Parser,
    add_config_arguments,
    given_changes,
    natural,
    positive,
    write,
    write_json,
)
from convarium.cli.reading import (
    SERIES,
    TOKENS,
    add_data_arguments,
    add_grid_arguments,
    add_series_arguments,
    add_token_arguments,
    given_reading,
)
from convarium.cli.training_page import SAMPLES, VERSIONS, show
from convarium.errors import OptionError
from convarium.train.named import RECIPES

if TYPE_CHECKING:
    from convarium.data import Overview
    from convarium.data.series.surveying import SeriesFacts

CHANGES = (
    "flip", "alternate_flip", "flip_axes", "pad_crop", "resized_crop", "jitter", "grey", "rotation",
    "policy", "policy_ops", "policy_magnitude", "erasing", "mixup", "cutmix", "scaling", "crop",
    "time_mask", "channel_mask", "word_dropout",
)  # fmt: skip
_PAGE = {
    "output": "-o", "samples": "--samples", "versions": "--versions", "seed": "--seed",
    "epoch": "--epoch", "size": "--size", "spacing": "--spacing", "recipe": "--recipe",
    **{name: "--" + name.replace("_", "-") for name in (*SERIES, *TOKENS)},
}  # fmt: skip
_MOST_ROWS = 20


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    add_data_arguments(parser)
    parser.add_argument("--show", action="store_true", help="draw a page of augmented samples")
    page = parser.add_argument_group("the page of --show")
    page.add_argument(
        "-o", "--output", metavar="FILE", help="ends in .html, .svg or .png (samples.html)"
    )
    page.add_argument("--samples", type=positive, help=f"rows of the page ({SAMPLES})")
    page.add_argument("--versions", type=positive, help=f"epochs of each row ({VERSIONS})")
    page.add_argument("--seed", type=natural, help="seed of the run (0)")
    page.add_argument("--epoch", type=natural, help="the first epoch shown (0)")
    add_grid_arguments(page)
    page.add_argument("--recipe", choices=tuple(RECIPES), help="augmentation of this recipe")
    add_token_arguments(parser)
    add_series_arguments(parser)
    add_config_arguments(
        parser,
        "augmentation",
        "what is not given is as train would choose it, or as the recipe has it",
        CHANGES,
    )


def run(arguments: argparse.Namespace) -> int:
    """Tell the facts, or draw the page."""
    from convarium import data
    from convarium.progress import Progress

    changes = {k: v for k, v in given_changes(arguments).items() if k in CHANGES}
    if not arguments.show:
        _refuse_idle(arguments, changes)
    dataset = data.open_dataset(arguments.data, **given_reading(arguments))
    if arguments.show and dataset.kind == "grids":
        raise OptionError(
            "--show draws samples that stand alone, and these are grids; leave it out."
        )
    with Progress(len(dataset), "read", enabled=not arguments.json) as progress:
        found = data.overview(dataset, progress)
    if arguments.show:
        return show(arguments, dataset, changes)
    if arguments.json:
        write_json(found.to_json())
        return 0
    for line in _facts(found):
        write(line)
    return 0


def _refuse_idle(arguments: argparse.Namespace, changes: dict[str, Any]) -> None:
    """Options of the page are refused where no page is asked for."""
    idle = [flag for name, flag in _PAGE.items() if getattr(arguments, name) is not None]
    idle += ["--" + name.replace("_", "-") for name in changes]
    if idle:
        raise OptionError(f"{idle[0]} belongs to the page of samples; add --show, or leave it out.")


def _facts(found: Overview) -> list[str]:
    """The facts in lines."""
    readable = found.samples - found.unreadable
    kinds = {"classification": "classes", "multilabel": "labels", "regression": "numbers"}
    kinds |= {"forecast": "numbers", "downscale": "variables"}
    names = len(found.classes) or len(found.numbers)
    about = f" of {names} {kinds[found.task]}" if names else ", no labels"
    parts = ", ".join(f"{n:,} {word}" for word, n in found.parts.items())
    lines = [
        f"{found.source}: {readable:,} {found.kind}{about}",
        f"  parts        {parts or 'none given; train splits the data'}",
        *_sizes(found),
        f"  copies       {_copies(found)}",
        *([f"  alike        {_alike(found)}"] if found.kind in ("images", "texts") else []),
        f"  unreadable   {found.unreadable:,}",
        f"  left out     {_left_out(found)}",
        f"  fingerprint  {found.fingerprint}",
    ]
    return lines + _rows(found)


def _sizes(found: Overview) -> list[str]:
    """Lines on the size, and what else is measured of volumes."""
    if found.kind == "texts":
        return [f"  length       {_range(*found.widths)} characters"]
    if found.series is not None:
        return _series(found, found.series)
    if found.kind == "grids":
        size = f"{found.heights[0]} x {found.widths[0]}, {found.channels} variables read"
        return [f"  cells        {size}", *(f"  note         {note}" for note in found.notes)]
    if found.volumes is None:
        return [f"  size         {_size(found)}, {'colour' if found.channels == 3 else 'grey'}"]
    told, readable = found.volumes, found.samples - found.unreadable
    sides = [told.depths, found.heights, found.widths]
    size = " x ".join(_range(*side) for side in sides)
    steps = " x ".join(_range(*along) for along in zip(*told.spacings, strict=True))
    types = ", ".join(told.types)
    channels = f"{found.channels} channel{'s' if found.channels > 1 else ''}"
    unit = "no unit in the files" if told.without_unit == readable else "mm"
    some = f"; {told.without_unit:,} without a unit" if 0 < told.without_unit < readable else ""
    lines = [
        f"  size         {size} voxels (depth, height, width), {channels}",
        f"  spacing      {steps} ({unit}{some})",
        f"  values       {types}, from {told.lowest:g} to {told.highest:g}",
    ]
    if told.not_finite:
        words = "with NaN or infinite values, which become the mean of their channel"
        lines.append(f"  not finite   {told.not_finite:,} volumes {words}")
    return lines


def _series(found: Overview, told: SeriesFacts) -> list[str]:
    """Lines on lengths, channels, missing values and rates."""
    lines = [
        f"  length       {_range(*found.widths)} time steps",
        f"  channels     {found.channels}",
        f"  missing      {told.values:,} values in {told.missing:,} series"
        if told.missing
        else "  missing      nothing",
    ]
    if told.rates:
        rates = ", ".join(f"{rate} ({n:,} series)" for rate, n in told.rates.items())
        lines.append(f"  rate         {rates} steps a second")
    return [*lines, *(f"  note         {note}" for note in found.notes)]


def _range(low: float, middle: float, high: float) -> str:
    """One number, or smallest, largest and median."""
    return f"{low:g}" if low == high else f"{low:g} to {high:g} (median {middle:g})"


def _size(found: Overview) -> str:
    (low, middle, high), (first, median, last) = found.heights, found.widths
    if low == high and first == last:
        return f"{low} x {first} pixels"
    return (
        f"{low} to {high} pixels high (median {middle}), {first} to {last} wide (median {median})"
    )


def _copies(found: Overview) -> str:
    return _sets(found.copies, "equal samples", found.contradicting, found.crossing)


def _alike(found: Overview) -> str:
    what = "texts that read alike" if found.kind == "texts" else "images that look alike"
    return _sets(found.alike, what, found.alike_contradicting, found.alike_crossing)


def _sets(sets: Sequence[Sequence[str]], what: str, contradicting: int, crossing: int) -> str:
    """How many sets there are, an example, and what is wrong with some."""
    if not sets:
        return "none"
    words = f"{len(sets):,} sets of {what}, such as {', '.join(sets[0][:2])}"
    if contradicting:
        words += f"; {contradicting:,} of them with different labels"
    if crossing:
        words += f"; {crossing:,} of them in several parts"
    return words


def _left_out(found: Overview) -> str:
    if not found.skipped:
        return "nothing"
    first = found.skipped[0]
    return f"{len(found.skipped):,}, the first: {first.name} ({first.reason})"


def _rows(found: Overview) -> list[str]:
    """A line a class with a bar, or a line a number."""
    counts = list(found.classes.values())
    rows = [
        (name, f"{n:>9,}  {'#' * round(30 * n / max(1, *counts))}")
        for name, n in found.classes.items()
    ]
    rows += [
        (name, f"from {low:.6g} to {high:.6g}, mean {mean:.6g}")
        for name, (low, mean, high) in found.numbers.items()
    ]
    wide = max((len(name) for name, _ in rows[:_MOST_ROWS]), default=0)
    lines = [f"    {name:<{wide}}  {words}".rstrip() for name, words in rows[:_MOST_ROWS]]
    more = len(rows) - _MOST_ROWS
    if more > 0 and counts:
        lines.append(f"    ... and {more:,} more; from {min(counts):,} to {max(counts):,} images")
    return lines
