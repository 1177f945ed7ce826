"""Counterfactuals with marked regions: backgrounds swapped between samples, objects removed.

sample inside of its mask + the emptied background of another -> does the prediction change?

The background of a sample is the sample without its object, so that no second object comes along.

References:
    Xiao et al. (2020), "Noise or signal: the role of image backgrounds in object recognition",
    arXiv:2006.09994, section 2: mixed-same, mixed-random and the background gap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from convarium import seeds
from convarium.errors import DataError
from convarium.explain.auditing.counting import Difference
from convarium.explain.auditing.filling import without
from convarium.explain.auditing.gathering import Drawn, drawn_from
from convarium.explain.auditing.masks import marks_a_part
from convarium.explain.auditing.region_results import DonorLabel, RegionHeat, Regions
from convarium.explain.auditing.results import Example
from convarium.explain.controls import SampleMean, sample_mean
from convarium.explain.pointing import energy

_EXAMPLES = 4
_RECIPIENTS = 128  # samples that get the background of a label, at most
_COMPOSITES = 2048  # of all labels together, about
_FEWEST = 10


@dataclass(frozen=True, eq=False)
class _Marked:
    """The drawn samples that have a region.

    Attributes:
        some: all drawn samples.
        rows: of the marked ones among them.
        masks: (n, *S) truths.
        emptied: (n, C, *S) the samples without what is in their regions.
        empty: drawn samples whose mask is nothing or everything.
    """

    some: Drawn
    rows: Tensor
    masks: Tensor
    emptied: Tensor
    empty: int

    @property
    def inputs(self) -> Tensor:
        """(n, C, *S)."""
        return self.some.inputs[self.rows]

    @property
    def targets(self) -> Tensor:
        """(n,) class numbers."""
        return self.some.targets[self.rows]

    @property
    def predicted(self) -> Tensor:
        """(n,) class numbers."""
        return self.some.predicted[self.rows]

    @property
    def heat(self) -> Tensor:
        """(n, *S)."""
        return self.some.heat[self.rows]

    def on(self, takers: Tensor, givers: Tensor) -> Tensor:
        """The takers' insides of their masks, on the emptied givers."""
        inside = self.masks[takers].unsqueeze(1)
        return torch.where(inside, self.inputs[takers], self.emptied[givers])


def audit_regions(some: Drawn, removal: str, seed: int) -> Regions:
    """Swap backgrounds, remove objects, and see where the heat lies.

    Args:
        some: drawn samples with heat and masks.
        removal: what stands where an object was.
        seed: of donors and places.

    Raises:
        DataError: of no label there are two samples with a region, or of one label only.
    """
    marked = _marked(some, removal)
    same = donors(marked.targets, seed, "same")
    other = donors(marked.targets, seed, "other", others=True)
    takers = ((same >= 0) & (other >= 0)).nonzero().squeeze(1)
    if not len(takers):
        raise DataError(
            "Backgrounds are swapped between samples of two labels, each with two marked samples; "
            f"of the {len(marked.rows)} samples with a region there are none such."
        )
    mixed = [marked.on(takers, found[takers]) for found in (same, other)]
    with_same, with_other = (some.says(each) for each in mixed)
    was, truth = marked.predicted[takers], marked.targets[takers]
    without_object = some.says(marked.emptied)
    heat, inside, outside = _heat(marked)
    return Regions(
        n=len(marked.rows),
        missing=sum(mask is None for mask in some.masks),
        empty=marked.empty,
        background=_pairs(with_other != was, with_same != was, other[takers]),
        gap=_pairs(with_same == truth, with_other == truth),
        donors=_by_donor(marked, takers, with_same, seed),
        object=_removed(marked, without_object, removal, seed),
        heat=heat,
        outside=outside,
        inside=inside,
        examples=_examples(
            some,
            marked.rows[takers],
            [*mixed, marked.emptied[takers]],
            [with_same, with_other, without_object[takers]],
        ),
    )


def _marked(some: Drawn, removal: str) -> _Marked:
    """Samples with a region that is neither nothing nor everything."""
    given = [(row, mask) for row, mask in enumerate(some.masks) if mask is not None]
    parts = [(row, mask) for row, mask in given if marks_a_part(mask)]
    rows, masks = torch.tensor([row for row, _ in parts]), torch.stack([mask for _, mask in parts])
    emptied = without(some.inputs[rows], masks, removal)
    return _Marked(some, rows, masks, emptied, len(given) - len(parts))


