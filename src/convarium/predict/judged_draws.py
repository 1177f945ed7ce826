"""What draws are worth: beside the field they are drawn around, and beside the delta method's.

values          sums of a run's patterns around the network's field, as `downscale` writes them,
                and of what the delta method left around its field
distributions   numbers that are drawn in each cell by itself: for extremes of cells alone
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final, cast

from torch import Tensor

from convarium.data import Dataset
from convarium.data.grids.samples import GridSamples
from convarium.errors import DataError, OptionError
from convarium.predict.fine_files import steps_of
from convarium.predict.run import Run
from convarium.predict.scatter import keys_of, read_scatter, weights_of
from convarium.tasks import FieldComparison, FieldEvaluation
from convarium.tasks.downscaling_results import DRAWN
from convarium.tasks.field_baselines import DELTA
from convarium.tasks.field_draws import CellDraws, Draws, PatternDraws
from convarium.tasks.field_ensembles import FieldDistribution

_DELTA_DRAWN: Final = f"{DELTA}, drawn"


def evaluated_draws(
    evaluation: FieldEvaluation, run: Run, dataset: Dataset, count: int, seed: int = 0
) -> FieldEvaluation:
    """The evaluation with draws beside the fields: their CRPS, ranks and extremes.

    Args:
        evaluation: of one run, beside the baselines.
        run: which keeps patterns, or gives distributions.
        dataset: that the times are of.
        count: draws of each time, 2 or more.
        seed: of the draws.

    Raises:
        OptionError: fewer than two draws.
        RunError: the run gives values and keeps no patterns.
        DataError: the fields have other cells than the run's patterns.
    """
    check_count(count)
    if len(evaluation.parts) > 1:
        bounded = bool(run.card["model"]["options"].get("non_negative"))
        found: dict[str, dict[str, Draws]] = {
            name: {
                DRAWN: CellDraws(cast("FieldDistribution", own), count, f"{seed}, {name}", bounded)
            }
            for k, name in enumerate(evaluation.names)
            if (own := evaluation.distribution(k)) is not None
        }
    else:
        found = _of_patterns(evaluation, run, dataset, count, seed)
    return dataclasses.replace(
        evaluation,
        comparisons={
            name: _with(compared, found[name]) for name, compared in evaluation.comparisons.items()
        },
        draws={name: own[DRAWN] for name, own in found.items()},
    )


def check_count(count: int) -> None:
    """Refuse so few draws that they say nothing.

    Raises:
        OptionError: fewer than two.
    """
    if count < 2:
        raise OptionError(f"draws (={count}) must be 2 or more, so that they say what is likely.")


def _of_patterns(
    evaluation: FieldEvaluation, run: Run, dataset: Dataset, count: int, seed: int
) -> dict[str, dict[str, Draws]]:
    """By variable, draws around the network's field, and around the delta method's."""
    pairs = steps_of(run).pairs_of(cast("GridSamples", dataset.samples).pairs)
    if not pairs.fine.grid.same(steps_of(run).grid):
        raise DataError(
            f"{dataset.source} has other cells than those that {run.folder} keeps patterns of; "
            "leave --draws out."
        )
    keys = keys_of(pairs.fine.times[evaluation.ids], seed)

    def around(fields: Any, patterns: Tensor, k: int) -> PatternDraws:
        weights = weights_of(keys, count, len(patterns))
        return PatternDraws(fields, patterns[:, k].numpy(), weights)

    own, deltas = read_scatter(run.folder), read_scatter(run.folder, of_delta=True)
    found: dict[str, dict[str, Draws]] = {}
    for k, name in enumerate(evaluation.names):
        found[name] = {DRAWN: around(evaluation.fields[:, k], own, k)}
        delta = evaluation.comparisons[name].values.get(DELTA)
        if len(deltas) and delta is not None:
            found[name][_DELTA_DRAWN] = around(delta, deltas, k)
    return found


def _with(compared: FieldComparison, draws: dict[str, Draws]) -> FieldComparison:
    """A comparison with the first of some draws as methods, and the CRPS of all."""
    return dataclasses.replace(
        compared,
        values={**compared.values, **{name: each.one(0) for name, each in draws.items()}},
        crps={
            **compared.crps,
            **{name: each.distances(compared.truth) for name, each in draws.items()},
        },
        draws=draws,
    )
