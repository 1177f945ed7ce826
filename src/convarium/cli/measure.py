"""`convarium measure NAME|RUN|module:function`: what a network sees and costs."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convarium import files
from convarium.cli import measured
from convarium.cli.parsing import Parser, key_value, positive, write, write_json
from convarium.cli.show import shape
from convarium.cli.subject import Subject, find
from convarium.errors import DataError, OptionError

if TYPE_CHECKING:
    from torch import Tensor

    from convarium.measure import Cost, EffectiveField, ReceptiveField
    from convarium.measure.layer_table import LayerFacts
    from convarium.measure.layer_times import Profile
    from convarium.measure.speed import Latency

_PICTURES = (".svg", ".png")
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SAMPLES, _IMAGES = 8, 32  # of the effective field, at most
_ROOM = 2 * 10**9  # bytes that they may take together


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    words = {
        "network": "a name of 'convarium list', a run folder, or a function in a file of this "
        "folder that gives a torch module",
        "input": "shape of a sample, channels first (3x224x224); one number is for every axis",
        "option": "an option of a network by name, such as stem=cifar; may be given several times",
        "memory": "tell the largest batch that fits into it: 8G, 500M; 8GiB is in powers of two",
        "effective": "the effective receptive field, on these images or on random inputs",
        "sizes": "with --latency: these batch sizes, such as 1,4,16, instead of that of --batch",
        "output": "a picture of how the field grows, of the effective field where that was asked "
        "for, or of the latency, layer by layer too: .svg or .png",
    }
    add = parser.add_argument
    add("network", metavar="NAME|RUN|module:function", help=words["network"])
    add("--input", type=shape, metavar="SHAPE", help=words["input"])
    add("--option", type=key_value, action="append", metavar="KEY=VALUE", help=words["option"])
    add("--batch", type=positive, default=1, metavar="N", help="samples at once (1)")
    add("--memory", type=size, metavar="BYTES", help=words["memory"])
    add("--layers", action="store_true", help="a row a layer")
    add("--effective", nargs="*", metavar="IMAGE", help=words["effective"])
    add("--latency", action="store_true", help="the time of a forward pass on this machine")
    add("--batch-sizes", type=batch_sizes, metavar="N,...", help=words["sizes"])
    add("-o", "--output", metavar="FILE", help=words["output"])


@dataclass(frozen=True)
class Results:
    """All that was measured; the layers' multiply-adds are those of one sample."""

    subject: Subject
    batch: int
    cost: Cost
    field: ReceptiveField
    layers: tuple[LayerFacts, ...]
    effective: EffectiveField | None
    latency: Latency | None
    profile: Profile | None


def run(arguments: argparse.Namespace) -> int:
    """Measure, draw, and print facts in words, or all of it as JSON."""
    path = arguments.output
    if path is not None and Path(path).suffix.lower() not in _PICTURES:
        raise OptionError(f"--output (={path!r}) must end in .svg or .png.")
    if arguments.batch_sizes and not arguments.latency:
        raise OptionError("--batch-sizes belongs to --latency; add that, or give --batch.")
    results = _measured(arguments)
    if path is not None:
        _draw(results, path)
    if arguments.json:
        write_json(_values(results, arguments))
        return 0
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    lines = [*measured.facts(results, arguments.memory), *_in_kilometres(results.subject)]
    if arguments.layers:
        lines += ["", *measured.table(results.layers)]
    for line in lines:
        write(line.encode(encoding, "replace").decode(encoding))
    if path is not None:
        write(f"picture: {path}")
    return 0


def _in_kilometres(subject: Subject) -> list[str]:
    """What a run of fields sees, on the earth; nothing for others."""
    if subject.run is None or subject.run.preprocessing.kind != "grids":
        return []
    from convarium.measure.field_reach import reach_in_words

    run: Any = subject.run
    return [f"on the earth      {reach_in_words(run.model, run.preprocessing)}"]


def size(text: str) -> int:
    """A number of bytes: plain, or with k, M, G, T (powers of 1000) or Ki, Mi, Gi, Ti (of 1024).

    >>> size("8G"), size("1.5MiB"), size("512")
    (8000000000, 1572864, 512)
    """
    found = re.fullmatch(r"(\d{1,18}(?:\.\d{1,9})?)\s?([kmgt]i?)?b?", text.strip().lower())
    if not found or not (count := round(float(found[1]) * {**_UNITS, **_BINARY}[found[2] or ""])):
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of bytes such as 8G or 500M")
    return count


def batch_sizes(text: str) -> tuple[int, ...]:
    """Whole numbers of 1 or more with commas between them.

    >>> batch_sizes("1,4,16")
    (1, 4, 16)
    """
    return tuple(positive(part) for part in text.split(","))


