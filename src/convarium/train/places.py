"""What a network of fields leaves, fitted place by place when it is trained: validation decides.

best weights -> what they leave at training and at validation times -> maps of all training times
and of earlier ones -> the penalty and the level that validate best -> maps of all training times,
which are kept where they validate better than none

What places are like changes slowly. Maps of the latest times would validate well on those that
follow at once, and less well later; maps of early times say what lasts. Training times among each
other would not say it: the network has seen them all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convarium import models
from convarium.data import FieldBatch, FieldPreprocessing, Parts, Preprocessing
from convarium.layers import Level, LocalLinear
from convarium.train.field_choice import FITS_PLACES

if TYPE_CHECKING:
    from convarium.data.grids.samples import GridSamples

_PENALTIES: Final = ((3.0, 8), (10.0, 0), (30.0, 0), (100.0, 0), (300.0, 0), (1000.0, 0))
_SIZE: Final = 0.6  # of a level, in variances of the noise
_FORGOTTEN: Final = (1 / 3, 1 / 6)  # horizons, as shares of the training times
_CLEARLY: Final = 0.96  # of the squared error, of a level that is taken in place of the first
_EARLY: Final = (0.7, 1.0)  # shares of them that maps are fitted to
_MOST: Final = 2**27  # numbers that all places read at all times; of more times some are taken
_MOST_TIMES: Final = 1000  # whose covariance is (B, B)


class Recipe(NamedTuple):
    """How places are fitted.

    Args:
        penalty: as much as so many times at which nothing is left.
        rounds: how often it is learned anew.
        level: what is left on average.
    """

    penalty: float
    rounds: int
    level: Level


class Fitted(NamedTuple):
    """What was fitted, and what the network is worth on validation samples with it.

    Args:
        penalty: as much as so many times at which nothing is left; None where no maps were better.
        rounds: how often it was learned anew.
        size: of what is left on average, in variances of the noise.
        horizon: times after which half of that is forgotten; None is never.
        times: that the maps were fitted to.
        loss: on the validation samples.
        score: likewise.
    """

    penalty: float | None
    rounds: int
    size: float
    horizon: float | None
    times: int
    loss: float
    score: float


def fit_places_of(
    network: nn.Module,
    parts: Parts,
    preprocessing: Preprocessing,
    judged: Callable[[], tuple[float, float]],
) -> Fitted | None:
    """Fit the places of a network that has such, as validates best.

    Args:
        network: trained; a network without places stays as it is.
        parts: training and validation times.
        preprocessing: fitted to the training part.
        judged: gives loss and score of the network as it is, on the validation samples.

    Returns:
        What was fitted; None where there is nothing to fit.
    """
    if not has_places(network) or not isinstance(preprocessing, FieldPreprocessing):
        return None
    own = cast("models.FieldToField", network)
    pairs = preprocessing.pairs_of(cast("GridSamples", parts.train.dataset.samples).pairs)
    ids = _some(np.sort(parts.train.ids), own)
    nothing, state = Fitted(None, 0, 0.0, None, 0, *judged()), _state(own)
    later = pairs.batch(_some(parts.validation.ids, own))
    recipe = fit_best(own, pairs.batch(ids), torch.from_numpy(ids), later)
    loss, score = judged()
    if not (math.isfinite(loss) and score > nothing.score):
        cast("nn.Module", own.places).load_state_dict(state)
        return nothing
    size, horizon, _ = recipe.level
    return Fitted(recipe.penalty, recipe.rounds, size, horizon, len(ids), loss, score)


def fit_best(
    network: models.FieldToField, batch: FieldBatch, times: Tensor, later: FieldBatch
) -> Recipe:
    """Fit a network's places as is best for times that it has not learnt from.

    Args:
        network: with places that can be fitted.
        batch: the fields of the training times.
        times: rising, (B,).
        later: the fields of other times.

    Returns:
        How they were fitted.
    """
    local = cast("Any", network.places).local
    known, judged = (
        models.left_to_places(network, **_given(each, local.weight.device))
        for each in (batch, later)
    )
    recipe = best_recipe(local, known, times, judged)
    local.fit(*known, times=times, **recipe._asdict())
    return recipe


def best_recipe(
    local: LocalLinear, known: tuple[Tensor, Tensor], times: Tensor, later: tuple[Tensor, Tensor]
) -> Recipe:
    """Of penalties the one that is best for later times, then of levels.

    Few later times say little: averages drift over a third of the times, if another level is not
    clearly better.

    Args:
        local: the maps, which are changed.
        known: what they read and should give, (B, C, *S) and (B, C', *S).
        times: rising, (B,).
        later: what they read and should give at later times.
    """
    span = float(times[-1] - times[0]) + 1
    counts = sorted({max(2, round(share * len(times))) for share in _EARLY})

    def error(recipe: Recipe) -> float:
        total = 0.0
        for n in counts:
            local.fit(known[0][:n], known[1][:n], times=times[:n], **recipe._asdict())
            with torch.no_grad():
                total += float((local(later[0]) - later[1]).square().sum())
        return total if math.isfinite(total) else math.inf

    first, *levels = [*(Level(_SIZE, share * span) for share in _FORGOTTEN), Level(_SIZE)]
    tried = {each: error(each) for each in (Recipe(*p, first) for p in _PENALTIES)}
    found = min(tried, key=tried.__getitem__)
    levels.append(Level(1 / found.penalty))
    others = {each: error(each) for each in (found._replace(level=level) for level in levels)}
    best = min(others, key=others.__getitem__)
    return best if others[best] < _CLEARLY * tried[found] else found


def _given(batch: FieldBatch, device: torch.device) -> dict[str, Any]:
    """A batch as `models.fit_places` takes it."""
    return {name: None if t is None else t.to(device) for name, t in batch._asdict().items()}


def has_places(network: nn.Module) -> bool:
    """Whether a network has maps of its places that can be fitted."""
    if not isinstance(network, models.FieldToField) or network.places is None:
        return False
    return len(network.parts) == 1 and network.constraint in FITS_PLACES


def _some(ids: NDArray[np.int64], network: models.FieldToField) -> NDArray[np.int64]:
    """Times that are spread over all, as many as can be read at once."""
    weight = cast("Any", network.places).local.weight
    most = max(2, min(_MOST_TIMES, _MOST // (weight.shape[0] * weight.shape[1])))
    if len(ids) <= most:
        return ids
    places = np.linspace(0, len(ids) - 1, most).round().astype(int)
    found: NDArray[np.int64] = ids[np.unique(places)]
    return found


def _state(network: models.FieldToField) -> dict[str, torch.Tensor]:
    """A copy of the maps."""
    state = cast("nn.Module", network.places).state_dict()
    return {name: value.clone() for name, value in state.items()}
