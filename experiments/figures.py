"""The figure of `plain_against_residual.py`, from its JSON alone.

    python experiments/plain_against_residual.py --figure

Above, training and validation error by epoch; below, the norm of the gradient at every
convolution's weights, before the first step and after the last. Lines are means over the seeds,
bands reach from the lowest to the highest. Colour and dots tell plain from residual, dashes 20
layers from 56.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from convarium.files import read_json, write_bytes, write_text
from convarium.report import svg_as_png, wording
from convarium.report.panels import Line, draw_key, draw_panel
from convarium.report.svg import Drawing

WIDTH, HEIGHT, MARGIN, GAP = 820.0, 700.0, 20.0, 20.0
TOP, HIGH = 114.0, 270.0
STYLES = {
    "plain20_cifar": Line("plain-20", (), "miss", "6 5", 2.6),
    "plain56_cifar": Line("plain-56", (), "miss", "", 2.6),
    "resnet20_cifar": Line("ResNet-20", (), "accent", "6 5"),
    "resnet56_cifar": Line("ResNet-56", (), "accent"),
}
FOOT = "Behind the names: errors of the weights that validation chose. Lines: means over the seeds."
TITLE = "Plain and residual networks of 20 and 56 layers"

Points = list[tuple[float, float, float, float]]
Run = Mapping[str, Any]
Measured = Callable[[Run], Iterable[tuple[float, float | None]]]


def write(path: Path, figure: Callable[[Mapping[str, Any]], str] | None = None) -> list[Path]:
    """Draw the result in the JSON file; gives the SVG and the PNG beside it."""
    svg = (figure or draw)(read_json(path))
    files = [path.with_suffix(suffix) for suffix in (".svg", ".png")]
    write_text(files[0], svg + "\n")
    write_bytes(files[1], svg_as_png(svg))
    return files


def draw(result: Mapping[str, Any]) -> str:
    """The figure as SVG."""
    drawing = Drawing(WIDTH, HEIGHT, told(result), least=0.6)
    drawing.rectangle((0, 0, WIDTH, HEIGHT), "card", corner=6)
    drawing.words(MARGIN, 28, TITLE, size=16, weight=600)
    drawing.words(MARGIN, 48, wording.shorten(conditions(result), 114), "soft", size=11)
    wide = (WIDTH - 2 * MARGIN - GAP) / 2
    finished = {name: runs_of(result, name) for name in STYLES}
    for k, (name, style) in enumerate(STYLES.items()):
        place = (MARGIN + k // 2 * (wide + GAP), 74 + k % 2 * 20)
        draw_key(drawing, *place, style._replace(name=named(result, name)))
    rows = [
        [("Training error while the epoch ran", trained), ("Validation error", validated)],
        [
            ("Gradient norm before the first step", initial),
            ("Gradient norm after the last epoch", final),
        ],
    ]
    for row, panels in enumerate(rows):
        drawn = [lines(finished, measured) for _, measured in panels]
        points = [point for each in drawn for line in each for point in line.points]
        held = [value for point in points for value in point[1:]]
        for column, ((heading, _), each) in enumerate(zip(panels, drawn, strict=True)):
            draw_panel(
                drawing,
                (MARGIN + column * (wide + GAP), TOP + row * (HIGH + GAP), wide, HIGH),
                each,
                heading=heading,
                across="convolution, from the input on" if row else "epoch",
                logarithmic=(False, bool(row)),
                shares=not row,
                held=held,
            )
    drawing.words(MARGIN, HEIGHT - 12, FOOT, "soft", size=11)
    return drawing.text()


def lines(finished: Mapping[str, Sequence[Run]], measured: Measured) -> list[Line]:
    """A line for each network; `measured` gives places and values of one run."""
    return [
        STYLES[name]._replace(points=spread(measured(run) for run in runs))
        for name, runs in finished.items()
    ]


def spread(runs: Iterable[Iterable[tuple[float, float | None]]]) -> Points:
    """Lowest value, mean and highest over the runs at each place."""
    found: dict[float, list[float]] = {}
    for run in runs:
        for place, value in run:
            if value is not None:
                found.setdefault(place, []).append(value)
    return [
        (place, min(values), statistics.mean(values), max(values))
        for place, values in sorted(found.items())
    ]


def trained(run: Run) -> Iterable[tuple[float, float | None]]:
    """Error on the training images as they were seen, over each epoch."""
    return [(row["epoch"], 1 - row["train_acc"]) for row in run["history"]]


def validated(run: Run) -> Iterable[tuple[float, float | None]]:
    """Error on the images that choose the epoch, after each."""
    return [(row["epoch"], 1 - row["val_acc"]) for row in run["history"]]


def initial(run: Run) -> Iterable[tuple[float, float | None]]:
    """The gradient's norm at each convolution's weights before the first step."""
    return enumerate(run["gradients"][0]["weight_gradients"], 1)


def final(run: Run) -> Iterable[tuple[float, float | None]]:
    """The same after the last epoch."""
    return enumerate(run["gradients"][-1]["weight_gradients"], 1)


def runs_of(result: Mapping[str, Any], name: str) -> list[Run]:
    """The runs of a network that came to an end."""
    return [run for run in result["runs"] if run["network"] == name and "test" in run]


def named(result: Mapping[str, Any], name: str) -> str:
    """A network and its errors, for the key."""
    found, runs = result["summary"].get(name), runs_of(result, name)
    all_runs = sum(run["network"] == name for run in result["runs"])
    words = STYLES[name].name
    if all_runs > len(runs):
        words += f" ({all_runs - len(runs)} of {all_runs} diverged)"
    if found is None:
        return f"{words}: no run" if not all_runs else words
    errors = [wording.percent(found[f"{part}_error"]["mean"]) for part in ("train", "test")]
    return f"{words}: training {errors[0]}, test {errors[1]}"


def conditions(result: Mapping[str, Any]) -> str:
    """Data, length and seeds."""
    settings = result["settings"]
    done = [run for run in result["runs"] if "test" in run]
    seeds = sorted({run["seed"] for run in done})
    images = " and ".join(
        f"{wording.count(run[part]['n'])} {word}"
        for run in done[:1]
        for part, word in (("train", "training"), ("test", "test"))
    )
    words = f"{Path(settings['source']).name}, {images or 'no'} images, "
    words += f"{settings['recipe']['epochs']} epochs; seed{'s' if len(seeds) > 1 else ''} "
    return words + (", ".join(map(str, seeds)) or "none") + "; tinted: lowest to highest"


def told(result: Mapping[str, Any]) -> str:
    """The figure in words, for those who cannot see it."""
    return f"{TITLE}: {'; '.join(named(result, name) for name in STYLES)}"
