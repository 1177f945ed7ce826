"""`convarium explain RUN INPUT...`: heatmaps beside the predictions, as pictures and a page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from convarium.cli.parsing import Parser, positive, write, write_json
from convarium.errors import DataError, OptionError, did_you_mean


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    parser.add_argument("run", metavar="RUN", help="a run folder of 'convarium train'")
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="files, folders or patterns")
    parser.add_argument("--target", metavar="CLASS", help="the class to explain (the predicted)")
    parser.add_argument("--layer", help="dotted name of the layer (the network's own choice)")
    parser.add_argument("--most", type=positive, default=48, help="images at most (48)")
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", default="heatmaps", help="where to write (heatmaps)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Explain each image that can be read, and write a page and a sheet of pictures."""
    from convarium import data, predict, report

    opened = predict.open_run(arguments.run)
    target = _class_number(arguments.target, opened.card["classes"])
    dataset = data.open_inputs(arguments.inputs, kind=opened.preprocessing.kind)
    explained = report.explain_samples(
        opened, dataset, most=arguments.most, target=target, layer=arguments.layer
    )
    skipped = [*dataset.skipped, *explained.skipped]
    if not explained.pictures:
        raise DataError(
            f"None of the inputs can be read; the first: {skipped[0].name} ({skipped[0].reason})."
        )
    folder = Path(arguments.output)
    title = f"{opened.folder.name}: where the network looks"
    page = report.heatmap_page(folder / "heatmaps.html", explained.pictures, title)
    sheet = report.heatmap_sheet(folder / "heatmaps.png", explained.pictures)
    heat = [str(path) for path in report.write_heat(folder, opened, dataset, explained)]
    if arguments.json:
        left_out = [{"name": item.name, "reason": item.reason} for item in skipped]
        places = {"page": str(page), "sheet": str(sheet), **({"heat": heat} if heat else {})}
        write_json({**places, "explanations": list(explained.rows), "skipped": left_out})
        return 0
    for row in explained.rows:
        write(f"{row['name']}: {row['prediction']}; heatmap of {row['target']}: {row['status']}")
    for item in skipped:
        sys.stderr.write(f"skipped {item.name}: {item.reason}\n")
    write(f"Grad-CAM at {explained.layer}: {page} and {sheet}")
    if heat:
        write(f"heat at the volumes' own voxels: {len(heat)} files beside them")
    return 0


def _class_number(name: str | None, classes: list[str]) -> int | None:
    if name is None:
        return None
    if name not in classes:
        raise OptionError(
            f"--target (={name!r}) is not a class of this run.{did_you_mean(name, classes)} "
            f"It knows: {', '.join(classes[:20])}."
        )
    return classes.index(name)