def _by_donor(
    marked: _Marked, takers: Tensor, with_same: Tensor, seed: int
) -> tuple[DonorLabel, ...]:
    """For each label, what its backgrounds make of samples of the others.

    Args:
        marked: samples with a region.
        takers: which of them get backgrounds.
        with_same: what these are called on backgrounds of their own label.
        seed: of takers and donors.
    """
    lifts = energy(marked.heat, ~marked.masks).score
    labels = sorted(set(marked.targets.tolist()))
    most = min(_RECIPIENTS, max(_FEWEST, _COMPOSITES // len(labels)))
    found = []
    for label in labels:
        others = (marked.targets[takers] != label).nonzero().squeeze(1)
        order = torch.from_numpy(seeds.permutation(len(others), seed, "recipients", label))
        chosen = others[order[:most]]
        pool = (marked.targets == label).nonzero().squeeze(1)
        if len(chosen) < _FEWEST or len(pool) < _FEWEST:
            continue
        givers = drawn_from(pool, len(chosen), seed, "backgrounds", label)
        said = marked.some.says(marked.on(takers[chosen], givers))
        taken = _pairs(said == label, with_same[chosen] == label, givers)
        outside = sample_mean(lifts[marked.predicted == label])
        found.append(DonorLabel(marked.some.classes[label], taken, outside))
    return tuple(found)


def donors(labels: Tensor, seed: int, word: str, *, others: bool = False) -> Tensor:
    """For each sample another one, of its own label or of another, by chance; -1 for none."""
    numbers = labels.numpy()
    draws = seeds.uniform(np.arange(len(numbers)), seed, "donors", word)
    found = np.full(len(numbers), -1, np.int64)
    for label in np.unique(numbers):
        mine = np.flatnonzero(numbers == label)
        pool = np.flatnonzero(numbers != label) if others else mine
        if others and len(pool):
            found[mine] = pool[(draws[mine] * len(pool)).astype(np.int64)]
        elif len(pool) > 1:
            # one of the others of the same label: 1 to n - 1 places on
            step = 1 + (draws[mine] * (len(pool) - 1)).astype(np.int64)
            found[mine] = pool[(np.arange(len(mine)) + step) % len(pool)]
    return torch.from_numpy(found)


def equal_area(masks: Tensor, seed: int) -> Tensor:
    """Regions as large as the masks outside of them: what is nearest to a place drawn there.

    Args:
        masks: (n, *S), each at most half of the positions.
        seed: of the places.
    """
    size = tuple(masks.shape[1:])
    grid = torch.stack(torch.meshgrid(*(torch.arange(side) for side in size), indexing="ij"))
    positions = grid.flatten(1).T.double()
    draws = seeds.uniform(np.arange(len(masks)), seed, "equal area")
    found = torch.zeros(len(masks), math.prod(size), dtype=torch.bool)
    for row, mask in enumerate(masks.flatten(1)):
        free = (~mask).nonzero().squeeze(1)
        middle = positions[free[int(draws[row] * len(free))]]
        apart = (positions[free] - middle).square().sum(1)
        found[row, free[apart.argsort(stable=True)[: int(mask.sum())]]] = True
    return found.reshape(masks.shape)


def _removed(marked: _Marked, now: Tensor, removal: str, seed: int) -> Difference:
    """Flips without the object, against those without an equal area elsewhere."""
    fits = marked.masks.flatten(1).float().mean(1) <= 0.5
    x, was = marked.inputs[fits], marked.predicted[fits]
    elsewhere = without(x, equal_area(marked.masks[fits], seed), removal) if len(x) else x
    return _pairs(now[fits] != was, marked.some.says(elsewhere) != was)


def _heat(marked: _Marked) -> tuple[tuple[RegionHeat, ...], SampleMean, SampleMean]:
    """Rows for right and wrong predictions; the lift inside and outside of all."""
    inside, outside = energy(marked.heat, marked.masks), energy(marked.heat, ~marked.masks)
    right = marked.predicted == marked.targets
    rows = [
        RegionHeat(
            predictions=word,
            energy=sample_mean(inside.energy[chosen]),
            area=sample_mean(inside.area[chosen]),
            lift=sample_mean(inside.score[chosen]),
            outside=sample_mean(outside.score[chosen]),
        )
        for word, chosen in (("right", right), ("wrong", ~right))
    ]
    return tuple(rows), sample_mean(inside.score), sample_mean(outside.score)


def _examples(
    some: Drawn, rows: Tensor, versions: list[Tensor], now: list[Tensor]
) -> tuple[tuple[Example, ...], ...]:
    """Samples beside their versions; first those that another background flips."""
    flips = now[1] != some.predicted[rows]
    found = []
    for k in (~flips).long().argsort(stable=True)[:_EXAMPLES].tolist():
        row = int(rows[k])
        label = some.classes[int(some.targets[row])]
        images = some.shown(torch.stack([some.inputs[row], *(each[k] for each in versions)]))
        says = [some.predicted[row], *(each[k] for each in now)]
        notes = (
            f"a {label}, as it is",
            f"on the background of another {label}",
            "on the background of another label",
            "without the object",
        )
        found.append(
            tuple(
                Example(image, some.classes[int(said)], note)
                for image, said, note in zip(images, says, notes, strict=True)
            )
        )
    return tuple(found)


def _pairs(first: Tensor, second: Tensor, donors: Tensor | None = None) -> Difference:
    given = None if donors is None else donors.numpy()
    return Difference.of_pairs(first.numpy(), second.numpy(), donors=given)
