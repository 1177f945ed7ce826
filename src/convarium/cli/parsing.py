"""Argument parsing with errors that teach, and the arguments that several verbs share."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NoReturn

from convarium.errors import OptionError, RunError, did_you_mean
from convarium.train.config import TrainConfig, options

_METAVARS: Mapping[type, str] = {int: "INT", float: "FLOAT", str: "STR", tuple: "INT,..."}
_NUMBER = r"(\d+(?:\.\d+)?)"
_DURATION = re.compile(rf"(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s?)?")
_WORDS: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    tuple: "whole numbers with commas, such as 800,1200",
}


class Parser(argparse.ArgumentParser):
    """argparse, with full option names only and one sentence for each mistake.

    Attributes:
        intermixed: whether flags may stand between RUN and what may be left out behind it.
    """

    intermixed = False

    def __init__(self, **keywords: Any) -> None:
        super().__init__(allow_abbrev=False, **keywords)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise OptionError(f"{message[:1].upper()}{message[1:]}; see: {self.prog} --help")

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: None = None
    ) -> argparse.Namespace:
        """Parse, naming close matches of an unknown option."""
        parse = self.parse_known_intermixed_args if self.intermixed else self.parse_known_args
        values, unknown = parse(args, namespace)
        if unknown:
            known = [name for action in self._actions for name in action.option_strings]
            word = unknown[0].split("=")[0]
            near = did_you_mean(word, known)
            raise OptionError(f"Unknown argument {word!r}.{near} See: {self.prog} --help")
        return values


def add_prediction_arguments(parser: Parser) -> None:
    """Batch size and workers of the verbs that only run a network."""
    parser.add_argument("--batch-size", type=positive, default=256, help="samples at once (256)")
    parser.add_argument("--workers", type=natural, default=1, help="threads that decode ahead (1)")


def add_config_arguments(
    parser: Parser,
    title: str = "training",
    note: str = "what is not given follows from the data",
    names: Collection[str] | None = None,
) -> None:
    """One flag for each option of `TrainConfig`; what is not given is absent from the result.

    Args:
        parser: is added to.
        title: of the group in the help.
        note: below the title.
        names: of the options that get a flag; None means all.
    """
    group = parser.add_argument_group(title, note)
    for name, kind, optional, option in options():
        if names is not None and name not in names:
            continue
        flag = "--" + name.replace("_", "-")
        words = option.metadata["help"]
        if kind is bool:
            group.add_argument(
                flag,
                action=argparse.BooleanOptionalAction,
                default=argparse.SUPPRESS,
                help=words,
            )
            continue
        choices = option.metadata.get("choices")
        seconds = option.metadata.get("unit") == "seconds"
        group.add_argument(
            flag,
            type=_value_of(duration if seconds else kind, optional, choices),
            default=argparse.SUPPRESS,
            metavar=_metavar(kind, choices, optional),
            help=words + (" (or none)" if optional else ""),
        )


def given_options(values: argparse.Namespace) -> dict[str, Any]:
    """The options of `TrainConfig` that were given on the command line."""
    names = {option.name for option in dataclasses.fields(TrainConfig)}
    return {name: value for name, value in vars(values).items() if name in names}


def given_changes(values: argparse.Namespace) -> dict[str, Any]:
    """The same, to be put over a choice, and what has to give way to them.

    A crop that is resized takes the padded one's place. Where classes are weighed, labels are not
    smoothed: what smoothing gives to a very rare class would weigh more than the truth.
    """
    given = given_options(values)
    way: dict[str, Any] = {}
    if given.get("resized_crop") is not None:
        way["pad_crop"] = 0
    if given.get("balance") == "weights":
        way["label_smoothing"] = 0.0
    return {**way, **given}


def refuse_idle(given: Mapping[str, Any], config: TrainConfig) -> None:
    """Refuse flags that have no effect with the others.

    Raises:
        OptionError: an option was given that belongs to another value of another one.
    """
    for name, _, _, field in options():
        owner, *values = field.metadata.get("of", (None,))
        if owner is None or given.get(name) is None:
            continue
        if (config.chosen_schedule if owner == "schedule" else getattr(config, owner)) in values:
            continue
        flag, other = (f"--{word.replace('_', '-')}" for word in (name, owner))
        with_it = "" if values == [True] else f" {' or '.join(values)}"
        raise OptionError(f"{flag} belongs to {other}{with_it}; add that, or leave it out.")


def key_value(text: str) -> tuple[str, Any]:
    """`key=value` with the value as JSON, or as plain text where it is not JSON.

    >>> key_value("depths=[1, 1]"), key_value("stem=cifar")
    (('depths', [1, 1]), ('stem', 'cifar'))
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text!r} must look like KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def positive(text: str) -> int:
    """A whole number of 1 or more."""
    value = natural(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be 1 or more")
    return value


def sides(text: str) -> int | tuple[int, ...]:
    """One whole number for all axes, or one for each of depth, height and width.

    >>> sides("32"), sides("16x32x32")
    (32, (16, 32, 32))
    """
    found = tuple(map(positive, text.replace(",", "x").split("x")))
    if len(found) not in (1, 3):
        raise argparse.ArgumentTypeError(f"{text!r} must be a number such as 32, or 16x32x32")
    return found[0] if len(found) == 1 else found


def spacing(text: str) -> str | float | tuple[float, ...]:
    """The word median, one positive number for all axes, or one for each.

    >>> spacing("median"), spacing("2"), spacing("3x1x1")
    ('median', 2.0, (3.0, 1.0, 1.0))
    """
    if text == "median":
        return text
    try:
        found = tuple(map(float, text.replace(",", "x").split("x")))
    except ValueError:
        found = ()
    if len(found) not in (1, 3) or not all(0 < step < math.inf for step in found):
        raise argparse.ArgumentTypeError(f"{text!r} must be median, a number, or such as 3x1x1")
    return found[0] if len(found) == 1 else found


def natural(text: str) -> int:
    """A whole number of 0 or more."""
    try:
        value = int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number") from error
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} must be 0 or more")
    return value


