"""A page of training texts: which of their words become unknown in each of several epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convarium.data import Dataset, TextAugmentation, TextPreprocessing
from convarium.data.augment.texts import UNKNOWN
from convarium.report.seen import label_of, seen_batch
from convarium.report.sequences import side_colour
from convarium.report.templates import write_filled
from convarium.report.texts import SHOWN, token_pieces


@dataclass(frozen=True)
class DroppedWords:
    """A text and its versions.

    Args:
        name: of the sample.
        label: its target in words; empty where there is none.
        words: its tokens as they stand in the text, with the blanks behind them.
        rare: which of them are unknown anyway, since the training texts hold them too seldom.
        dropped: which of them became unknown by chance, for each epoch.
    """

    name: str
    label: str
    words: tuple[str, ...]
    rare: tuple[bool, ...]
    dropped: tuple[tuple[bool, ...], ...]

    @property
    def note(self) -> str:
        """Its name, and how many of its words are shown where that is not all of them."""
        count = len(self.words)
        return self.name + (f"; the first {SHOWN} of {count} words" if count > SHOWN else "")


def dropped_words(
    dataset: Dataset,
    ids: NDArray[np.int64],
    preprocessing: TextPreprocessing,
    augmentation: TextAugmentation,
    *,
    seed: int = 0,
    epoch: int = 0,
    versions: int = 5,
) -> list[DroppedWords]:
    """Texts as `training_batches` gives them, in epochs that follow each other.

    Args:
        dataset: of the texts.
        ids: sample ids in it.
        preprocessing: the steps to the network's input.
        augmentation: what is changed at random.
        seed: of the run.
        epoch: the first one.
        versions: how many epochs.

    Raises:
        DataError: a text cannot be read.
    """
    plain = {int(i): preprocessing.apply(dataset.read(int(i))).numpy() for i in ids}
    dropped: dict[int, list[tuple[bool, ...]]] = {i: [] for i in plain}
    for turn in range(epoch, epoch + versions):
        batch = seen_batch(dataset, ids, preprocessing, augmentation, seed=seed, epoch=turn)
        for i, row in zip(batch.index.tolist(), batch.inputs[0].numpy(), strict=True):
            gone = (row[: len(plain[i])] == UNKNOWN) & (plain[i] != UNKNOWN)
            dropped[i].append(tuple(gone.tolist()))
    return [
        DroppedWords(
            name=dataset.name(i),
            label=label_of(dataset, i),
            words=tuple(token_pieces(preprocessing, str(dataset.read(i)))),
            rare=tuple((tokens == UNKNOWN).tolist()),
            dropped=tuple(dropped[i]),
        )
        for i, tokens in plain.items()
    ]


def write_dropped(
    path: str | Path,
    texts: Sequence[DroppedWords],
    settings: Sequence[str],
    *,
    title: str,
    epoch: int = 0,
) -> Path:
    """Write the page as one HTML file that needs nothing else, atomically.

    Args:
        path: the HTML file.
        texts: what is shown, of each up to 120 words.
        settings: what is done, in words.
        title: heading of the page.
        epoch: number of the first version.

    Raises:
        RunError: the file cannot be written.
    """
    shown = [
        {
            "title": text.label or "no label",
            "note": text.note,
            "rows": [
                {"name": f"epoch {epoch + k}", "words": _words(text, gone)}
                for k, gone in enumerate(text.dropped)
            ],
        }
        for text in texts
    ]
    about = "; ".join(settings) or "nothing is changed at random"
    told = {"title": title, "about": about, "texts": shown, "colour": side_colour(1)}
    return write_filled(path, "dropped_words.html.jinja", **told)


def _words(text: DroppedWords, gone: Sequence[bool]) -> list[dict[str, object]]:
    """Each word that is shown with what is said of it."""
    rows = zip(text.words[:SHOWN], text.rare, gone, strict=False)
    return [{"text": word, "rare": rare, "gone": lost} for word, rare, lost in rows]
