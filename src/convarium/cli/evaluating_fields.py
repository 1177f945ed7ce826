"""What `evaluate` does with fields besides: baselines, ensembles, draws, cells of a region."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from convarium.errors import OptionError, RunError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from convarium.data import Dataset, FieldPreprocessing, Part, Preprocessing
    from convarium.data.grids.samples import GridSamples
    from convarium.predict import Run
    from convarium.tasks import Evaluation, FieldEvaluation


def check_draws(runs: Sequence[Run], count: int, seed: int | None) -> None:
    """Refuse draws of what has none, before anything is measured.

    Raises:
        OptionError: it is no run of fields, or there are several; one draw, or a seed of none.
        RunError: the run gives values and keeps no patterns.
    """
    from convarium.predict.judged_draws import check_count
    from convarium.predict.scatter import read_scatter

    if not count:
        if seed is not None:
            raise OptionError(f"--seed {seed} is of draws; give --draws too, or leave it out.")
        return
    check_count(count)
    if runs[0].preprocessing.kind != "grids" or len(runs) > 1:
        raise OptionError("--draws are of one run of gridded fields; leave them out.")
    if runs[0].card.get("parts") == ["value"]:
        read_scatter(runs[0].folder)


def field_evaluation(
    evaluation: Evaluation, data: Dataset | Part, run: Run, arguments: argparse.Namespace
) -> Evaluation:
    """An evaluation of fields beside what needs no training, and with draws where they are asked.

    Quantile mapping takes part where the data is that of the run.
    """
    from convarium import predict
    from convarium.data import Part

    dataset = data.dataset if isinstance(data, Part) else data
    learnt: NDArray[np.int64] | None = None
    if cast("GridSamples", dataset.samples).pairs.coarse is not None:
        with contextlib.suppress(RunError):  # other data, or a run that does not say
            learnt = run.part(dataset, "train").ids
    found = beside_others(evaluation, data, run.preprocessing, block=arguments.block, train=learnt)
    if not arguments.draws:
        return found
    fields = cast("FieldEvaluation", found)
    return predict.evaluated_draws(fields, run, dataset, arguments.draws, arguments.seed or 0)


def ensemble(found: Sequence[Evaluation], dataset: Dataset) -> Evaluation:
    """What runs of fields are worth together."""
    from convarium import tasks

    areas = cast("GridSamples", dataset.samples).pairs.areas
    own = None if areas is None else areas.reshape(-1, 1)
    return tasks.together(cast("Sequence[FieldEvaluation]", found), own)


def beside_others(
    evaluation: Evaluation,
    data: Dataset | Part,
    preprocessing: Preprocessing,
    *,
    block: int | None = None,
    train: NDArray[np.int64] | None = None,
) -> Evaluation:
    """Of fields the evaluation with what needs no training beside it; others as they are."""
    from convarium import tasks
    from convarium.data import Part

    if not isinstance(evaluation, tasks.FieldEvaluation):
        return evaluation
    dataset = data.dataset if isinstance(data, Part) else data
    steps = cast("FieldPreprocessing", preprocessing)
    return tasks.beside_baselines(evaluation, dataset, steps, block=block, train=train)


def inside(data: Dataset | Part, region: Sequence[float]) -> Dataset | Part:
    """Fields of which the cells of a region alone count."""
    from convarium.data import Part
    from convarium.data.grids.holding import held_out

    if isinstance(data, Part):
        return Part(held_out(data.dataset, region, data.ids), data.ids)
    import numpy as np

    return held_out(data, region, np.arange(len(data)))
