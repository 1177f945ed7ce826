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
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

import evidence
import field_jobs as jobs
from convarium import data, tasks
from convarium.files import read_json, write_json
from convarium.tasks.field_results import Groups

DELTA, PLACES, ALONE, BOTH, MEAN = (
    "delta + constraint",
    "places alone",
    "network alone",
    "network + places",
    "mean of the seeds",
)
CURVE = (0.25, 0.5, 0.75, 1.0)


def measured(
    job: jobs.Job,
    fields: data.Fields,
    train: jobs.Ids,
    test: jobs.Ids,
    seeds: Sequence[int],
    *,
    by_area: bool = False,
) -> dict[str, Any]:
    """Every method on the test times; ours with each seed, and the mean of the seeds' fields."""
    scene = jobs.set_scene(job, fields, train, weighted=by_area)
    fixed = tasks.baseline_fields(scene.pairs, test, scene.climatology)
    network = jobs.build(job, scene, 0)
    for parameter in network.head.parameters():
        nn.init.zeros_(parameter)
    jobs.fit_places(job, scene, network)
    fixed[PLACES] = jobs.predict(network, scene, test)
    by_seed: dict[str, list[Any]] = {ALONE: [], BOTH: []}
    seconds = []
    for seed in seeds:
        network = jobs.build(job, scene, seed)
        seconds.append(round(jobs.train(job, scene, network, seed), 1))
        by_seed[ALONE].append(jobs.predict(network, scene, test))
        jobs.fit_places(job, scene, network)
        by_seed[BOTH].append(jobs.predict(network, scene, test))
    fixed[MEAN] = np.mean(by_seed[BOTH], 0)
    groups = grouped(scene.pairs.fine, test)
    runs = [
        {"seed": seed, "seconds": seconds[k]}
        | told(job, scene, test, {name: by_seed[name][k] for name in by_seed}, groups, by_area)
        for k, seed in enumerate(seeds)
    ]
    found = told(job, scene, test, fixed, groups, by_area)
    for name in by_seed:
        values = [rmse_of(run, name) for run in runs]
        found.setdefault("over_seeds", {})[name] = evidence.over_seeds(values) | {
            "gain": 1 - float(np.mean(values)) / rmse_of(found, DELTA)
        }
    return {"train": len(train), "test": len(test), "by_area": by_area, **found, "runs": runs}


def told(
    job: jobs.Job,
    scene: jobs.Scene,
    test: jobs.Ids,
    values: Mapping[str, Any],
    groups: Groups,
    by_area: bool,
) -> dict[str, Any]:
    """The rows of a comparison."""
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
    rows = [row.to_json() for row in comparison.rows(groups)]
    return {"rows": [{key: shortened(value) for key, value in row.items()} for row in rows]}


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


def rmse_of(result: Mapping[str, Any], method: str, group: str = "all") -> float:
    """Of one row."""
    found = [row for row in result["rows"] if (row["method"], row["group"]) == (method, group)]
    return float(found[0]["rmse"])


def chosen_times(job: jobs.Job, count: int, *, choose: bool) -> tuple[jobs.Ids, jobs.Ids]:
    """Training and test times; or those of the validation, all of them training times."""
    if choose:
        train, gap, validation = job.validation
        return np.arange(train), np.arange(train + gap, train + gap + validation)
    return np.arange(job.train), np.arange(count - job.test, count)


def table(result: Mapping[str, Any]) -> str:
    """The methods as rows of Markdown: mean over the seeds, and the groups."""
    told = result["by_cells"]
    groups = list(dict.fromkeys(row["group"] for row in told["rows"]))
    heads = ("method", *groups, "by area", "high waves", "conservation", "correlation", "SSIM")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for method in dict.fromkeys(row["method"] for row in told["rows"]):
        lines.append(line(method, [told], result.get("by_area_rows"), groups))
    for method in (ALONE, BOTH):
        lines.append(line(method, told["runs"], result.get("by_area_rows"), groups))
    return "\n".join(lines)


def line(
    method: str,
    results: Sequence[Mapping[str, Any]],
    by_area: Mapping[str, Any] | None,
    groups: Sequence[str],
) -> str:
    """One row: the mean over the results."""
    rows = [
        {row["group"]: row for row in result["rows"] if row["method"] == method}
        for result in results
    ]
    cells = [f"{np.mean([row[group]['rmse'] for row in rows]):.3f}" for group in groups]
    weighted = ""
    if by_area is not None:
        whole = by_area["runs"] if len(results) > 1 or method in (ALONE, BOTH) else [by_area]
        weighted = f"{np.mean([rmse_of(result, method) for result in whole]):.3f}"
    cells.append(weighted)
    for figure, digits in (
        ("high_waves", ".2f"),
        ("conservation_error", ".0e"),
        ("anomaly_correlation", ".3f"),
        ("ssim", ".3f"),
    ):
        cells.append(f"{np.mean([row['all'][figure] for row in rows]):{digits}}")
    return "| " + " | ".join([method, *cells]) + " |"


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
    fields = jobs.opened(job)
    train, test = chosen_times(job, len(fields), choose=arguments.choose)
    settings = {"experiment": f"downscaling_{arguments.job}", "recipe": asdict(job)}
    result: dict[str, Any]
    if arguments.curve:
        sizes = [round(share * len(train)) for share in CURVE]
        result = {
            "curve": [measured(job, fields, train[-size:], test, arguments.seeds) for size in sizes]
        }
    else:
        result = {"by_cells": measured(job, fields, train, test, arguments.seeds)}
        if not arguments.choose:
            result["by_area_rows"] = measured(
                job, fields, train, test, arguments.seeds, by_area=True
            )
        evidence.say(table(result))
    write_json(out, settings | result | evidence.provenance())
    return 0


if __name__ == "__main__":
    sys.exit(main())