def above_zero(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number") from error
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} must be above 0")
    return value


def share(text: str) -> float:
    """A number between 0 and 1."""
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number") from error
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must lie between 0 and 1")
    return value


def amount(text: str) -> float:
    """A number between 0 and 1, or a whole number of 1 or more.

    >>> amount("0.2"), amount("24")
    (0.2, 24)
    """
    return positive(text) if text.isdigit() and int(text) else share(text)


def write(text: str) -> None:
    """One line on standard output.

    Raises:
        RunError: it cannot be written, as on a full disk.
    """
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise RunError(f"Cannot write the output: {error.strerror or error}.") from error


def write_json(value: Any) -> None:
    """One JSON document on standard output."""
    write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def duration(text: str) -> float:
    """Seconds from a number of them, or from hours, minutes and seconds.

    >>> duration("90"), duration("10m"), duration("1h30m"), duration("2.5s")
    (90.0, 600.0, 5400.0, 2.5)
    """
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise argparse.ArgumentTypeError(f"{text!r} must be a time such as 90, 90s, 10m or 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return 3600 * hours + 60 * minutes + seconds


def _value_of(
    kind: Callable[[str], Any], optional: bool, choices: Sequence[str] | None
) -> Callable[[str], Any]:
    words = None if choices is None else [*choices, *(["none"] if optional else [])]

    def convert(text: str) -> Any:
        if words is not None and text not in words:
            known = ", ".join(map(repr, words))
            raise argparse.ArgumentTypeError(f"invalid choice: {text!r} (choose from {known})")
        if optional and text == "none":
            return None
        try:
            return tuple(map(int, text.split(","))) if kind is tuple else kind(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} must be {_WORDS[kind]}") from error

    return convert


def _metavar(kind: type, choices: Sequence[str] | None, optional: bool) -> str:
    if choices is None:
        return _METAVARS[kind]
    return "{" + ",".join([*choices, *(["none"] if optional else [])]) + "}"
