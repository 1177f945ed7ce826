"""The data's part of a card: what a stranger needs to feed the model and to know its data."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from convarium.data.crossing import lookalikes
from convarium.data.grids.steps import FieldPreprocessing
from convarium.data.parts import Parts
from convarium.data.preprocessing import Preprocessing
from convarium.data.series.naive import scale_of, season_in
from convarium.data.series.surveying import SeriesFacts
from convarium.data.texts.fitting import cut_of
from convarium.data.texts.steps import TextPreprocessing
from convarium.data.volumes.fitting import shares_seen
from convarium.data.volumes.steps import VolumePreprocessing


def build_card(parts: Parts, preprocessing: Preprocessing) -> dict[str, Any]:
    """The entries task, classes, preprocessing and data of a card, and those of the task.

    Several labels a sample bring `threshold`, from which probability on a label is given; numbers
    bring `targets`: their units, and mean and standard deviation over the training samples.

    `data` holds the source, the fingerprint of the whole data set, the counts of the parts and of
    their classes (in class order), how many samples were skipped, how many labels were corrected,
    and how many of the validation and the test part look like a training picture.
    """
    dataset = parts.train.dataset
    return {
        "task": dataset.task,
        **preprocessing.to_card(),
        **_of_task(parts, preprocessing),
        "data": {
            "source": dataset.source,
            "fingerprint": dataset.fingerprint(),
            "counts": parts.counts,
            "class_counts": parts.class_counts,
            "skipped": len(dataset.skipped),
            **({"corrected": len(dataset.corrections)} if dataset.corrections else {}),
            "alike": lookalikes(parts).counts,
            **_of_volumes(parts, preprocessing),
            **_of_texts(parts, preprocessing),
            **_of_series(parts),
            **_of_fields(parts),
        },
    }


def _of_volumes(parts: Parts, preprocessing: Preprocessing) -> dict[str, Any]:
    """Of the training part spacing along depth, height and width, its unit, types of the values.

    At a common spacing also the share of the volumes that the input holds.
    """
    volumes = parts.train.dataset.survey().volumes
    if volumes is None:
        return {}
    steps = volumes.spacings[parts.train.ids]
    spread = {"smallest": steps.min(0), "median": np.median(steps, axis=0), "largest": steps.max(0)}
    types = np.unique(volumes.types[parts.train.ids]).tolist()
    told = {word: step.tolist() for word, step in spread.items()}
    units = np.unique(volumes.units[parts.train.ids]).tolist()
    facts = {"spacing": told, "unit": units[0] if len(units) == 1 else "", "types": types}
    if not isinstance(preprocessing, VolumePreprocessing) or preprocessing.spacing is None:
        return facts
    seen = shares_seen(parts.train, preprocessing)
    return {**facts, "seen": {"mean": float(seen.mean()), "smallest": float(seen.min())}}


def _of_texts(parts: Parts, preprocessing: Preprocessing) -> dict[str, Any]:
    """Of the training part how long texts are, and what the network does not see of them."""
    if not isinstance(preprocessing, TextPreprocessing):
        return {}
    return {"texts": dataclasses.asdict(cut_of(parts.train, preprocessing))}


def _of_series(parts: Parts) -> dict[str, Any]:
    """Of the training part how many values are missing, and the rates; what is in no part."""
    dataset = parts.train.dataset
    if dataset.kind != "series":
        return {}
    told = dataclasses.asdict(SeriesFacts.of(dataset.survey(), parts.train.ids))
    between = {} if dataset.times is None else {"between": parts.between}
    return {"series": told, **between, "notes": list(dataset.notes)}


def _of_fields(parts: Parts) -> dict[str, Any]:
    """Of gridded fields the first and the last time of each part, and what is in none."""
    dataset = parts.train.dataset
    if dataset.kind != "grids":
        return {}
    named = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    times = {
        word: [part.name(0), part.name(len(part) - 1)] for word, part in named.items() if len(part)
    }
    return {"times": times, "between": parts.between, "notes": list(dataset.notes)}


def _of_task(parts: Parts, preprocessing: Preprocessing) -> dict[str, Any]:
    """What only one task has."""
    dataset, targets = parts.train.dataset, parts.train.targets
    if isinstance(preprocessing, FieldPreprocessing):
        mean, std = preprocessing.statistics["targets"]
        told = {"units": list(dataset.units), "mean": list(mean), "std": list(std)}
        return {"targets": told, "parts": list(preprocessing.parts)}
    if dataset.task == "multilabel":
        return {"threshold": 0.5}
    if not dataset.of_numbers or targets is None:
        return {}
    exact = targets.astype(np.float64)
    std = exact.std(0)
    std[std == 0] = 1
    moments = {"mean": exact.mean(0).tolist(), "std": std.tolist()}
    found: dict[str, Any] = {"targets": {"units": list(dataset.units), **moments}}
    if dataset.forecasts is None:
        return found
    told = {**dataclasses.asdict(dataset.forecasts), "season": season_in(parts.train)}
    told["scale"] = list(scale_of(parts.train))
    return {**found, "forecast": {**told, "channels": list(dataset.forecasts.channels)}}