def _measured(arguments: argparse.Namespace) -> Results:
    from convarium import measure
    from convarium.measure.layer_table import layer_table

    subject = find(arguments.network, arguments.input, dict(arguments.option or []))
    whole = (arguments.batch, *subject.shape)
    cost = measure.cost(subject.model, whole)
    field = measure.receptive_field(subject.model, whole)
    effective, latency, profile = None, None, None
    if arguments.effective is not None:
        effective = _effective(subject, _inputs(subject, cost, arguments.effective))
    if arguments.latency:
        model = subject.with_weights()
        latency = measure.latency(model, whole, batch_sizes=arguments.batch_sizes)
        if arguments.output is not None and effective is None:
            profile = measure.profile(model, whole)
    rows = layer_table(cost, field) if arguments.layers else ()
    batch = arguments.batch
    layers = tuple(replace(row, macs=-(-row.macs // batch)) for row in rows)
    return Results(subject, batch, cost, field, layers, effective, latency, profile)


def _effective(subject: Subject, x: Tensor) -> EffectiveField:
    """At the last map that a layer returns, with inputs of the weights' type."""
    from convarium.measure import effective_receptive_field, running

    model = subject.with_weights()
    device, dtype = running.place(model)
    with running.explained(model, tuple(x.shape)):
        return effective_receptive_field(model, x.to(device, dtype))


def _inputs(subject: Subject, cost: Cost, images: Sequence[str]) -> Tensor:
    """Images through the run's own preprocessing, or normal numbers; as many as memory allows."""
    fits = max(cost.largest_batch(_ROOM, optimizer=0), 1)
    if not images:
        import torch

        generator = torch.Generator().manual_seed(0)
        return torch.randn(min(fits, _SAMPLES), *subject.shape, generator=generator)
    if subject.run is None:
        raise OptionError(
            f"--effective with images needs a run folder, whose preprocessing they go through; "
            f"{subject.name} is none: give --effective alone, for random inputs."
        )
    return _read(subject, images, min(fits, _IMAGES))


def _read(subject: Subject, images: Sequence[str], most: int) -> Tensor:
    """The first images that can be read, as the run prepares them."""
    from convarium import data

    if subject.run is None or subject.shape != subject.run.preprocessing.input_shape:
        raise OptionError("--effective with images takes the run's own input; leave --input out.")
    dataset = data.open_inputs(list(images), kind=subject.run.preprocessing.kind)
    skipped = list(dataset.skipped)
    read = data.batches(dataset, subject.run.preprocessing, batch_size=most, skipped=skipped)
    first = next(read, None)
    for item in skipped:
        sys.stderr.write(f"skipped {item.name}: {item.reason}\n")
    if first is None:
        raise DataError(
            f"None of the images can be read; the first: {skipped[0].name} ({skipped[0].reason})."
        )
    return first.inputs[0]


def _draw(results: Results, path: str) -> None:
    """The effective field or the latency where one was asked for, else how the field grows."""
    from convarium import report
    from convarium.report.latency import draw_latency

    name = results.subject.name
    if results.effective is not None:
        svg = report.draw_effective_field(results.effective, results.field, name)
    elif results.latency is not None:
        svg = draw_latency(results.latency, name, results.profile)
    else:
        svg = report.draw_field_growth(results.field, name)
    if path.lower().endswith(".svg"):
        files.write_text(path, svg + "\n")
    else:
        files.write_bytes(path, report.svg_as_png(svg))


def _values(results: Results, arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything for programs; the sums are of one sample, the bytes of the batch."""
    cost, one = results.cost, results.cost.at_batch(1)
    values: dict[str, Any] = {
        "name": results.subject.name,
        "input": list(results.subject.shape),
        "batch": results.batch,
        "parameters": cost.parameters,
        "macs": one["macs"],
        "flops": one["flops"],
        "parameter_bytes": cost.parameter_bytes,
        "activation_bytes": cost.activation_bytes,
        "forward_bytes": cost.forward_bytes,
        "training_bytes": cost.training_bytes,
        "field": {k: v for k, v in results.field.to_json().items() if k != "rows"},
        "verdict": results.field.sentence(),
    }
    if arguments.memory is not None:
        values["largest_batch"] = measured.largest(cost, arguments.memory)
    if arguments.layers:
        values["layers"] = [row.to_json() for row in results.layers]
    if results.effective is not None:
        values["effective"] = results.effective.to_json()
    if results.latency is not None:
        values["latency"] = results.latency.to_json()
    if results.profile is not None:
        values["profile"] = results.profile.to_json()
    if arguments.output is not None:
        values["picture"] = arguments.output
    return values
