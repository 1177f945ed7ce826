"""What a network finds in coarse fields that the delta method does not: monthly winds, and warming.

    python experiments/downscaling.py winds
    python experiments/downscaling.py warming
    python experiments/downscaling.py winds --choose      the same by validation, before the test
    python experiments/downscaling.py winds --curve       the error by training times
    python experiments/downscaling.py winds --table

Coarse fields are means of 4 x 4 cells. A network is trained as `convarium train --task downscale`
trains it: it learns from all cells together, from blocks that begin anywhere; what it leaves is
fitted place by place. Draws are its field with what it does not know, as rough as the truth. The
test times are the last. They were read once before the rule came that averages of places drift
unless another level validates clearly better (winds had .736 then); docs/results says more.

Winds: U from U and V, months 1 to 100 for training, the next 8 for validation, and the last 24 of
132 for the test (Debian's `ferret-datasets`, public domain). Warming: air temperature of the A1B
scenario over North America, 160 years for training, 20 for validation and the last 60 for the test
(PyPI's `iris-sample-data`, UK Open Government Licence). Both from `make data`.
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
from convarium.tasks.field_distributions import member_cells
from convarium.tasks.field_groups import Groups

DELTA, PLACES, ALONE, BOTH, DRAW, MEAN = (
    "delta + constraint",
    "places alone",
    "network alone",
    "network + places",
    "a draw of it",
    "mean of the seeds",
)
FIGURES = {
    "high_waves": "high waves",
    "conservation_error": "conservation",
    "anomaly_correlation": "correlation",
    "ssim": "SSIM",
    "crps": "CRPS",
}
CURVE = (0.25, 0.5, 0.75, 1.0)


def measured(
    job: jobs.Job,
    fields: data.Fields,
    times: tuple[jobs.Ids, jobs.Ids, jobs.Ids],
    seeds: Sequence[int],
    *,
    by_area: bool = False,
) -> dict[str, Any]:
    """Every method on the test times; ours with each seed, and the mean of the seeds' fields.

    By area the block means are weighted ones: the networks stay what they are, and their places
    are fitted anew, with the penalty and the level of the places alone.
    """
    kinds = {"by_cells": False} | ({"by_area": True} if by_area else {})
    scenes = {
        kind: jobs.set_scene(job, fields, times, weighted=weighted)
        for kind, weighted in kinds.items()
    }
    values, recipe = {}, None
    for kind, scene in scenes.items():
        network = jobs.build(scene, 0)  # which adds nothing yet
        recipe = jobs.fit_places(scene, network, recipe)
        values[kind] = jobs.baselines(scene) | {PLACES: jobs.predict(network, scene)}
    members: dict[str, Any] = {kind: {} for kind in kinds}
    seconds = []
    for seed in seeds:
        network = jobs.build(scenes["by_cells"], seed)
        seconds.append(round(jobs.train(job, scenes["by_cells"], network, seed), 1))
        alone = copy.deepcopy(network)
        jobs.without_places(alone)
        for kind, scene in scenes.items():
            values[kind][f"{ALONE}, {seed}"] = jobs.predict(alone, scene)
            if kind != "by_cells":
                jobs.fit_places(scene, network, recipe)
            ours = values[kind][f"{BOTH}, {seed}"] = jobs.predict(network, scene)
            members[kind][f"{DRAW}, {seed}"] = jobs.draws(network, scene, ours)
    parts = scenes["by_cells"].parts
    result: dict[str, Any] = parts.counts | {"seconds": seconds}
    for kind, scene in scenes.items():
        ours = [values[kind][f"{BOTH}, {seed}"] for seed in seeds]
        values[kind] |= {name: each[0] for name, each in members[kind].items()}
        values[kind][MEAN] = np.mean(ours, 0)
        result[kind] = told(job, scene, values[kind], members[kind], by_area=kinds[kind])
    return result


def told(
    job: jobs.Job,
    scene: jobs.Scene,
    values: Mapping[str, Any],
    members: Mapping[str, Any],
    *,
    by_area: bool,
) -> dict[str, Any]:
    """The rows of a comparison, the means over the seeds, and the gain over the delta method."""
    test = scene.parts.test.ids
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
        crps={name: member_cells(truth[:, 0], each[:, :, 0]) for name, each in members.items()},
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
    if isinstance(value, Mapping):
        return {name: shortened(each) for name, each in value.items()}
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
    fields = jobs.opened(job)
    times = jobs.times_of(job, len(fields), choose=arguments.choose)
    settings = {"experiment": f"downscaling_{arguments.job}", "recipe": asdict(job)}
    if arguments.curve:
        train, *others = times
        latest = [train[-round(share * len(train)) :] for share in CURVE]
        result = {
            "curve": [measured(job, fields, (some, *others), arguments.seeds) for some in latest]
        }
    else:
        by_area = not arguments.choose
        result = measured(job, fields, times, arguments.seeds, by_area=by_area)
        evidence.say(table(result))
    write_json(out, settings | result | evidence.provenance())
    return 0


if __name__ == "__main__":
    sys.exit(main())
