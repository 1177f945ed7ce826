"""Which fields a network of fields uses, and where: its error after each of them was permuted.

    importance of a field = RMSE with the field of other times - RMSE

A field of other times of the same month has the right values in the right places, and says nothing
about this time. What the network does not use changes nothing; what other fields say too changes
little.

References:
    Breiman 2001, "Random forests", Machine Learning 45, section 10 (permuted inputs).
    Fisher, Rudin, Dominici 2019, "All models are wrong, but many are useful", JMLR 20(177), eq. 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium import seeds
from convarium.data import Batch, Dataset, FieldPreprocessing, Part, batches
from convarium.errors import DataError
from convarium.graph import untouched
from convarium.models import FieldToField
from convarium.tasks.field_scores import mean_of

if TYPE_CHECKING:
    from convarium.data.grids.samples import GridSamples

SEASON = "season"


@dataclass(frozen=True, eq=False)
class FieldImportance:
    """What one field is worth to a network.

    Args:
        name: of the field.
        rmse: with the field of other times, in the variable's deviations.
        plain: as it is.
        cells: what the error grows by in each cell, `(H, W)`, likewise; NaN where no truth is.
    """

    name: str
    rmse: float
    plain: float
    cells: NDArray[np.float64]

    @property
    def gain(self) -> float:
        """How much smaller the error is for the field, as a share of what it is without."""
        return 1 - self.plain / self.rmse if self.rmse else 0.0

    def sentence(self) -> str:
        """The name and the gain."""
        if not self.plain:
            return f"{self.name}: without it the error is {self.rmse:.2g}, and none with it"
        return f"{self.name}: without it the error is {self.rmse / self.plain:.2f} times as large"


def field_importance(
    network: FieldToField,
    data: Part | Dataset,
    preprocessing: FieldPreprocessing,
    *,
    seed: int = 0,
) -> tuple[FieldImportance, ...]:
    """The importance of each predictor, of the season, and of what is read besides.

    A field that is made finer is permuted with the delta method's field of it, since both come from
    the same coarse field; the constraint then holds for the permuted one, too. Static fields are
    the same at all times and are turned around by half of the columns instead.

    Args:
        network: of a run.
        data: the times to measure on, two at least.
        preprocessing: of the run.
        seed: of the permutations, which leave no time in its place. Fields are permuted among times
            of a month, and the season among all.

    Raises:
        DataError: there are fewer than two times.
    """
    found = list(batches(data, preprocessing))
    whole = _whole(found)
    if len(whole) < 2:
        raise DataError("Fields can be permuted among two times or more; give more of them.")
    dataset = data.dataset if isinstance(data, Part) else data
    fine = cast("GridSamples", dataset.samples).pairs.fine
    months = fine.months[whole.index.numpy()]
    orders = _moved(months, seed), _moved(np.zeros_like(months), seed)
    std = torch.tensor(preprocessing.statistics["targets"][1]).view(1, -1, 1, 1)
    areas = fine.grid.areas.reshape(-1, 1) if preprocessing.weighted else None
    plain = _squares(network, whole, std)
    results = []
    for name, changed in _changes(whole, preprocessing, *orders):
        squares = _squares(network, changed, std)
        cells = np.sqrt(_means(squares)) - np.sqrt(_means(plain))
        rmse, before = (math.sqrt(mean_of(each, areas)) for each in (squares, plain))
        results.append(FieldImportance(name, rmse, before, cells))
    return tuple(sorted(results, key=lambda each: -each.rmse))


def _moved(months: NDArray[np.int64], seed: int) -> Tensor:
    """A time of the same month for each, never itself; those that are alone take any other."""
    count = len(months)
    circle = seeds.permutation(count, seed, "permuted fields")
    order = np.empty(count, np.int64)
    order[circle] = np.roll(circle, 1)
    for month in np.unique(months):
        own = circle[months[circle] == month]
        if len(own) > 1:
            order[own] = np.roll(own, 1)
    return torch.from_numpy(order)


def _changes(
    whole: Batch, steps: FieldPreprocessing, order: Tensor, any_order: Tensor
) -> list[tuple[str, Batch]]:
    """Each field's name, and the batch with it permuted: among months, or the season among all."""
    x, fine = whole.inputs[0], whole.named.get("fine")
    delta = len(steps.classes) if steps.options.start == "delta" else 0
    found = []
    for k, name in enumerate(steps.predictors):
        changed = x.clone()
        changed[:, k] = x[order, k]
        named, mask = dict(whole.named), whole.mask
        if mask is not None and mask.ndim < x.ndim:  # of one field alone
            mask = mask[order]
        elif mask is not None:
            mask = mask.clone()
            mask[:, k] = mask[order, k]
        if fine is not None and k < delta:
            own = fine.clone()
            own[:, k] = fine[order, k]
            named["fine"] = own
        found.append((name, replace(whole, inputs=(changed,), mask=mask, named=named)))
    if steps.options.season:
        changed = x.clone()
        changed[:, len(steps.predictors) :] = x[any_order, len(steps.predictors) :]
        found.append((SEASON, replace(whole, inputs=(changed,))))
    if fine is not None and steps.static is not None:
        for k in range(delta, fine.shape[1]):
            own = fine.clone()
            own[:, k] = fine[:, k].roll(fine.shape[-1] // 2, -1)
            name = f"static field {k - delta + 1}"
            found.append((name, replace(whole, named={**whole.named, "fine": own})))
    return found


def _whole(found: Sequence[Batch]) -> Batch:
    """All batches as one."""
    if not found:
        raise DataError("There is no time to measure on.")
    first = found[0]
    named = {name: torch.cat([each.named[name] for each in found]) for name in first.named}
    masks = [each.mask for each in found if each.mask is not None]
    targets = [each.target for each in found if each.target is not None]
    return Batch(
        inputs=(torch.cat([each.inputs[0] for each in found]),),
        target=torch.cat(targets),
        mask=torch.cat(masks) if masks else None,
        index=torch.cat([each.index for each in found]),
        weight=None,
        named=named,
    )


def _squares(network: FieldToField, whole: Batch, std: Tensor) -> NDArray[np.float64]:
    """Squared errors in the variables' deviations, the mean over these: `(N, H, W)`."""
    found = []
    with untouched(network), torch.no_grad():
        network.eval()
        for start in range(0, len(whole), 32):
            part = whole.at(slice(start, start + 32))
            y = network.middle(network(*part.arguments, **part.named))
            if part.target is None:
                raise DataError("The fine fields are not known; give data with them.")
            found.append((((y - part.target) / std) ** 2).mean(1).double().numpy())
    return np.concatenate(found)


def _means(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the times of what is known."""
    known = ~np.isnan(squares)
    with np.errstate(invalid="ignore"):
        found: NDArray[np.float64] = np.where(known, squares, 0.0).sum(0) / known.sum(0)
    return found
