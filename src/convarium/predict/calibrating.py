"""Calibration: the temperature that makes probabilities honest, from validation data."""

from __future__ import annotations

import torch

from convarium import seeds
from convarium.data import Part, batches
from convarium.errors import DataError
from convarium.predict.predictor import Predictor
from convarium.tasks import Calibration
from convarium.tasks.objective import batch_target

_BUDGET = 2**28  # bytes of outputs


def fit_temperature(
    predictor: Predictor, data: Part, *, batch_size: int = 256, workers: int = 0
) -> Calibration | None:
    """Fit a temperature to samples that were not trained on, for the card's entry `calibration`.

    Where the outputs would take more than 256 MiB, as many samples as fit are drawn. No label
    changes. None for a task without probabilities.

    Args:
        predictor: whose outputs are taken as they are, without a temperature.
        data: labelled validation samples.
        batch_size: samples at once.
        workers: threads that decode ahead.

    Raises:
        DataError: there is no sample, or one cannot be read.
    """
    task = predictor.task
    if not task.has_classes:
        return None
    if not len(data):
        raise DataError("A temperature cannot be fitted to no samples; give validation data.")
    matched = predictor.matched(data)
    dataset = matched.dataset if isinstance(matched, Part) else matched
    ids = data.ids
    most = _BUDGET // (4 * task.head_size)
    if len(ids) > most:
        ids = ids[seeds.permutation(len(ids), 0, "calibration")[:most]]
    outputs, targets = [], []
    for batch in batches(
        Part(dataset, ids), predictor.preprocessing, batch_size=batch_size, workers=workers
    ):
        outputs.append(predictor.outputs(batch).float())
        targets.append(batch_target(batch))
    return task.calibrate(torch.cat(outputs), torch.cat(targets))
