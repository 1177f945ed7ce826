"""One reading of every text: copies, those that read alike, lengths, and what cannot be read."""

from __future__ import annotations

import numpy as np

from convarium.data.samples import Samples
from convarium.data.skipping import Skipped
from convarium.data.surveying import Survey
from convarium.data.texts.alike import reading_hashes
from convarium.data.texts.reading import EMPTY, compared, is_empty
from convarium.data.texts.samples import facts_of
from convarium.errors import DataError
from convarium.progress import Progress

_BLOCK = 1024


def survey_texts(samples: Samples, progress: Progress | None) -> tuple[Survey, list[Skipped]]:
    """Read every text once; also what cannot be read, empty texts among it.

    In the survey a text is 1 high and as wide as it has characters.
    """
    n = len(samples)
    digests, widths = np.zeros(n, np.uint64), np.zeros(n, np.int32)
    hashes = np.zeros((n, 4), np.uint64)
    skipped: list[Skipped] = []
    broken: list[int] = []
    for start in range(0, n, _BLOCK):
        ids = range(start, min(start + _BLOCK, n))
        words: list[list[str]] = []
        for i in ids:
            text, reason = _read(samples, i)
            if reason:
                broken.append(i)
                skipped.append(Skipped(samples.name(i), reason))
            else:
                digests[i], _, widths[i], *_ = facts_of(text)
            words.append(compared(text))
        hashes[start : start + len(ids)] = reading_hashes(words)
        if progress is not None:
            progress.advance(len(ids))
    heights = (widths > 0).astype(np.int32)
    return Survey(digests, heights, widths, np.array(broken, np.int64), 1, None, hashes), skipped


def _read(samples: Samples, i: int) -> tuple[str, str]:
    """A text, or none and the reason."""
    try:
        text: str = samples.read(i)
    except DataError as error:
        return "", str(error)
    return ("", EMPTY) if is_empty(text) else (text, "")
