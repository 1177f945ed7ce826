"""Unknown shortcuts: where the heat of a prediction stands, and what that place alone does.

one half of the samples: heatmaps of a prediction -> clusters -> where they exceed those of others
the other half: paste the place into samples with other predictions; remove it from its own

The halves keep the tests honest: a place is tested on samples that it was not found in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium import seeds
from convarium.explain.auditing import clusters
from convarium.explain.auditing.boxes import Box, elsewhere, hot_box
from convarium.explain.auditing.counting import Difference, Rate
from convarium.explain.auditing.filling import without
from convarium.explain.auditing.gathering import Drawn, drawn_from
from convarium.explain.auditing.results import Cluster, Example, PlaceTest
from convarium.explain.controls import SampleMean, sample_mean
from convarium.explain.pointing import energy

SMALL = 0.15  # of the positions: a place of up to this may be a shortcut
SMALLEST = 5  # heatmaps of a cluster
_HELD = 0.5  # of the heat beyond what is usual, in the place
_RECIPIENTS = 256
_EXAMPLES = 4


def shows_small(size: Sequence[int]) -> bool:
    """Whether maps of these sides can show a place that is small enough to be a shortcut.

    >>> shows_small((7, 7)), shows_small((4, 4))
    (True, False)
    """
    return math.prod(min(1.0, 2 / side) for side in size) <= SMALL


def find_shortcuts(
    some: Drawn, removal: str, seed: int
) -> tuple[tuple[Cluster, ...], tuple[PlaceTest, ...]]:
    """Clusters of heatmaps by prediction, and what the small places among them do."""
    drawn = torch.from_numpy(seeds.uniform(some.ids, seed, "half")) < 0.5
    warm = (some.heat.flatten(1) > 0).any(1)
    found: list[Cluster] = []
    tests: list[PlaceTest] = []
    for label in range(len(some.classes)):
        rows = ((some.predicted == label) & drawn & warm).nonzero().squeeze(1)
        if len(rows) < SMALLEST:
            continue
        points = clusters.features(some.heat[rows])
        numbers, centres = clusters.cluster(points, SMALLEST)
        usual = _mean_map(some.heat[(some.predicted != label) & drawn & warm])
        held = ((some.predicted == label) & ~drawn & warm).nonzero().squeeze(1)
        for number in range(len(centres)):
            cluster = _cluster(some, label, number, rows, numbers, usual)
            found.append(cluster)
            if cluster.candidate and len(held):
                own = clusters.nearest(clusters.features(some.heat[held]), centres) == number
                tests.append(_tested(some, cluster, label, held[own], ~drawn, removal, seed))
    return tuple(found), tuple(tests)


def _mean_map(maps: Tensor) -> Tensor:
    """The mean of the maps, each with a sum of 1; of no map zeros."""
    return clusters.shares(maps).sum(0) / max(1, len(maps))


def _cluster(
    some: Drawn, label: int, number: int, told: Tensor, numbers: Tensor, usual: Tensor
) -> Cluster:
    """A cluster with its place: where its heat exceeds what is usual.

    Args:
        some: drawn samples.
        label, number: of the cluster.
        told: rows of the samples with this prediction.
        numbers: of their clusters.
        usual: mean map of the other predictions; all maps have heat in the middle, or at seams.
    """
    rows = told[numbers == number]
    mean = _mean_map(some.heat[rows])
    more = (mean - usual).relu()
    box = hot_box(more if more.any() else mean, _HELD)
    return Cluster(
        label=some.classes[label],
        number=number,
        n=len(rows),
        share=len(rows) / len(told),
        purity=Rate.of((some.targets[rows] == label).numpy()),
        box=box,
        heat=float(mean[box.slices].sum() / mean.sum()),
        candidate=box.share <= SMALL,
        mean=mean / mean.max(),
        average=some.shown(some.inputs[rows].mean(0, keepdim=True))[0],
        examples=tuple(_example(some, int(row)) for row in rows[:_EXAMPLES]),
    )


def _tested(
    some: Drawn,
    cluster: Cluster,
    label: int,
    rows: Tensor,
    held: Tensor,
    removal: str,
    seed: int,
) -> PlaceTest:
    """The place in the other half: its heat, its removal, and what it does when it is pasted."""
    box, key = cluster.box, f"{label}/{cluster.number}"
    others = (held & (some.predicted != label) & (some.targets != label)).nonzero().squeeze(1)
    order = torch.from_numpy(seeds.permutation(len(others), seed, "recipients", key))
    takers = others[order[: _RECIPIENTS if len(rows) >= SMALLEST else 0].sort().values]
    donors = drawn_from(rows, len(takers), seed, "donors", key)
    foreign = _foreign(others, takers, seed, key)
    places = elsewhere(box, len(takers), seed, "pasted", key)
    here = [box] * len(takers)
    with_place, with_other, with_foreign, over_all = (
        pasted(some, takers, donors, here),
        pasted(some, takers, donors, places),
        pasted(some, takers, foreign, here),
        pasted(some, takers, donors, here, over=True),
    )

    def taken(versions: Tensor) -> NDArray[np.bool_]:
        return (some.says(versions) == label).numpy()

    beside, control = taken(with_place), taken(with_other)

    def excess(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> Difference:
        return Difference.of_pairs(one, other, donors=donors.numpy())

    return PlaceTest(
        cluster=cluster,
        n=len(rows),
        lift=_lift(some.heat[rows], box),
        pasted=excess(beside, control),
        foreign=excess(beside, taken(with_foreign)),
        whole=None if some.masks else excess(taken(over_all), control),
        removed=_removed(some, rows, box, label, removal, seed, key),
        on_object=_on_object(some, rows, box),
        examples=_examples(some, takers, with_place, beside, label),
    )


def _lift(maps: Tensor, box: Box) -> SampleMean:
    """Of the heat in the place, over the maps that have any."""
    masks = box.mask().expand(len(maps), *box.whole)
    return sample_mean(energy(maps, masks).score if len(maps) else torch.empty(0))


def _removed(
    some: Drawn, rows: Tensor, box: Box, label: int, removal: str, seed: int, key: str
) -> Difference:
    """Predictions lost without the place, and without another one of equal size."""
    if not len(rows):
        none = np.zeros(0, np.bool_)
        return Difference.of_pairs(none, none)
    x = some.inputs[rows]
    gone = some.says(without(x, box.mask(), removal)) != label
    places = elsewhere(box, len(rows), seed, "removed", key)
    masks = torch.stack([place.mask() for place in places])
    control = some.says(without(x, masks, removal)) != label
    return Difference.of_pairs(gone.numpy(), control.numpy())


def pasted(
    some: Drawn, takers: Tensor, donors: Tensor, places: list[Box], *, over: bool = False
) -> Tensor:
    """Samples with the content of places of others, beside the objects.

    Where a stroke is pasted over, a 7 becomes a 1, and that is no shortcut. So the marked objects
    of both stay out of it. Where no object is marked, that of the taker is what its own answer
    rests on: heat above the mean of its map.

    Args:
        some: drawn samples.
        takers, donors: rows (n,).
        places: one each.
        over: paste over objects too.
    """
    made = some.inputs[takers]
    for row, (taker, donor, box) in enumerate(
        zip(takers.tolist(), donors.tolist(), places, strict=True)
    ):
        free = box.mask()
        if not over:
            own, its = (some.masks[i] if some.masks else None for i in (taker, donor))
            heat = some.heat[taker]
            free = free & ~(heat > heat.mean() if own is None else own)
            free = free if its is None else free & ~its
        made[row] = torch.where(free, some.inputs[donor], made[row])
    return made


def _foreign(others: Tensor, takers: Tensor, seed: int, key: str) -> Tensor:
    """For each taker another sample of other predictions: not itself, where there are two."""
    found = drawn_from(others, len(takers), seed, "foreign", key)
    if len(others) < 2:
        return found
    following = others[(torch.searchsorted(others, found) + 1) % len(others)]
    return torch.where(found == takers, following, found)


def _on_object(some: Drawn, rows: Tensor, box: Box) -> float | None:
    """Share of the place that lies in the marked regions, on average."""
    masks = [mask for row in rows.tolist() if some.masks and (mask := some.masks[row]) is not None]
    if not masks:
        return None
    return float(torch.stack(masks)[:, *box.slices].float().mean())


def _example(some: Drawn, row: int) -> Example:
    said, truth = (some.classes[int(each[row])] for each in (some.predicted, some.targets))
    note = some.names[row] if said == truth else f"{some.names[row]}, truth: {truth}"
    return Example(some.shown(some.inputs[row : row + 1])[0], said, note, some.heat[row])


def _examples(
    some: Drawn, takers: Tensor, pasted: Tensor, taken: NDArray[np.bool_], label: int
) -> tuple[tuple[Example, ...], ...]:
    """Recipients before and after; first those that take the prediction."""
    found = []
    for k in np.argsort(~taken, kind="stable")[:_EXAMPLES].tolist():
        row = int(takers[k])
        before, after = some.shown(torch.stack([some.inputs[row], pasted[k]]))
        said = some.classes[int(some.predicted[row])]
        now = some.classes[label] if taken[k] else f"not {some.classes[label]}"
        found.append((Example(before, said, "before"), Example(after, now, "with the place")))
    return tuple(found)
