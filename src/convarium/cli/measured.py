"""The words and the table of `convarium measure`."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from convarium.report import wording

if TYPE_CHECKING:
    from convarium.cli.measure import Results
    from convarium.measure import Cost, EffectiveField, ReceptiveField
    from convarium.measure.layer_table import LayerFacts
    from convarium.measure.speed import Latency

_HEADS = ("layer", "kind", "output", "parameters", "MACs", "field", "stride", "status")
_LEFT = (0, 1, 7)  # columns of words; the others hold numbers
_SPARED = (7, 1, 2, 6, 3)  # what a narrow terminal does without, the first first
_SHORTEST = 16  # letters that a layer's name keeps


def facts(results: Results, memory: int | None) -> list[str]:
    """A line a fact, broken where the terminal ends."""
    subject = results.subject
    lines = [f"{subject.name}, input {'x'.join(map(str, subject.shape))}"]
    told = [*_costs(results.cost, results.batch), *_room(results.cost, memory)]
    told += _fields(results.field)
    if results.effective is not None:
        told += _effective(results.effective, subject.run is not None, subject.weights)
    if results.latency is not None:
        told += _times(results.latency)
    for name, words in told:
        lines += _wrapped(f"  {name:<12}", words)
    return lines


def table(rows: Sequence[LayerFacts]) -> list[str]:
    """A line a layer under a heading; on a terminal, as many columns as it has room for."""
    cells = [_HEADS, *(_cells(row) for row in rows)]
    end = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADS))]
    shown = list(range(len(_HEADS)))
    if end is not None:
        for column in _SPARED:
            if _SHORTEST + sum(widths[k] + 2 for k in shown[1:]) > end:
                shown.remove(column)
        rest = sum(widths[k] + 2 for k in shown[1:])
        widths[0] = min(widths[0], max(end - rest, _SHORTEST))
    return [_line([line[k] for k in shown], [widths[k] for k in shown], shown) for line in cells]


def _line(cells: Sequence[str], widths: Sequence[int], columns: Sequence[int]) -> str:
    """Words to the left, numbers to the right; a name that is too long loses its beginning."""
    name, room = cells[0], widths[0]
    short = name if len(name) <= room else "..." + name[3 - room :]
    padded = [
        text.ljust(width) if column in _LEFT else text.rjust(width)
        for text, width, column in zip([short, *cells[1:]], widths, columns, strict=True)
    ]
    return "  ".join(padded).rstrip()


def largest(cost: Cost, memory: int) -> dict[str, int]:
    """The largest batches that fit, without gradients and by what the optimiser keeps."""
    return {
        "forward": cost.largest_batch(memory, training=False),
        "training": cost.largest_batch(memory, optimizer=0),
        "training_momentum": cost.largest_batch(memory, optimizer=1),
        "training_adam": cost.largest_batch(memory, optimizer=2),
    }


def _costs(cost: Cost, batch: int) -> Iterator[tuple[str, str]]:
    one, samples = cost.at_batch(1), "1 sample" if batch == 1 else f"a batch of {batch}"
    yield "parameters", f"{cost.parameters:,} ({_bytes(cost.parameter_bytes)} with buffers)"
    yield "MACs", f"{_count(one['macs'])} for 1 sample"
    yield "FLOPs", f"{_count(one['flops'])}, two for each MAC"
    words = f"{_bytes(cost.forward_bytes)} forward, {_bytes(cost.training_bytes)} in training"
    state = _bytes(cost.trained_bytes)
    yield "memory", f"{words}, for {samples}; momentum adds {state}, Adam twice that"


def _room(cost: Cost, memory: int | None) -> Iterator[tuple[str, str]]:
    if memory is None:
        return
    fits = largest(cost, memory)
    words = f"a batch of {fits['forward']:,} forward, {fits['training_momentum']:,} in training "
    words += f"with momentum, {fits['training_adam']:,} with Adam, in {_bytes(memory)}"
    yield "largest", words


def _fields(field: ReceptiveField) -> Iterator[tuple[str, str]]:
    if field.size:
        size, axes = wording.axes(field.size), wording.axes
        yield (
            "field",
            (
                f"{size} inputs at {field.layer or 'the output'}, stride {axes(field.stride)}, "
                f"start {axes(field.start)}, centre {axes(field.centre)}; {field.status}"
            ),
        )
    if field.size != field.size_with_gates:
        yield "with gates", f"{wording.axes(field.size_with_gates)} inputs"
    yield "verdict", field.sentence()


def _effective(field: EffectiveField, real: bool, weights: str) -> Iterator[tuple[str, str]]:
    spread = " x ".join(f"{value:.3g}" for value in field.deviation)
    inputs = "input" if field.n == 1 else "inputs"
    yield "effective", f"{field.sentence()} Standard deviation: {spread} inputs."
    yield "", f"Mean of {field.n} {inputs}; {weights}."


def _times(found: Latency) -> Iterator[tuple[str, str]]:
    plural = "s" if found.threads > 1 else ""
    where = f"{found.threads} thread{plural} on {found.processor}, {found.dtype}"
    for k, row in enumerate(found.rows):
        words = f"{row.median_ms:.3g} ms a pass of {row.batch_size}, median of {row.n} (80 % "
        words += f"between {row.p10_ms:.3g} and {row.p90_ms:.3g}), "
        words += f"{wording.number(row.samples_per_second)} samples a second"
        yield "" if k else "latency", words if k else f"{words}; {where}, torch {found.torch}"


def _cells(row: LayerFacts) -> tuple[str, ...]:
    return (
        row.layer or "(the model)",
        row.kind,
        "x".join(map(str, row.shape[1:])),
        f"{row.parameters:,}" if row.parameters else "",
        f"{row.macs:,}" if row.macs else "",
        wording.axes(row.size) if row.size else "",
        wording.axes(row.stride) if row.stride else "",
        row.status,
    )


def _count(n: int) -> str:
    return f"{n:,} ({wording.short(n)})" if n >= 1000 else f"{n}"


def _bytes(n: int) -> str:
    return f"{wording.short(n)}B" if n >= 1000 else f"{n} B"


def _wrapped(lead: str, words: str) -> list[str]:
    width = max(min(shutil.get_terminal_size((100, 24)).columns, 100), len(lead) + 20)
    return textwrap.wrap(
        words,
        width,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    )
