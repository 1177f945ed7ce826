"""The report's page of fine fields: figures beside what needs no training, maps, spectra."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from convarium.data.grids.samples import time_name
from convarium.report import wording
from convarium.report.maps import Scale, field_map
from convarium.report.page import Sample, headline, shared
from convarium.report.panels import Line, draw_key, draw_panel
from convarium.report.pictures import Picture, figure
from convarium.report.svg import Drawing
from convarium.report.templates import write_filled
from convarium.tasks import radial_spectrum
from convarium.tasks.downscaling_results import NETWORK
from convarium.tasks.field_rows import WHOLE
from convarium.tasks.field_scores import share_gained

if TYPE_CHECKING:
    from convarium.data import Dataset, Skipped
    from convarium.data.grids.samples import GridSamples
    from convarium.tasks import FieldComparison, FieldEvaluation, FieldRow

_SHOWN = 3  # times
_WIDTH, _HEIGHT = 560.0, 330.0
_PLAIN = "bilinear"


def write_fields_page(
    path: str | Path,
    *,
    card: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    evaluation: FieldEvaluation,
    dataset: Dataset,
    errors: Sequence[Sample] = (),
    heatmaps: Sequence[Sample] = (),
    skipped: Sequence[Skipped] = (),
    alike: Sequence[tuple[Sample, Sample]] = (),
) -> Path:
    """Write the report of a run that gives fine fields; the others are `write_page`'s arguments.

    Args:
        dataset: that the evaluated times are of.

    Raises:
        RunError: the file cannot be written.
    """
    return write_filled(
        path,
        "fields.html.jinja",
        **shared(card, history, "R2", errors, heatmaps, skipped, alike),
        result=headline(card, evaluation, "val_r2"),
        variables=[
            _variable(evaluation, k, dataset)
            for k, name in enumerate(evaluation.names)
            if name in evaluation.comparisons
        ],
        times=card.get("data", {}).get("times", {}),
        held=card.get("split", {}).get("held_out"),
    )


def _variable(evaluation: FieldEvaluation, k: int, dataset: Dataset) -> dict[str, Any]:
    """Tables, maps and spectra of one variable."""
    name = evaluation.names[k]
    compared, strongest = evaluation.comparisons[name], evaluation.strongest[name]
    rows = evaluation.rows[name]
    gain, interval = evaluation.gains[name]
    return {
        "name": name,
        "unit": evaluation.units[k],
        "strongest": strongest,
        "gain": gain,
        "gain_interval": interval,
        "crps": evaluation.crps[k] if evaluation.ranks(k) else None,
        "crps_interval": next(row.crps_interval for row in rows if row.method == NETWORK),
        "ranks": evaluation.ranks(k),
        "rows": [row for row in rows if row.group == WHOLE],
        "returns": not math.isnan(rows[0].return_error),
        "groups": _groups(rows, strongest),
        "spectra": draw_spectra(compared, [_PLAIN, strongest, NETWORK]),
        "maps": [
            (heading, [figure(picture) for picture in pictures])
            for heading, pictures in _maps(evaluation, k, dataset)
        ],
    }


def _groups(
    rows: Sequence[FieldRow], strongest: str
) -> list[tuple[str, int, FieldRow, FieldRow, float]]:
    """Name, times, the network's row, the strongest other's, and the share that is gained."""
    by_place = {(row.group, row.method): row for row in rows}
    found = []
    for group in dict.fromkeys(row.group for row in rows if row.group != WHOLE):
        ours, theirs = by_place[group, NETWORK], by_place[group, strongest]
        gain = share_gained(ours.rmse, theirs.rmse)
        found.append((group, ours.n, ours, theirs, gain))
    return found


def draw_spectra(compared: FieldComparison, methods: Sequence[str]) -> str:
    """Power by wavenumber of the truth and of some methods, both on logarithmic axes, as an SVG.

    Args:
        compared: the truth and the methods' fields.
        methods: names of some of them.
    """
    drawing = Drawing(_WIDTH, _HEIGHT, "Power spectra of the truth and of fine fields", least=0.7)
    chosen = [name for name in dict.fromkeys(methods) if name in compared.values]
    styles = (("soft", "2 4"), ("miss", "6 4"), ("accent", ""))
    lines = [Line("truth", _power(compared, compared.truth), "ink")]
    for name, (colour, dashes) in zip(chosen, styles[-len(chosen) :], strict=True):
        lines.append(Line(name, _power(compared, compared.values[name]), colour, dashes))
    x = 20.0
    for line in lines:
        x = draw_key(drawing, x, 20, line)
    draw_panel(
        drawing,
        (10, 32, _WIDTH - 20, _HEIGHT - 40),
        lines,
        heading="power",
        across="waves along the shorter side",
        logarithmic=(True, True),
    )
    return drawing.text()


def _power(compared: FieldComparison, values: Any) -> list[tuple[float, float, float, float]]:
    known = np.where(np.isnan(compared.truth), np.nan, values)
    power = radial_spectrum(known, wrap=compared.wrap)
    return [(k, p, p, p) for k, p in enumerate(power.tolist(), start=1)]


def _maps(evaluation: FieldEvaluation, k: int, dataset: Dataset) -> list[tuple[str, list[Picture]]]:
    """Fields and errors of some times, and the errors of each cell over all times."""
    name, unit = evaluation.names[k], evaluation.units[k]
    compared, strongest = evaluation.comparisons[name], evaluation.strongest[name]
    pairs = cast("GridSamples", dataset.samples).pairs
    look: dict[str, Any] = {"latitude": pairs.fine.grid.latitude}
    truth = compared.truth
    apart = {method: compared.values[method] - truth for method in (strongest, NETWORK)}
    signed = Scale.of(*apart.values(), signed=True)
    found = []
    for place in np.unique(np.linspace(0, evaluation.n - 1, _SHOWN).round().astype(int)).tolist():
        fields = {"truth": truth[place], **{m: compared.values[m][place] for m in apart}}
        scale = Scale.of(*fields.values())
        pictures = [field_map(v, scale, m, scale.words(unit), **look) for m, v in fields.items()]
        if compared.coarse is not None:
            coarse = compared.coarse[place]
            own = field_map(coarse, scale, "coarse", "what is read", **look, factor=pairs.factor)
            pictures.insert(0, own)
        for method, values in apart.items():
            note = signed.words(unit)
            pictures.append(field_map(values[place], signed, f"{method} - truth", note, **look))
        heading = f"{name}, {time_name(pairs.fine.times[evaluation.ids[place]])}"
        found.append((heading, pictures))
    with np.errstate(invalid="ignore"):  # cells that never are known have no error
        counts = (~np.isnan(truth)).sum(0)
        roots = {m: np.sqrt(np.nansum(v**2, 0) / counts) for m, v in apart.items()}
    scale = Scale.of(*roots.values())
    pictures = [
        field_map(v, scale, f"RMSE of {m}", f"{wording.number(float(np.nanmean(v)))} on average; "
                  f"{scale.words(unit)}", **look)
        for m, v in roots.items()
    ]  # fmt: skip
    return [*found, (f"{name}, errors of each cell", pictures)]
