"""What the figures of stored results on gridded fields are, in words; see `results_known.py`."""

from __future__ import annotations

from collections.abc import Callable

from results_figures import Figure, Known, Result, number, percent, row

_NETWORKS = ("network alone", "network + places")
_COUNTED = {"by_cells": "", "by_area": ", cells counted by area"}
_BRIEF = ("delta + constraint", "places alone")
_ASKED = f"{_NETWORKS[-1]}: root mean square"


def downscaling(result: Result) -> list[Figure]:
    """Time and memory of making files of fields finer."""
    bounds, rows = result["bounds"], []
    limit = f"at most {number(bounds['seconds_of_10000'])} s for 10,000"
    memory = f"at most {number(bounds['bytes'] / 1e9)} GB"
    for name, asked in (("many", (limit, "")), ("large", ("", memory))):
        found = result[name]
        what = f"{found['fields']:,} fields of {' x '.join(map(str, found['cells']))} cells"
        rows.append(row(f"{what}: time", found["seconds"], n="1 run", unit=" s", asked=asked[0]))
        rows.append(
            row(f"{what}: memory", found["bytes"] / 1e9, n="1 run", unit=" GB", asked=asked[1])
        )
    return rows


def experiment(goal: str) -> Callable[[Result], list[Figure]]:
    """The errors of all methods, and those of the network over its seeds.

    Args:
        goal: asked of the network with places, on the test.
    """

    def figures(result: Result) -> list[Figure]:
        """Of each way in which cells are counted, or of each length of the training."""
        unit = result["recipe"]["unit"]
        if "curve" not in result:
            parts = [(_COUNTED[name], result[name]) for name in _COUNTED if name in result]
        else:
            of_lengths = result["curve"]
            parts = [(f", {it['train']} times of training", it["by_cells"]) for it in of_lengths]
        brief = "curve" in result
        rows = [row for words, it in parts for row in _errors(words, it, unit, brief=brief)]
        return [
            it._replace(asked=goal) if "by_area" in result and it.what == _ASKED else it
            for it in rows
        ]

    return figures


def _errors(words: str, found: Result, unit: str, *, brief: bool) -> list[Figure]:
    """A row a method, its interval over the fields of the test; then the network over seeds.

    Args:
        words: behind what each figure is.
        found: of one way, or of one length.
        unit: of the errors.
        brief: of the other methods only those that learn from the places.
    """
    rows = []
    for it in found["rows"]:
        shown = not it["method"][-1].isdigit()  # nor each seed's own
        if it["group"] == "all" and shown and (not brief or it["method"] in _BRIEF):
            low, high = it["rmse_interval"]
            spread, n = f"({number(low)} to {number(high)})", f"{it['n']} fields"
            name = it["method"].replace("seeds", "seeds, as one field")
            what = f"{name}: root mean square{words}"
            rows.append(Figure(what, f"{number(it['rmse'])} {unit}", n, spread, ""))
    for name in _NETWORKS:
        told = row(f"{name}: root mean square{words}", found[name], unit=f" {unit}")
        rows.append(told._replace(n="1 seed" if told.n == "1" else f"{told.n} seeds"))
    share, (low, high) = found["gain"]
    spread = f"({percent(low)} to {percent(high)})"
    what = f"{_NETWORKS[-1]}, seeds as one field: under delta + constraint{words}"
    return [*rows, Figure(what, percent(share), f"{found['rows'][0]['n']} fields", spread, "")]


KNOWN = {
    "downscaling": Known("Finer fields", "From coarse files to fine ones.", downscaling),
    "downscaling_warming": Known(
        "Downscaling warming",
        "Warming of months of the 21st century, made finer from its coarse field.",
        experiment("at most 0.21 K"),
    ),
    "downscaling_winds": Known(
        "Downscaling winds",
        "Monthly winds made finer: the last months, or with `--choose` months before them.",
        experiment("at most 0.69 m/s"),
    ),
}
