"""The views of `convarium explain`: filters, maps of a layer, what excites a channel."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from convarium.cli.explain import say_skipped
from convarium.cli.parsing import write, write_json
from convarium.cli.reading import input_columns
from convarium.errors import DataError, OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from convarium.data import Batch, Dataset, Skipped
    from convarium.explain import Excitement
    from convarium.predict import Run
    from convarium.progress import Progress
    from convarium.report import HeatedSeries, HeatedTokens, Picture

_MOST = 48
_OF_HEATMAPS = {
    "target": "--target",
    "layer": "--layer",
    "faithfulness": "--faithfulness",
    "method": "--method",
}
_OF_TABLES = {"text_column": "--text", "id_column": "--id"}
_ALONG = {  # of what is drawn as a whole, how its maps are
    "texts": "The colour of a token is the value there: orange above 0, blue below.",
    "series": "Each map is stretched to the time steps of the series.",
}
_PARTS = {  # what is told of the part that excites
    "images": "The frame is what this place can see; where there is none, it can see all.",
    "volumes": "The slices go through the middle of what this place can see.",
    **dict.fromkeys(
        _ALONG, "In colour is what this place can see; where nothing is, it can see all."
    ),
}
_OWN_SCALE = "each has its own scale, so that weak ones are seen too"
_ONE_SCALE = "all share one scale, so that they can be compared"


def view(arguments: argparse.Namespace, opened: Run) -> int:
    """Draw what was asked for as a sheet and a page, with JSON beside them."""
    others = {**_OF_HEATMAPS, **(_OF_TABLES if arguments.filters else {})}
    for name, flag in others.items():
        if getattr(arguments, name):
            raise OptionError(f"{flag} belongs to heatmaps; leave it out to draw this view.")
    if arguments.exciting and arguments.shared_scale:
        raise OptionError("--shared-scale is of maps and filters; --exciting draws neither.")
    if arguments.filters:
        return _filters(arguments, opened)
    if opened.preprocessing.kind == "grids":
        raise OptionError(
            f"--maps and --exciting look at one sample after another, and {opened.folder} gives "
            "fields; leave them out, which shows which fields count, or take --filters."
        )
    if not arguments.inputs:
        raise OptionError("INPUT is missing: name files, folders or patterns to look at.")
    return _maps(arguments, opened) if arguments.maps else _exciting(arguments, opened)


def _filters(arguments: argparse.Namespace, opened: Run) -> int:
    from convarium import explain, report

    if arguments.inputs:
        raise OptionError(
            f"--filters draws weights and takes no INPUT (={arguments.inputs[0]!r}); leave it out."
        )
    found = explain.filters(opened.model)
    pictures = report.filter_pictures(found, shared=arguments.shared_scale)
    shown = pictures[: arguments.most or len(pictures)]
    count, channels, *sides = found.weights.shape
    scale = _ONE_SCALE if arguments.shared_scale else _OWN_SCALE
    lead = (
        f"The {count} filters of {found.layer}, {channels} x {' x '.join(map(str, sides))} weights "
        "each. Middle grey is a weight of 0, what is brighter is above, what is darker below; "
        f"{scale}."
    )
    told = {"view": "filters", "layer": found.layer, "shape": list(found.weights.shape)}
    title = f"{opened.folder.name}: filters of {found.layer}"
    return _written(arguments, "filters", shown, title, lead, told)


def _maps(arguments: argparse.Namespace, opened: Run) -> int:
    from convarium import data, explain, report
    from convarium.explain.looking import device_of
    from convarium.report.viewed_sequences import map_sequences

    kind = opened.preprocessing.kind
    columns = input_columns(arguments, opened)
    dataset = data.open_inputs(arguments.inputs, kind=kind, columns=columns)
    if len(dataset) > 1:
        other = f"name one file, such as {dataset.name(0)}"
        if kind in _ALONG:
            other = "give a file with one of them"
        raise OptionError(
            f"--maps draws the maps of one INPUT, and these are {len(dataset)}; {other}."
        )
    batch = next(data.batches(dataset, opened.preprocessing, batch_size=1))
    given = batch.to(device_of(opened.model)).inputs
    most = arguments.most or _MOST
    found = explain.feature_maps(opened.model, given, arguments.maps, most=most)
    name = dataset.name(int(batch.index[0]))
    shared = arguments.shared_scale
    lead = (
        f"The {found.maps.shape[1]} strongest maps of {found.layer} for {name}, by their largest "
        f"value; {_ONE_SCALE if shared else _OWN_SCALE}."
    )
    told = {
        "view": "maps",
        "layer": found.layer,
        "input": name,
        "channels": found.channels[0].tolist(),
        "strength": found.strength[0].tolist(),
    }
    if found.note:
        lead, told["note"] = f"{lead} {found.note}", found.note
    title = f"{opened.folder.name}: maps of {found.layer}"
    if kind in _ALONG:
        drawn = map_sequences(opened, dataset, found, shared=shared)
        return _written(arguments, "maps", drawn, title, f"{lead} {_ALONG[kind]}", told)
    if kind == "volumes":
        lead += " Of each the depth with its largest value is drawn."
    pictures = [
        *report.show_samples(opened, dataset, most=1),
        *report.map_pictures(found, shared=shared),
    ]
    return _written(arguments, "maps", pictures, title, lead, told)


def _exciting(arguments: argparse.Namespace, opened: Run) -> int:
    from convarium import data, explain, report
    from convarium.progress import Progress
    from convarium.report.viewed_sequences import exciting_sequences

    layer, colon, number = arguments.exciting.rpartition(":")
    if not colon or not layer or not number.isdecimal():
        raise OptionError(
            f"--exciting (={arguments.exciting!r}) must be LAYER:CHANNEL, such as layer4:12."
        )
    dataset = _opened(arguments, opened)
    skipped = list(dataset.skipped)
    batches = data.batches(dataset, opened.preprocessing, batch_size=64, skipped=skipped)
    with Progress(len(dataset), "look", enabled=not arguments.json) as progress:
        found = explain.exciting_inputs(
            opened.model,
            _counted(batches, progress, skipped),
            layer,
            int(number),
            most=arguments.most or 12,
        )
    title = f"{opened.folder.name}: what excites {found.layer}:{found.channel}"
    told = _told(found, dataset, skipped)
    kind = opened.preprocessing.kind
    drawn: Sequence[Picture] | Sequence[HeatedSeries | HeatedTokens]
    if kind in _ALONG:
        drawn = exciting_sequences(opened, dataset, found)
    else:
        drawn = report.exciting_pictures(opened, dataset, found)
    return _written(arguments, "exciting", drawn, title, _lead(found, kind), told)


def _lead(found: Excitement, kind: str) -> str:
    """What is to be seen, and how the part that excites is marked."""
    lead = (
        f"The {len(found.inputs)} of {found.seen} inputs with the largest value of channel "
        f"{found.channel} of {found.layer}, with that value and its place in the map. "
        f"{_PARTS[kind]}"
    )
    if found.not_finite:
        lead += f" {found.not_finite} of the inputs have no finite value there, and are left out."
    return lead


def _told(found: Excitement, dataset: Dataset, skipped: list[Skipped]) -> dict[str, Any]:
    """All of it for programs."""
    rows = [
        {
            "name": dataset.name(one.id),
            "value": one.value,
            "place": list(one.place),
            "patch": [list(edges) for edges in one.patch],
        }
        for one in found.inputs
    ]
    return {
        "view": "exciting",
        "layer": found.layer,
        "channel": found.channel,
        "seen": found.seen,
        "not_finite": found.not_finite,
        "inputs": rows,
        "skipped": [{"name": item.name, "reason": item.reason} for item in skipped],
    }


def _counted(
    batches: Iterator[Batch], progress: Progress, skipped: list[Skipped]
) -> Iterator[Batch]:
    for batch in batches:
        yield batch
        progress.advance(len(batch))
    if not progress.done:
        raise DataError(
            f"None of the inputs can be read; the first: {skipped[0].name} ({skipped[0].reason})."
        )


def _opened(arguments: argparse.Namespace, opened: Run) -> Any:
    """Files, folders and patterns; or one data set with labels, which play no part."""
    from convarium import data

    inputs, kind = arguments.inputs, opened.preprocessing.kind
    one = Path(inputs[0])
    named = len(inputs) == 1 and not one.is_dir() and (not one.exists() or one.suffix == ".npz")
    if kind not in _ALONG and named and not any(letter in inputs[0] for letter in "*?["):
        return data.open_dataset(inputs[0], kind=kind)
    return data.open_inputs(inputs, kind=kind, columns=input_columns(arguments, opened))


def _written(
    arguments: argparse.Namespace,
    name: str,
    pictures: Sequence[Picture] | Sequence[HeatedSeries | HeatedTokens],
    title: str,
    lead: str,
    told: dict[str, Any],
) -> int:
    from convarium import files, report

    folder = Path(arguments.output)
    sheet = _sheet(folder / f"{name}.png", pictures, title)
    page = report.view_page(folder / f"{name}.html", pictures, title, lead)
    whole = {"page": str(page), "sheet": str(sheet), **told}
    files.write_json(folder / f"{name}.json", whole)
    if arguments.json:
        write_json(whole)
    else:
        say_skipped(told.get("skipped", []))
        write(f"{title}: {page} and {sheet}")
    return 0


def _sheet(
    path: Path, pictures: Sequence[Picture] | Sequence[HeatedSeries | HeatedTokens], title: str
) -> Path:
    """All of it as one PNG; the curves of maps stand below those of their series."""
    from convarium import report
    from convarium.report.sequence_pictures import sequence_sheet

    if isinstance(pictures[0], report.Picture):
        return report.tile_sheet(path, cast("Sequence[Picture]", pictures), title)
    sequences = cast("Sequence[HeatedSeries | HeatedTokens]", pictures)
    columns = 1 if len(sequences) == 2 else 2
    return sequence_sheet(path, sequences, title, columns=columns)
