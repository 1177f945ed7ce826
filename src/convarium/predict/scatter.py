"""What a network of fields does not know, as patterns, and fields that are drawn with them.

    draw = field + sum_k e_k pattern_k        e_k normal, for each time and each draw anew

A field of least squared error is smoother than what it estimates: what is not known is left out.
The patterns are what a network leaves at training times, as large as what it leaves at validation
times, so that draws are as rough as the truth, with the same waves and the same likeness of
neighbouring cells. Block means of what a network with a constraint leaves are 0, and so are those
of all sums of it: a draw conserves what the field does.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convarium import files, seeds
from convarium.data import FieldPreprocessing, Part, Parts, Preprocessing
from convarium.data.grids.climatology import Climatology
from convarium.data.grids.coarse import CoarseFields
from convarium.data.grids.samples import GridSamples, time_name
from convarium.errors import RunError
from convarium.models import FieldToField
from convarium.models.checkpoint import SCATTER
from convarium.tasks.field_baselines import delta_fields

FILE: Final = SCATTER
_PATTERNS: Final = 128  # at most
_NUMBERS: Final = 2**23  # of the network's patterns, at most, and of the delta method's: 32 MiB
_PIECE: Final = 32

Drawing = Callable[[NDArray[np.float32], NDArray[np.int64]], NDArray[np.float32]]
_Left = Callable[[Part, FieldPreprocessing, NDArray[np.int64]], Tensor]


def keep_scatter(
    network: nn.Module, parts: Parts, preprocessing: Preprocessing, folder: Path
) -> None:
    """Write the patterns of what a trained network leaves into its run, where it has places.

    Those are networks of values of one domain, without a constraint or with the additive one.
    """
    if not isinstance(network, FieldToField) or not isinstance(preprocessing, FieldPreprocessing):
        return
    kind = network.constraint in ("none", "additive") and not network.writer.non_negative
    if preprocessing.bound and kind and len(network.parts) == 1:
        given = (network, parts.train, parts.validation, preprocessing)
        found = {"patterns": scatter_of(*given)}
        usual, later = preprocessing.climatology, parts.validation
        months = cast("GridSamples", later.dataset.samples).pairs.fine.months[later.ids]
        if usual is not None and usual.knows(months):
            found["delta"] = scatter_of(*given, of_delta=True)
        files.write_tensors(folder / FILE, found)


def scatter_of(
    network: FieldToField,
    train: Part,
    validation: Part,
    preprocessing: FieldPreprocessing,
    *,
    of_delta: bool = False,
) -> Tensor:
    """The patterns of what a network leaves.

    Args:
        network: of values, in evaluation mode.
        train: the training times.
        validation: times that say how large it is.
        preprocessing: of the network.
        of_delta: of what the delta method with the constraint leaves, in place of the network.

    Shape:
        -> (K, T, H, W)
    """
    cells = math.prod(preprocessing.grid.shape) * len(preprocessing.classes)
    most = max(1, min(_PATTERNS, _NUMBERS // cells))
    left: _Left = _left_by_delta if of_delta else functools.partial(_left, network)
    known, later = (
        left(part, preprocessing, _spread(part.ids, most)) for part in (train, validation)
    )
    size = later.square().mean() / known.square().mean().clamp(min=1e-30)
    patterns: Tensor = known * (size / len(known)).sqrt()
    return patterns


def read_scatter(
    folder: Path, coarse: CoarseFields | None = None, *, of_delta: bool = False
) -> Tensor:
    """The patterns of a run.

    Args:
        folder: of the run.
        coarse: whose rows and direction they get; None leaves them as they are.
        of_delta: those of the delta method; where a run keeps none, (0, T, H, W) is given.

    Raises:
        RunError: it has none.
    """
    if not (folder / FILE).exists():
        raise RunError(
            f"{folder} has no patterns to draw fields with. Runs keep them that give values of one "
            "domain, as with --means or --places, have the additive constraint, or none "
            "and may be below 0."
        )
    kept = files.read_tensors(folder / FILE)
    patterns = kept["patterns"] if not of_delta else kept.get("delta", kept["patterns"][:0])
    if coarse is None:
        return patterns
    patterns = patterns[..., coarse.rows, :]
    return patterns.flip(-2) if coarse.turned else patterns


def drawing(folder: Path, coarse: CoarseFields, count: int, seed: int) -> Drawing:
    """What puts draws behind the fields of some times, which their numbers name.

    Args:
        folder: of the run.
        coarse: which its network makes finer.
        count: draws of each time; 0 leaves the fields as they are.
        seed: of the draws.

    Raises:
        RunError: the run has no patterns.
    """
    if not count:
        return lambda values, ids: values
    patterns, times = read_scatter(folder, coarse), coarse.fields.times
    return lambda values, ids: with_draws(values, patterns, times[ids], count, seed)


def with_draws(
    values: NDArray[np.float32], patterns: Tensor, times: NDArray[Any], count: int, seed: int
) -> NDArray[np.float32]:
    """Fields (n, T, H, W) with draws of them behind, (n, T + M T, H, W).

    Their random numbers follow from the seed and the date or number of each time, in whichever
    file it stands.
    """
    found = values[:, None] + drawn(patterns, keys_of(times, seed), count).numpy()
    whole: NDArray[np.float32] = np.concatenate([values, *found.swapaxes(0, 1)], 1)
    return whole


def drawn(patterns: Tensor, keys: Iterable[int | str], count: int) -> Tensor:
    """What is added to the fields of some times, other numbers for each time and each draw.

    Args:
        patterns: (K, T, H, W).
        keys: what tells the times from others, n of them.
        count: draws M of each.

    Shape:
        -> (n, M, T, H, W)
    """
    weights = torch.from_numpy(weights_of(keys, count, len(patterns)))
    return torch.einsum("nmk,kthw->nmthw", weights, patterns)


def keys_of(times: NDArray[Any], seed: int) -> list[str]:
    """What tells times from others, by their dates or numbers and a seed."""
    return [f"{seed}, {time_name(time)}" for time in times]


def weights_of(keys: Iterable[int | str], count: int, patterns: int) -> NDArray[np.float32]:
    """How much of each pattern is in each draw of some times, (n, M, K)."""
    seeded = (np.random.default_rng(seeds.derive("scatter", key)) for key in keys)
    drawn_now = [each.standard_normal((count, patterns), "f4") for each in seeded]
    return np.array(drawn_now, np.float32).reshape(-1, count, patterns)


@torch.no_grad()
def _left(
    network: FieldToField, part: Part, preprocessing: FieldPreprocessing, ids: NDArray[np.int64]
) -> Tensor:
    """The truth less what the network gives, (n, T, H, W); 0 where nothing is known."""
    pairs = preprocessing.pairs_of(cast("GridSamples", part.dataset.samples).pairs)
    device = next(network.parameters()).device
    found = []
    for start in range(0, len(ids), _PIECE):
        batch = pairs.batch(ids[start : start + _PIECE])
        given = (batch.x, batch.mask, batch.fine, batch.weights)
        y = network(*(None if each is None else each.to(device) for each in given))
        found.append(torch.nan_to_num(batch.y - y.cpu()))
    return torch.cat(found)


def _left_by_delta(part: Part, preprocessing: FieldPreprocessing, ids: NDArray[np.int64]) -> Tensor:
    """The truth less what the delta method with the constraint gives, likewise."""
    pairs = preprocessing.pairs_of(cast("GridSamples", part.dataset.samples).pairs)
    fields = delta_fields(pairs, ids, cast("Climatology", preprocessing.climatology))
    return torch.nan_to_num(torch.from_numpy(pairs.counted(ids)[1] - fields))


def _spread(ids: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """So many of some times at most, from all of them."""
    places = np.linspace(0, len(ids) - 1, min(most, len(ids))).round().astype(int)
    chosen: NDArray[np.int64] = np.sort(ids)[places]
    return chosen
