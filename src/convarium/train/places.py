"""What a network of fields leaves, fitted place by place when it is trained.

best weights -> what they leave at the training times -> maps of the earlier times, measured on
later ones, from several origins -> the penalty and the level that are best there -> maps of all
training times, which are kept where they validate better than none

What places are like changes slowly. Maps of the latest times would validate well on those that
follow at once, and less well later, so that a gap lies before the times they are measured on.
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
from convarium.data import FieldBatch, FieldPreprocessing, Part, Preprocessing
from convarium.layers import Level, LocalLinear

if TYPE_CHECKING:
    from convarium.data.grids.samples import GridSamples

_PENALTIES: Final = ((3.0, 16), (10.0, 0), (30.0, 0), (100.0, 0), (300.0, 0), (1000.0, 0))
_SIZE: Final = 0.6  # of a level, in variances of the noise
_FORGOTTEN: Final = (1 / 3, 1 / 6)  # horizons, as shares of the training times
_ORIGINS: Final = (0.5, 0.6, 0.7, 0.8)  # shares of them that maps are fitted to
_GAP, _JUDGED = 1 / 12, 1 / 4  # likewise, what is left out behind, and what they are measured on
_MOST: Final = 2**27  # numbers that all places read at all times; of more times some are taken


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
    part: Part,
    preprocessing: Preprocessing,
    judged: Callable[[], tuple[float, float]],
) -> Fitted | None:
    """Fit the places of a network that has such, as is best for later training times.

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
    ids = _some(np.sort(part.ids), own)
    nothing, state = Fitted(None, 0, 0.0, None, 0, *judged()), _state(own)
    recipe = fit_best(own, pairs.batch(ids), torch.from_numpy(ids))
    loss, score = judged() if recipe is not None else (math.nan, math.nan)
    if recipe is None or not (math.isfinite(loss) and score > nothing.score):
        cast("nn.Module", own.places).load_state_dict(state)
        return nothing
    size, horizon, _ = recipe.level
    return Fitted(recipe.penalty, recipe.rounds, size, horizon, len(ids), loss, score)


def fit_best(network: models.FieldToField, batch: FieldBatch, times: Tensor) -> Recipe | None:
    """Fit a network's places as is best for later ones of some times.

    Args:
        network: with places that can be fitted.
        batch: the fields of the training times.
        times: rising, (B,).

    Returns:
        How they were fitted; None where there are too few times to say, and nothing is fitted.
    """
    local = cast("Any", network.places).local
    device = local.weight.device
    given = {name: None if t is None else t.to(device) for name, t in batch._asdict().items()}
    read, left = models.left_to_places(network, **given)
    recipe = best_recipe(local, read, left, times)
    if recipe is not None:
        local.fit(read, left, times=times, **recipe._asdict())
    return recipe


def best_recipe(local: LocalLinear, read: Tensor, left: Tensor, times: Tensor) -> Recipe | None:
    """Of penalties the one that is best from several origins, then of levels.

    Args:
        local: the maps, which are changed.
        read: what they read, (B, C, *S).
        left: what they should give, (B, C', *S).
        times: rising, (B,).

    Returns:
        None where there are too few times to say.
    """
    span = float(times[-1] - times[0]) + 1
    origins = _origins(len(read))
    if not origins:
        return None

    def error(recipe: Recipe) -> float:
        total = 0.0
        for known, later in origins:
            local.fit(read[known], left[known], times=times[known], **recipe._asdict())
            with torch.no_grad():
                total += float((local(read[later]) - left[later]).square().sum())
        return total if math.isfinite(total) else math.inf

    drifting = [Level(_SIZE, share * span) for share in _FORGOTTEN]
    found = min((Recipe(*each, drifting[0]) for each in _PENALTIES), key=error)
    levels = [*drifting, Level(_SIZE), Level(1 / found.penalty)]
    return min((found._replace(level=level) for level in levels), key=error)


def _origins(count: int) -> list[tuple[slice, slice]]:
    """Times that maps are fitted to, and later ones that they are measured on."""
    gap, most = max(1, round(_GAP * count)), max(1, round(_JUDGED * count))
    starts = [max(2, round(share * count)) for share in _ORIGINS]
    return [
        (slice(0, t), slice(t + gap, min(t + gap + most, count))) for t in starts if t + gap < count
    ]


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
