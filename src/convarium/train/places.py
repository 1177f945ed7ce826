"""What a network of fields leaves, fitted place by place when it is trained: validation decides.

best weights -> maps of the early training times, with several penalties -> the one that validates
best -> maps of all training times

What places are like changes slowly. Maps of the latest times would validate well on those that
follow at once, and less well later; maps of early times say which penalty lasts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from convarium import models
from convarium.data import FieldBatch, FieldPreprocessing, Part, Preprocessing

if TYPE_CHECKING:
    from convarium.data.grids.samples import GridSamples

_PENALTIES: Final = ((3.0, 16), (10.0, 0), (30.0, 0), (100.0, 0), (300.0, 0), (1000.0, 0))
_EARLY: Final = 0.7  # of the training times, which say the penalty
_MOST: Final = 2**27  # numbers that all places read at all times; of more times some are taken


class Fitted(NamedTuple):
    """What was fitted, and what the network is worth on validation samples with it.

    Args:
        penalty: as much as so many times at which nothing is left; None where no maps were better.
        rounds: how often it was learned anew.
        loss: on the validation samples.
        score: likewise.
    """

    penalty: float | None
    rounds: int
    loss: float
    score: float


def fit_places_of(
    network: nn.Module,
    part: Part,
    preprocessing: Preprocessing,
    judged: Callable[[], tuple[float, float]],
) -> Fitted | None:
    """Fit the places of a network that has such, with the penalty that validates best.

    Args:
        network: trained; a network without places stays as it is.
        part: the training part.
        preprocessing: fitted to it.
        judged: gives loss and score of the network as it is, on the validation samples.

    Returns:
        What was fitted; None where there is nothing to fit.
    """
    if not has_places(network) or not isinstance(preprocessing, FieldPreprocessing):
        return None
    own = cast("models.FieldToField", network)
    pairs = preprocessing.pairs_of(cast("GridSamples", part.dataset.samples).pairs)
    ids = _some(part.ids, own)
    early = _given(own, pairs.batch(ids[: max(2, round(_EARLY * len(ids)))]))
    best, nothing = Fitted(None, 0, *judged()), _state(own)
    for penalty, rounds in _PENALTIES:
        models.fit_places(own, **early, penalty=penalty, rounds=rounds)
        found = Fitted(penalty, rounds, *judged())
        if math.isfinite(found.loss) and found.score > best.score:
            best = found
    if best.penalty is None:
        cast("nn.Module", own.places).load_state_dict(nothing)
        return best
    every = _given(own, pairs.batch(ids))
    models.fit_places(own, **every, penalty=best.penalty, rounds=best.rounds)
    loss, score = judged()
    return best._replace(loss=loss, score=score)


def _given(network: nn.Module, batch: FieldBatch) -> dict[str, Any]:
    """A batch as `models.fit_places` takes it."""
    device = next(network.parameters()).device
    return {name: None if t is None else t.to(device) for name, t in batch._asdict().items()}


def has_places(network: nn.Module) -> bool:
    """Whether a network has maps of its places that can be fitted."""
    if not isinstance(network, models.FieldToField) or network.places is None:
        return False
    return len(network.parts) == 1 and network.constraint in ("none", "additive")


def _some(ids: NDArray[np.int64], network: models.FieldToField) -> NDArray[np.int64]:
    """Times that are spread over all, as many as can be read at once."""
    weight = cast("Any", network.places).local.weight
    most = max(2, _MOST // (weight.shape[0] * weight.shape[1]))
    if len(ids) <= most:
        return ids
    places = np.linspace(0, len(ids) - 1, most).round().astype(int)
    found: NDArray[np.int64] = ids[np.unique(places)]
    return found


def _state(network: models.FieldToField) -> dict[str, torch.Tensor]:
    """A copy of the maps."""
    state = cast("nn.Module", network.places).state_dict()
    return {name: value.clone() for name, value in state.items()}
