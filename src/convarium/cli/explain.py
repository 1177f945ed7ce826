"""`convarium explain RUN INPUT...`: heatmaps beside the predictions, or views of filters."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convarium.cli.parsing import Parser, positive, write, write_json
from convarium.cli.reading import add_input_columns, input_columns
from convarium.errors import DataError, OptionError, did_you_mean
from convarium.explain.methods import METHODS
from convarium.report.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from convarium.data import Skipped
    from convarium.predict import Run
    from convarium.report import Explained

_METHODS = {name.replace("_", "-"): method for name, method in METHODS.items()}


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    parser.intermixed = True
    parser.add_argument("run", metavar="RUN", help="a run folder of 'convarium train'")
    parser.add_argument("inputs", metavar="INPUT", nargs="*", help="files, folders or patterns")
    told = "; ".join(f"{name}: {method.about}" for name, method in _METHODS.items())
    parser.add_argument(
        "--method",
        choices=_METHODS,
        metavar="NAME",
        help=f"(grad-cam; texts, series: hires-cam) {told}",
    )
    parser.add_argument("--target", metavar="CLASS", help="the class to explain (the predicted)")
    parser.add_argument(
        "--layer",
        action="append",
        metavar="NAME",
        help="dotted name of the layer (the network's own choice); given several times, fused",
    )
    parser.add_argument(
        "--shared-scale", action="store_true", help="one scale for all, so that maps compare"
    )
    parser.add_argument(
        "--faithfulness",
        action="store_true",
        help="measure deletion, insertion and average drop, each with its controls",
    )
    parser.add_argument(
        "--most", type=positive, help="how many at most (48; exciting inputs 12, filters all)"
    )
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", default="heatmaps", help="where to write (heatmaps)"
    )
    add_input_columns(parser)
    views = parser.add_mutually_exclusive_group()
    views.add_argument("--filters", action="store_true", help="draw the first layer's filters")
    views.add_argument("--maps", metavar="LAYER", help="draw the maps of a layer for one INPUT")
    views.add_argument(
        "--exciting", metavar="LAYER:CHANNEL", help="draw what of INPUT excites a channel most"
    )


def run(arguments: argparse.Namespace) -> int:
    """Explain each image that can be read, and write pictures, a page and JSON."""
    from convarium import predict

    opened = predict.open_run(arguments.run)
    if arguments.filters or arguments.maps or arguments.exciting:
        from convarium.cli.viewing import view

        return view(arguments, opened)
    if not arguments.inputs:
        raise OptionError("INPUT is missing: name files, folders or patterns to explain.")
    if opened.preprocessing.kind == "grids":
        from convarium.cli.explaining_fields import explain_fields

        return explain_fields(arguments, opened)
    target = _class_number(arguments.target, opened.card["classes"])
    if opened.preprocessing.kind in ("texts", "series"):
        from convarium.cli.explaining_sequences import explain_sequences

        return explain_sequences(arguments, opened, target)
    return _heatmaps(arguments, opened, target)


def _heatmaps(arguments: argparse.Namespace, opened: Run, target: int | None) -> int:
    from convarium import data, files, report

    method = arguments.method or "grad-cam"
    columns = input_columns(arguments, opened)
    kind = opened.preprocessing.kind
    dataset = data.open_inputs(arguments.inputs, kind=kind, columns=columns)
    explained = report.explain_samples(
        opened,
        dataset,
        most=arguments.most or 48,
        target=target,
        layer=arguments.layer,
        method=method.replace("-", "_"),
        shared=arguments.shared_scale,
        faithful=arguments.faithfulness,
    )
    skipped = [*dataset.skipped, *explained.skipped]
    if not explained.pictures:
        raise DataError(
            f"None of the inputs can be read; the first: {skipped[0].name} ({skipped[0].reason})."
        )
    folder = Path(arguments.output)
    overlays, shared = report.write_overlays(folder, explained), explained.shared
    about = f"{_METHODS[method].title} at {explained.layer}"
    page = report.heatmap_page(
        folder / "heatmaps.html",
        explained.pictures,
        f"{opened.folder.name}: where the network looks",
        about=about,
        shows=_METHODS[method].shows,
        shared=shared,
        scores=explained.scores,
    )
    sheet = report.heatmap_sheet(folder / "heatmaps.png", explained.pictures, shared=shared)
    heat = report.write_heat(folder, opened, dataset, explained)
    places: dict[str, Any] = {"page": str(page), "sheet": str(sheet)}
    places |= {"heat": [str(path) for path in heat]} if heat else {}
    told = _told(explained, places, overlays, heat, skipped)
    files.write_json(folder / "heatmaps.json", told)
    if arguments.json:
        write_json(told)
        return 0
    say(explained.rows, told)
    write(f"{about}: {page}, {sheet} and {counted(len(overlays), 'overlays')} beside them")
    if heat:
        write(f"heat at the volumes' own voxels: {counted(len(heat), 'files')} beside them")
    return 0


def say(rows: Sequence[Mapping[str, Any]], told: dict[str, Any]) -> None:
    """A line an input, the scores, notes, and what was left out."""
    for row in rows:
        write(f"{row['name']}: {row['prediction']}; heatmap of {row['target']}: {row['status']}")
    for name, figures in told.get("faithfulness", {}).items():
        write(_sentence(name, figures))
    for note in dict.fromkeys(row["note"] for row in rows if row["note"]):
        write(note)
    say_skipped(told["skipped"])


def say_skipped(skipped: list[dict[str, str]]) -> None:
    """A line for each input that was left out."""
    for item in skipped:
        sys.stderr.write(f"skipped {item['name']}: {item['reason']}\n")


def _told(
    explained: Explained,
    places: dict[str, Any],
    overlays: tuple[Path, ...],
    heat: tuple[Path, ...],
    skipped: list[Skipped],
) -> dict[str, Any]:
    """All of it for programs; file names are those in the output folder."""
    from convarium import report

    written = [{"overlay": path.name} for path in overlays]
    for files, path in zip(written, heat, strict=False):
        files["heat"] = path.name
    rows = zip(explained.rows, written, strict=True)
    return {
        **places,
        "method": explained.method,
        "layer": explained.layer,
        "shared_scale": explained.shared,
        "explanations": [{**row, "files": files} for row, files in rows],
        **({"faithfulness": report.score_json(explained.scores)} if explained.scores else {}),
        "skipped": [{"name": item.name, "reason": item.reason} for item in skipped],
    }


def _sentence(name: str, figures: dict[str, Any]) -> str:
    """A measure beside its controls, for a terminal."""
    columns = {"heatmaps": "score", "random": "random", "edges": "edges"}
    known = {word: figures[key] for word, key in columns.items() if figures[key] is not None}
    numbers = ", ".join(
        f"{word} {'-' if each['value'] is None else format(each['value'], '.3g')}"
        for word, each in known.items()
    )
    return f"{name.replace('_', ' ')} ({figures['better']} is better): {numbers}"


def _class_number(name: str | None, classes: list[str]) -> int | None:
    if name is None:
        return None
    if name not in classes:
        raise OptionError(
            f"--target (={name!r}) is not a class of this run.{did_you_mean(name, classes)} "
            f"It knows: {', '.join(classes[:20])}."
        )
    return classes.index(name)
