"""`convarium data DATA`: what a data set holds, and what training makes of it, as a page."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from convarium.cli.parsing import (
    Parser,
    add_data_arguments,
    given_options,
    natural,
    positive,
    write,
    write_json,
)
from convarium.errors import OptionError
from convarium.train.config import options
from convarium.train.named import RECIPES

if TYPE_CHECKING:
    from convarium.data import Dataset, Overview

CHANGES = (
    "flip", "pad_crop", "resized_crop", "jitter", "grey", "rotation", "policy", "policy_ops",
    "policy_magnitude", "erasing", "mixup", "cutmix",
)  # fmt: skip
_PAGE = {"output": "-o", "size": "--size", "recipe": "--recipe"}
_MOST_ROWS = 20
_FITTED = 512  # samples that mean and deviation of the page come from


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    add_data_arguments(parser)
    parser.add_argument("--show", action="store_true", help="draw a page of augmented samples")
    page = parser.add_argument_group("the page of --show")
    page.add_argument(
        "-o", "--output", metavar="FILE", help="ends in .html, .svg or .png (samples.html)"
    )
    page.add_argument("--samples", type=positive, default=8, help="rows of the page (8)")
    page.add_argument("--versions", type=positive, default=5, help="epochs of each row (5)")
    page.add_argument("--seed", type=natural, default=0, help="seed of the run (0)")
    page.add_argument("--epoch", type=natural, default=0, help="the first epoch shown (0)")
    page.add_argument("--size", type=positive, help="side in pixels to resize images to")
    page.add_argument("--recipe", choices=tuple(RECIPES), help="augmentation of this recipe")
    group = parser.add_argument_group(
        "augmentation", "what is not given is as train would choose it, or as the recipe has it"
    )
    for name, kind, optional, option in options():
        if name not in CHANGES:
            continue
        flag, words = "--" + name.replace("_", "-"), option.metadata["help"]
        if kind is bool:
            group.add_argument(
                flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=words
            )
            continue
        group.add_argument(
            flag,
            type=_value_of(kind, optional),
            choices=option.metadata.get("choices"),
            default=argparse.SUPPRESS,
            metavar=None if "choices" in option.metadata else kind.__name__.upper(),
            help=words + (" (or none)" if optional else ""),
        )


def run(arguments: argparse.Namespace) -> int:
    """Tell the facts, or draw the page."""
    from convarium import data
    from convarium.progress import Progress

    changes = {k: v for k, v in given_options(arguments).items() if k in CHANGES}
    if not arguments.show:
        _refuse_idle(arguments, changes)
    dataset = data.open_dataset(
        arguments.data,
        path_column=arguments.path_column,
        label_column=arguments.label_column,
    )
    with Progress(len(dataset), "read", enabled=not arguments.json) as progress:
        found = data.overview(dataset, progress)
    if arguments.show:
        return _show(arguments, dataset, changes)
    if arguments.json:
        write_json(found.to_json())
        return 0
    for line in _facts(found):
        write(line)
    return 0


def _value_of(kind: type, optional: bool) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        if optional and text == "none":
            return None
        try:
            return kind(text)
        except ValueError as error:
            words = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} must be {words}") from error

    return convert


def _refuse_idle(arguments: argparse.Namespace, changes: dict[str, Any]) -> None:
    """Options of the page are refused where no page is asked for."""
    idle = [flag for name, flag in _PAGE.items() if getattr(arguments, name) is not None]
    idle += ["--" + name.replace("_", "-") for name in changes]
    if idle:
        raise OptionError(f"{idle[0]} belongs to the page of samples; add --show, or leave it out.")


def _show(arguments: argparse.Namespace, dataset: Dataset, changes: dict[str, Any]) -> int:
    """Draw samples as training would see them."""
    import numpy as np

    from convarium import data, report, train
    from convarium.train.from_config import augmentation_of

    path = "samples.html" if arguments.output is None else arguments.output
    report.check_page_name(path)
    choice = train.recommend(dataset, size=arguments.size, recipe=arguments.recipe)
    config = dataclasses.replace(choice.config, **changes)
    for name in ("policy_ops", "policy_magnitude"):
        if name in changes and config.policy != "randaugment":
            flag = "--" + name.replace("_", "-")
            raise OptionError(f"{flag} belongs to --policy randaugment; add that, or leave it out.")
    augmentation = augmentation_of(config)
    usable = np.flatnonzero(dataset.survey().digests != 0)
    if dataset.given is not None and (dataset.given[usable] == 0).any():
        usable = usable[dataset.given[usable] == 0]
    fitted = report.some_of_each_class(dataset, usable, _FITTED, arguments.seed)
    preprocessing = data.fit_preprocessing(data.Part(dataset, fitted), size=choice.size)
    samples = report.augmented_samples(
        dataset,
        fitted[: arguments.samples],
        preprocessing,
        augmentation,
        seed=arguments.seed,
        epoch=arguments.epoch,
        versions=arguments.versions,
    )
    settings = augmentation.lines()
    title = f"{dataset.source}: what training sees"
    report.write_augmented(path, samples, settings, title=title, epoch=arguments.epoch)
    if arguments.json:
        shown = [{"name": sample.name, "label": sample.label} for sample in samples]
        write_json({"page": str(path), "augmentation": settings, "samples": shown})
        return 0
    write(f"augmentation: {'; '.join(settings) or 'none'}")
    write(f"page: {path}")
    return 0


def _facts(found: Overview) -> list[str]:
    """The facts in lines."""
    readable = found.samples - found.unreadable
    kinds = {"classification": "classes", "multilabel": "labels", "regression": "numbers"}
    names = len(found.classes) or len(found.numbers)
    about = f" of {names} {kinds[found.task]}" if names else ", no labels"
    parts = ", ".join(f"{n:,} {word}" for word, n in found.parts.items())
    lines = [
        f"{found.source}: {readable:,} images{about}",
        f"  parts        {parts or 'none given; train splits the data'}",
        f"  size         {_size(found)}, {'colour' if found.channels == 3 else 'grey'}",
        f"  copies       {_copies(found)}",
        f"  unreadable   {found.unreadable:,}",
        f"  left out     {_left_out(found)}",
        f"  fingerprint  {found.fingerprint}",
    ]
    return lines + _rows(found)


def _size(found: Overview) -> str:
    (low, middle, high), (first, median, last) = found.heights, found.widths
    if low == high and first == last:
        return f"{low} x {first} pixels"
    return (
        f"{low} to {high} pixels high (median {middle}), {first} to {last} wide (median {median})"
    )


def _copies(found: Overview) -> str:
    if not found.copies:
        return "none"
    words = f"{len(found.copies):,} sets of equal images, such as {', '.join(found.copies[0][:2])}"
    if found.contradicting:
        words += f"; {found.contradicting:,} of them with different labels"
    if found.crossing:
        words += f"; {found.crossing:,} of them in several parts"
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
