"""`convarium explain RUN FIELD` of gridded fields: which of them count, and where."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from convarium.cli.parsing import write, write_json
from convarium.errors import OptionError

if TYPE_CHECKING:
    from convarium.data import Dataset, FieldPreprocessing, Part
    from convarium.explain.permuted_fields import FieldImportance
    from convarium.predict import Run

_OF_CLASSES = ("method", "layer", "target", "faithfulness", "shared_scale")
_OF_SAMPLES = {"most": "--most", "text_column": "--text", "id_column": "--id"}


def explain_fields(arguments: argparse.Namespace, run: Run) -> int:
    """Permute each field among the times, and write a page with maps of what that changes."""
    from convarium import files
    from convarium.explain.permuted_fields import field_importance
    from convarium.predict.downscaling import checked_network

    for name in _OF_CLASSES:
        if getattr(arguments, name, None):
            flag = "--" + name.replace("_", "-")
            raise OptionError(
                f"{flag} is for classes, and {run.folder} gives fields; leave it out."
            )
    for name, flag in _OF_SAMPLES.items():
        if getattr(arguments, name, None):
            raise OptionError(f"{flag} is for samples; of fields all times are read: leave it out.")
    if len(arguments.inputs) != 1:
        raise OptionError("A run of fields takes one INPUT: the file that the fine fields are in.")
    steps = cast("FieldPreprocessing", run.preprocessing)
    part = _times(run, arguments.inputs[0])
    found = field_importance(checked_network(run), part, steps)
    folder = Path(arguments.output)
    page = _page(folder / "importance.html", run, found, steps)
    rows = [{"name": each.name, "rmse": each.rmse, "gain": each.gain} for each in found]
    told = {"page": str(page), "times": len(part), "rmse": found[0].plain, "fields": rows}
    files.write_json(folder / "importance.json", told)
    if arguments.json:
        write_json(told)
        return 0
    for each in found:
        write(f"  {each.sentence()}")
    write(f"{len(part)} times, each field from another one of them: {page}")
    return 0


def _times(run: Run, source: str) -> Dataset | Part:
    """The test times of the data that the run was trained on, else all times."""
    from convarium import data

    columns: dict[str, Any] = dict(run.columns)
    dataset = data.open_dataset(source, task=run.card["task"], **columns)
    return run.part(dataset, "test") if run.trained_on(dataset) else dataset


def _page(
    path: Path, run: Run, found: tuple[FieldImportance, ...], steps: FieldPreprocessing
) -> Path:
    """A map for each field, on one scale of colours."""
    from convarium.report.maps import Scale, field_map
    from convarium.report.tiles import view_page

    scale = Scale.of(*(each.cells for each in found), signed=True)
    pictures = []
    for each in found:
        times = each.rmse / each.plain if each.plain else math.inf
        note = f"error {times:.2f} times as large; {scale.words('deviations')}"
        pictures.append(field_map(each.cells, scale, each.name, note, latitude=steps.grid.latitude))
    lead = (
        "How much larger the error of each cell gets when a field is taken from another time: red "
        "where it is larger. A field that says what others say, too, changes little."
    )
    return view_page(path, pictures, f"{run.folder.name}: which fields count", lead)
