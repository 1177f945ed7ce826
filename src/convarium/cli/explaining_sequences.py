"""`convarium explain RUN INPUT...` for texts and series: heat along them, as a page and as JSON."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from convarium.cli.explain import say
from convarium.cli.parsing import write, write_json
from convarium.cli.reading import input_columns
from convarium.errors import DataError, OptionError
from convarium.explain.methods import METHODS

if TYPE_CHECKING:
    from convarium.predict import Run

_PICTURES = {"shared_scale": "--shared-scale", "faithfulness": "--faithfulness"}


def explain_sequences(arguments: argparse.Namespace, run: Run, target: int | None) -> int:
    """Explain each text or series that can be read, and write a page and JSON."""
    from convarium import data, files, report
    from convarium.report.explained_sequences import explain_sequences as explained

    for name, flag in _PICTURES.items():
        if getattr(arguments, name):
            raise OptionError(f"{flag} is for images and volumes; leave it out.")
    columns = input_columns(arguments, run)
    dataset = data.open_inputs(arguments.inputs, kind=run.preprocessing.kind, columns=columns)
    sequences, rows, unread, _ = explained(
        run,
        dataset,
        most=arguments.most or 48,
        target=target,
        layer=arguments.layer,
        method=(arguments.method or "hires-cam").replace("-", "_"),
    )
    skipped = [*dataset.skipped, *unread]
    if not sequences:
        raise DataError(
            f"None of the inputs can be read; the first: {skipped[0].name} ({skipped[0].reason})."
        )
    folder = Path(arguments.output)
    title = f"{run.folder.name}: where the network looks"
    known = METHODS[rows[0]["method"]]
    about = f"{known.title} at {rows[0]['layer']}"
    page = report.sequence_page(
        folder / "heatmaps.html", sequences, title, about=about, shows=known.shows
    )
    left_out = [{"name": item.name, "reason": item.reason} for item in skipped]
    told = {"page": str(page), "explanations": [*rows], "skipped": left_out}
    files.write_json(folder / "heatmaps.json", told)
    if arguments.json:
        write_json(told)
        return 0
    say(rows, told)
    write(f"{about}: {page}")
    return 0
