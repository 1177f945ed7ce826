"""What vectors of items are worth: like items side by side, few never met, a linear probe.

    recall@k of an item    others of its class among its k nearest / the most that k have room for
    coverage               share of the items that stand among the k nearest of some other item;
                           cold items: among those of an item that is not cold
    linear probe           accuracy of a logistic regression on the vectors, on a fifth of the items

A recommender can only show a cold item, of which nobody knows anything yet, where its vector brings
it near items that are known.

References:
    Alain, Bengio (2016), "Understanding intermediate layers using linear classifier probes",
    arXiv:1610.01644, section 3.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium import seeds
from convarium.errors import DataError, import_extra
from convarium.intervals import Interval, bootstrap, wilson

_FIFTH = 5


@dataclass(frozen=True)
class VectorQuality:
    """What the vectors of labelled items are worth.

    Args:
        n: items with a label.
        k: neighbours of each.
        recall: mean of recall@k over the items whose class has another item.
        recall_interval: of that mean (bootstrap over items, 95 %).
        chance: the same mean for neighbours that are drawn.
        coverage: share of the items that stand among the neighbours of another one.
        cold: how many items are cold.
        cold_coverage: share of them among the neighbours of items that are not; NaN without any.
        probe: accuracy of the linear probe.
        probe_interval: of that (Wilson, 95 %).
        largest: share of the largest class among the items that the probe is tested on.
    """

    n: int
    k: int
    recall: float
    recall_interval: Interval
    chance: float
    coverage: float
    cold: int
    cold_coverage: float
    probe: float
    probe_interval: Interval
    largest: float

    def to_json(self) -> dict[str, Any]:
        """All of it; None for what is no number."""
        own = dataclasses.asdict(self)
        return {**own, "cold_coverage": self.cold_coverage if self.cold else None}

    def sentences(self) -> list[str]:
        """Recall, coverage and probe, a sentence each."""
        low, high = self.recall_interval
        below, above = self.probe_interval
        told = [
            f"recall@{self.k} of items of one's own class: {self.recall:.3f} ({low:.3f} to "
            f"{high:.3f}; by chance {self.chance:.3f}), {self.n} items",
            f"coverage: {self.coverage:.1%} of the items are among the {self.k} nearest of another",
            f"linear probe: accuracy {self.probe:.1%} ({below:.1%} to {above:.1%}; the largest "
            f"class has {self.largest:.1%})",
        ]
        if self.cold:
            told.insert(
                2,
                f"coverage of {self.cold} cold items, from items that are not: "
                f"{self.cold_coverage:.1%}",
            )
        return told


def vector_quality(
    vectors: NDArray[np.float32],
    labels: Sequence[str],
    places: NDArray[np.int64],
    *,
    cold: NDArray[np.bool_] | None = None,
) -> VectorQuality:
    """Measure vectors by the classes of their items.

    Args:
        vectors: `(N, D)`.
        labels: the class of each item.
        places: the nearest others of each, as `nearest` gives them, `(N, k)`.
        cold: which items are cold; None for none.

    Raises:
        DataError: labels or neighbours of another number, or fewer than two classes with two items.
        MissingExtraError: scikit-learn is not installed.

    References:
        Manning, Raghavan, Schütze (2008), "Introduction to information retrieval", section 8.4.
    """
    names, classes = np.unique(np.asarray(labels, dtype=np.str_), return_inverse=True)
    if len(classes) != len(vectors) or len(places) != len(vectors):
        raise DataError(f"{len(classes)} labels do not fit {len(vectors)} vectors; give one each.")
    counts = np.bincount(classes, minlength=len(names))
    if np.count_nonzero(counts > 1) < 2:
        raise DataError("The labels have fewer than two classes of two items or more.")
    k = places.shape[1]
    others = counts[classes] - 1
    some = others > 0
    room = np.minimum(others, k)[some]
    hits = (classes[places] == classes[:, None]).sum(1)[some] / room
    by_chance = k * others[some] / (len(vectors) - 1) / room
    probe, tested, largest = _probe(vectors, classes)
    cold = np.zeros(len(vectors), np.bool_) if cold is None else cold
    cold_met = _met(places[~cold], len(vectors))[cold]
    interval = bootstrap(lambda drawn: float(hits[drawn].mean()), len(hits), resamples=200)
    return VectorQuality(
        n=len(vectors),
        k=k,
        recall=float(hits.mean()),
        recall_interval=interval,
        chance=float(by_chance.mean()),
        coverage=float(_met(places, len(vectors)).mean()),
        cold=int(cold.sum()),
        cold_coverage=float(cold_met.mean()) if cold.any() else math.nan,
        probe=probe / tested,
        probe_interval=wilson(probe, tested),
        largest=largest,
    )


def _met(places: NDArray[np.int64], n: int) -> NDArray[np.bool_]:
    """Which items stand in the lists."""
    found = np.zeros(n, np.bool_)
    found[places.reshape(-1)] = True
    return found


def _probe(vectors: NDArray[np.float32], classes: NDArray[np.int64]) -> tuple[int, int, float]:
    """Right answers of a logistic regression, items asked, and the share of their largest class."""
    linear = import_extra("sklearn.linear_model", "texts")
    order = seeds.permutation(len(vectors), 0, "probe")
    held = len(vectors) // _FIFTH
    test, train = order[:held], order[held:]
    if held < 1 or len(np.unique(classes[train])) < 2:
        raise DataError("The items are too few for a linear probe; give 5 or more of two classes.")
    mean, deviation = vectors[train].mean(0), vectors[train].std(0) + 1e-6
    model = linear.LogisticRegression(C=0.1, max_iter=300)
    model.fit((vectors[train] - mean) / deviation, classes[train])
    said = model.predict((vectors[test] - mean) / deviation)
    largest = np.bincount(classes[test]).max() / held
    return int((said == classes[test]).sum()), held, float(largest)
