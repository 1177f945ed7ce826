"""The data's part of a card: what a stranger needs to feed the model and to know its data."""

from __future__ import annotations

from typing import Any

from convarium.data.parts import Parts
from convarium.data.preprocessing import Preprocessing


def build_card(parts: Parts, preprocessing: Preprocessing) -> dict[str, Any]:
    """The entries task, classes, preprocessing and data of a card.

    `data` holds the source, the fingerprint of the whole data set, the counts of the parts and of
    their classes (in class order), and how many samples were skipped.
    """
    dataset = parts.train.dataset
    return {
        "task": dataset.task,
        **preprocessing.to_card(),
        "data": {
            "source": dataset.source,
            "fingerprint": dataset.fingerprint(),
            "counts": parts.counts,
            "class_counts": parts.class_counts,
            "skipped": len(dataset.skipped),
        },
    }
