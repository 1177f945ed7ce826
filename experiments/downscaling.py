"""What a network finds in coarse fields that the delta method does not: monthly winds, and warming.

    python experiments/downscaling.py winds
    python experiments/downscaling.py warming
    python experiments/downscaling.py winds --choose      the same by validation, before the test
    python experiments/downscaling.py winds --curve       the error by training times
    python experiments/downscaling.py winds --table

Coarse fields are means of 4 x 4 cells. A network learns from all cells together what fine fields
look like; where the domain is a circle, also from fields that are turned by less than a coarse
cell. What it leaves is fitted place by place, by ridge regression (`models.fit_places`). In both,
late times count more than early ones. The test times are the last, and nothing was chosen by them.

Winds: U from U and V, 100 months for training and the last 24 for the test, 8 between them
(Debian's `ferret-datasets`, public domain). Warming: air temperature of the A1B scenario over North
America, 160 years for training and the last 60 for the test, 20 between them (PyPI's
`iris-sample-data`, UK Open Government Licence). Both from `make data`.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import evidence
import field_jobs as jobs
from convarium import data, tasks
from convarium.files import read_json, write_json
from convarium.tasks.field_groups import Groups

DELTA, PLACES, ALONE, BOTH, MEAN = (
    "delta + constraint",
    "places alone",
    "network alone",
    "network + places",
    "mean of the seeds",
)
FIGURES = {
    "high_waves": "high waves",
    "conservation_error": "conservation",
    "anomaly_correlation": "correlation",
    "ssim": "SSIM",
}
CURVE = (0.25, 0.5, 0.75, 1.0)


def measured(
    job: jobs.Job,
    whole: data.Fields,
    train: jobs.Ids,
    test: jobs.Ids,
    seeds: Sequence[int],
    *,
    by_area: bool = False,
) -> dict[str, Any]:
    """Every method on the test times; ours with each seed, and the mean of the seeds' fields.

    By area the block means are weighted ones: the networks stay what they are, and their places
    are fitted anew.
    """
    kinds = {"by_cells": False} | ({"by_area": True} if by_area else {})
    scenes = {kind: jobs.set_scene(job, whole, train, weighted=kinds[kind]) for kind in kinds}
    values = {kind: _fixed(job, scene, test) for kind, scene in scenes.items()}
    seconds = []
    for seed in seeds:
        network = jobs.build(job, scenes["by_cells"], seed)
        seconds.append(round(jobs.train(job, scenes["by_cells"], network, seed), 1))
        alone = copy.deepcopy(network)
        for kind, scene in scenes.items():
            values[kind][f"{ALONE}, {seed}"] = jobs.predict(alone, scene, test)
            jobs.fit_places(job, scene, network)
            values[kind][f"{BOTH}, {seed}"] = jobs.predict(network, scene, test)
    result: dict[str, Any] = {"train": len(train), "test": len(test), "seconds": seconds}
    for kind, scene in scenes.items():
        ours = [values[kind][f"{BOTH}, {seed}"] for seed in seeds]
        values[kind][MEAN] = np.mean(ours, 0)
        result[kind] = told(job, scene, test, values[kind], by_area=kinds[kind])
    return result


def _fixed(job: jobs.Job, scene: jobs.Scene, test: jobs.Ids) -> dict[str, Any]:
    """What needs no training: baselines, and places beside the field that networks start from."""
    found = tasks.baseline_fields(scene.pairs, test, scene.climatology)
    network = jobs.build(job, scene, 0)  # which adds nothing yet
    jobs.fit_places(job, scene, network)
    return found | {PLACES: jobs.predict(network, scene, test)}


def told(
    job: jobs.Job,
    scene: jobs.Scene,
    test: jobs.Ids,
    values: Mapping[str, Any],
    *,
    by_area: bool,
) -> dict[str, Any]:
    """The rows of a comparison, the means over the seeds, and the gain over the delta method."""
    x, truth = scene.pairs.read(test)
    comparison = tasks.FieldComparison(
        truth[:, 0],
        {name: value[:, 0] for name, value in values.items()},
        areas=scene.pairs.fine.grid.areas if by_area else None,
        coarse=x[:, 0],
        factor=scene.pairs.factor,
        weighted=by_area,
        climatology=scene.climatology.of(scene.pairs.fine.months[test])[0][:, 0],
        wrap=scene.pairs.wrap,
        block=job.block,
    )
    rows = [row.to_json() for row in comparison.rows(grouped(scene.pairs.fine, test))]
    found: dict[str, Any] = {
        "rows": [{key: shortened(value) for key, value in row.items()} for row in rows],
        "gain": shortened(comparison.gain(MEAN, over=DELTA)),
    }
    for name in (ALONE, BOTH):
        mean = evidence.over_seeds([row["rmse"] for row in of_method(rows, name)])
        gain = 1 - mean["mean"] / of_method(rows, DELTA)[0]["rmse"]
        found[name] = mean | {"gain": evidence.digits(gain)}
    return found


def of_method(
    rows: Sequence[Mapping[str, Any]], method: str, group: str = "all"
) -> list[Mapping[str, Any]]:
    """The rows of a method, of each seed if there are seeds."""
    return [row for row in rows if row["method"].split(", ")[0] == method and row["group"] == group]


def shortened(value: Any) -> Any:
    """Four digits of numbers, and of those in intervals."""
    if isinstance(value, tuple | list):
        return [shortened(each) for each in value]
    return evidence.digits(value) if isinstance(value, float) else value


def grouped(fields: data.Fields, test: jobs.Ids) -> Groups:
    """Seasons of months, decades of years."""
    months = fields.months[test]
    if len(np.unique(months)) > 1:
        return tasks.season_groups(months)
    years = np.array([date.year for date in fields.times[test]])
    return {
        f"{start}s": (np.flatnonzero(years // 10 * 10 == start), None)
        for start in np.unique(years // 10 * 10)
    }


def chosen_times(job: jobs.Job, count: int, *, choose: bool) -> tuple[jobs.Ids, jobs.Ids]:
    """Training and test times; or those of the validation, all of them training times."""
    if choose:
        train, gap, validation = job.validation
        return np.arange(train), np.arange(train + gap, train + gap + validation)
    return np.arange(job.train), np.arange(count - job.test, count)


def table(result: Mapping[str, Any]) -> str:
    """The methods as rows of Markdown; where there are seeds, the mean over them."""
    rows = result["by_cells"]["rows"]
    by_area = result.get("by_area", {}).get("rows", [])
    groups = list(dict.fromkeys(row["group"] for row in rows))
    heads = ("method", *groups, "all, by area", *FIGURES.values())
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for method in dict.fromkeys(row["method"].split(", ")[0] for row in rows):
        cells = [method, *(mean(of_method(rows, method, group), "rmse", ".3f") for group in groups)]
        cells.append(mean(of_method(by_area, method), "rmse", ".3f"))
        for figure in FIGURES:
            digits = ".0e" if figure == "conservation_error" else ".3f"
            cells.append(mean(of_method(rows, method), figure, digits))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def mean(rows: Sequence[Mapping[str, Any]], figure: str, digits: str) -> str:
    """Over the seeds; nothing without rows."""
    return f"{np.mean([row[figure] for row in rows]):{digits}}" if rows else ""


def main() -> int:
    """Train with each seed, measure, and store the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", choices=list(jobs.JOBS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--choose", action="store_true", help="validation in the training period")
    parser.add_argument("--curve", action="store_true", help="a quarter of the times, half, ...")
    parser.add_argument("--table", action="store_true", help="print what --out holds")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    kind = "_validation" * arguments.choose + "_curve" * arguments.curve
    out = arguments.out or evidence.RESULTS / f"downscaling_{arguments.job}{kind}.json"
    if arguments.table:
        evidence.say(table(read_json(out)))
        return 0
    job = jobs.JOBS[arguments.job]
    whole = jobs.opened(job)
    train, test = chosen_times(job, len(whole), choose=arguments.choose)
    settings = {"experiment": f"downscaling_{arguments.job}", "recipe": asdict(job)}
    if arguments.curve:
        sizes = [round(share * len(train)) for share in CURVE]
        result = {
            "curve": [measured(job, whole, train[-size:], test, arguments.seeds) for size in sizes]
        }
    else:
        by_area = not arguments.choose
        result = measured(job, whole, train, test, arguments.seeds, by_area=by_area)
        evidence.say(table(result))
    write_json(out, settings | result | evidence.provenance())
    return 0


if __name__ == "__main__":
    sys.exit(main())
