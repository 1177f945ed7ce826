"""Which samples' heatmaps a report shows: right and wrong answers, confident and unsure ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convarium.tasks.class_results import in_turns

if TYPE_CHECKING:
    from convarium.tasks import ClassEvaluation, Evaluation

_EACH = 3  # as many as stand beside each other on the page
_SPREAD = 12

Galleries = dict[str, NDArray[np.int64]]


def galleries_of(evaluation: Evaluation) -> Galleries:
    """Ids of samples under the heading of their group.

    Classes are shown by whether the answer is right and how sure it was; labels and numbers spread
    over what there is.
    """
    chosen = _GALLERIES.get(evaluation.shown_as, _spread)(evaluation)
    return {heading: ids for heading, ids in chosen.items() if len(ids)}


def _spread(evaluation: Evaluation) -> Galleries:
    return {"": evaluation.examples(_SPREAD)}


def _by_certainty(evaluation: ClassEvaluation) -> Galleries:
    """The most and the least confident of the right and of the wrong answers, classes in turns."""
    right = evaluation.labels == evaluation.targets
    found: Galleries = {}
    for word, chosen in (("Right", right), ("Wrong", ~right)):
        places = np.flatnonzero(chosen)
        order = places[np.argsort(-evaluation.confidences[places], kind="stable")]
        half = -(-len(order) // 2)
        for certainty, some in (("confident", order[:half]), ("unsure", order[half:][::-1])):
            _, first, kind = np.unique(
                evaluation.labels[some], return_index=True, return_inverse=True
            )
            turns = in_turns(first[kind], _EACH)  # the class of the foremost sample begins
            found[f"{word} and {certainty}"] = evaluation.ids[some[turns]]
    return found


_GALLERIES: dict[str, Callable[[Any], Galleries]] = {"classes": _by_certainty}
