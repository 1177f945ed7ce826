"""Texts with their predictions and the heat of their tokens, ready to be drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from convarium.data import Batch, Dataset, Part, Skipped, TextPreprocessing
from convarium.explain.auditing.counting import or_none
from convarium.explain.methods import attributed
from convarium.report.explained import first_batches
from convarium.report.sequences import ExplainedSequences, HeatedTokens

if TYPE_CHECKING:
    from convarium.predict import Run
    from convarium.tasks import Record

_SHOWN = 120  # tokens of a text in a drawing
_METHOD = "hires_cam"  # exact where the maximum over time goes into one linear layer


def show_texts(run: Run, data: Part | Dataset, *, most: int = 48) -> tuple[HeatedTokens, ...]:
    """The first texts of `data` with their predictions, without heat.

    Args:
        run: an opened run.
        data: texts; labels are shown where they are known.
        most: how many at most.
    """
    shown = []
    for batch in first_batches(data, run, most, []):
        for record, name in records_of(run, data, batch):
            tokens = _tokens(run, data, record.id)
            heat = np.zeros(len(tokens), np.float32)
            shown.append(_cut(tokens, heat, record.sentence(), about(record, name)))
    return tuple(shown)


def explain_texts(
    run: Run,
    data: Part | Dataset,
    *,
    most: int = 48,
    target: int | None = None,
    layer: str | Sequence[str] | None = None,
    method: str = _METHOD,
) -> ExplainedSequences:
    """Predict and explain the first texts of `data`.

    Args:
        run: an opened run.
        data: texts; labels are shown where they are known.
        most: how many at most.
        target: the class to explain; None means each text's predicted class.
        layer: where to read the maps; None means the network's own choice.
        method: name of a method of `convarium.explain`.

    Raises:
        OptionError: the network has no such layer, or there is no such method.
    """
    layers = (layer,) if isinstance(layer, str) else tuple(layer or ())
    texts, rows, skipped, ids = [], [], list[Skipped](), []
    for batch in first_batches(data, run, most, skipped):
        heat = attributed(run.model, batch.inputs[0], method=method, target=target, layers=layers)
        maps = heat.display().cpu().numpy().astype(np.float32)
        for place, (record, name) in enumerate(records_of(run, data, batch)):
            tokens = _tokens(run, data, record.id)
            named = "" if heat.target is None else run.card["classes"][heat.target[place]]
            note = f"{about(record, name)}, predicted {record.sentence()}"
            status = heat.status[place]
            note = note if status == "fine" else f"{note}; {status}"
            heated = _heat(maps[place], len(tokens))
            texts.append(_cut(tokens, heated, named, note))
            ids.append(record.id)
            rows.append(
                {
                    "name": name,
                    "prediction": record.sentence(),
                    "target": named,
                    "logit": or_none(float(heat.logit[place])),
                    "method": heat.method,
                    "layer": heat.layer,
                    "status": status,
                    "note": heat.note,
                    "tokens": [token.strip() for token in tokens],
                    "heat": heated.round(4).tolist(),
                }
            )
    return ExplainedSequences(tuple(texts), tuple(rows), tuple(skipped), tuple(ids))


def _heat(values: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """One value a token, the strongest of them 1 where any is above 0."""
    heat = values[:count]
    highest = float(heat.max(initial=0))
    return heat / np.float32(highest) if highest > 0 else heat


def _cut(tokens: Sequence[str], heat: NDArray[np.float32], title: str, note: str) -> HeatedTokens:
    """A text to be drawn; of a long one the part around its strongest token."""
    if len(tokens) > _SHOWN:
        start = int(np.clip(heat.argmax() - _SHOWN // 2, 0, len(tokens) - _SHOWN))
        note = f"{note}; tokens {start + 1} to {start + _SHOWN} of {len(tokens)}"
        tokens, heat = tokens[start : start + _SHOWN], heat[start : start + _SHOWN]
    return HeatedTokens(tokens, heat, title, note)


def _tokens(run: Run, data: Part | Dataset, i: int) -> list[str]:
    """A text in pieces, each a token and what follows it up to the next, as the network gets it."""
    dataset = data.dataset if isinstance(data, Part) else data
    steps = cast("TextPreprocessing", run.preprocessing)
    text = str(dataset.read(i))
    starts = [start for start, _ in steps.tokens.spans(text)][: steps.longest]
    ends = [*starts[1:], len(text)][: len(starts)]
    pieces = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    return [" ".join(piece.split()) + " " * (piece != piece.rstrip()) for piece in pieces]


def records_of(run: Run, data: Part | Dataset, batch: Batch) -> Iterator[tuple[Record, str]]:
    """What the run says of each sample of a batch, and the sample's name."""
    dataset = data.dataset if isinstance(data, Part) else data
    for record in run.predictor.task.decode(run.predictor.outputs(batch), batch):
        yield record, dataset.name(record.id)


def about(record: Record, name: str) -> str:
    """A sample's name, and what is true of it where that is known."""
    return name if record.target is None else f"{name}, truth: {record.target}"
