"""`convarium explain RUN INPUT...` for texts and series: heat along them as a page, PNG, JSON."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convarium.cli.explain import say
from convarium.cli.parsing import write, write_json
from convarium.cli.reading import input_columns
from convarium.errors import DataError
from convarium.explain.methods import METHODS
from convarium.report.wording import counted

if TYPE_CHECKING:
    from convarium.data import Skipped
    from convarium.predict import Run
    from convarium.report.explained_sequences import ExplainedSequences


def explain_sequences(arguments: argparse.Namespace, run: Run, target: int | None) -> int:
    """Explain each text or series that can be read, and write pictures, a page and JSON."""
    from convarium import data
    from convarium.report.explained_sequences import explain_sequences as explained

    columns = input_columns(arguments, run)
    dataset = data.open_inputs(arguments.inputs, kind=run.preprocessing.kind, columns=columns)
    found = explained(
        run,
        dataset,
        most=arguments.most or 48,
        target=target,
        layer=arguments.layer,
        method=(arguments.method or "hires-cam").replace("-", "_"),
        shared=arguments.shared_scale,
        faithful=arguments.faithfulness,
    )
    rows, skipped = found.rows, [*dataset.skipped, *found.skipped]
    if not rows:
        raise DataError(
            f"None of the inputs can be read; the first: {skipped[0].name} ({skipped[0].reason})."
        )
    told, about = _written(arguments, run, found, skipped)
    if arguments.json:
        write_json(told)
        return 0
    say(rows, told)
    overlays = counted(len(rows), "overlays")
    write(f"{about}: {told['page']}, {told['sheet']} and {overlays} beside them")
    return 0


def _written(
    arguments: argparse.Namespace, run: Run, found: ExplainedSequences, skipped: list[Skipped]
) -> tuple[dict[str, Any], str]:
    """Pictures, page and JSON as files; what programs are told, and how the heat was made."""
    from convarium import files, report
    from convarium.report.sequence_pictures import write_sequence_pictures

    folder, rows = Path(arguments.output), found.rows
    known = METHODS[rows[0]["method"]]
    about = f"{known.title} at {rows[0]['layer']}"
    overlays, sheet = write_sequence_pictures(folder, found)
    page = report.sequence_page(
        folder / "heatmaps.html",
        found.sequences,
        f"{run.folder.name}: where the network looks",
        about=about,
        shows=known.shows,
        shared=arguments.shared_scale,
        scores=found.scores,
    )
    told = {
        "page": str(page),
        "sheet": str(sheet),
        "method": rows[0]["method"],
        "layer": rows[0]["layer"],
        "shared_scale": arguments.shared_scale,
        "explanations": [
            {**row, "files": {"overlay": path.name}}
            for row, path in zip(rows, overlays, strict=True)
        ],
        **({"faithfulness": report.score_json(found.scores)} if found.scores else {}),
        "skipped": [{"name": item.name, "reason": item.reason} for item in skipped],
    }
    files.write_json(folder / "heatmaps.json", told)
    return told, about
