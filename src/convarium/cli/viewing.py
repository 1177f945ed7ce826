"""The views of `convarium explain`: filters, maps of a layer, what excites a channel."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convarium.cli.explain import say_skipped
from convarium.cli.parsing import write, write_json
from convarium.errors import DataError, OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from convarium.data import Batch, Skipped
    from convarium.predict import Run
    from convarium.progress import Progress
    from convarium.report import Picture

_MOST = 48
_OF_HEATMAPS = {
    "target": "--target",
    "layer": "--layer",
    "faithfulness": "--faithfulness",
    "method": "--method",
    "text_column": "--text",
    "id_column": "--id",
}
_OWN_SCALE = "each has its own scale, so that weak ones are seen too"
_ONE_SCALE = "all share one scale, so that they can be compared"


def view(arguments: argparse.Namespace, opened: Run) -> int:
    """Draw what was asked for as a sheet and a page, with JSON beside them."""
    for name, flag in _OF_HEATMAPS.items():
        if getattr(arguments, name):
            raise OptionError(f"{flag} belongs to heatmaps; leave it out to draw this view.")
    if arguments.exciting and arguments.shared_scale:
        raise OptionError("--shared-scale is of maps and filters; --exciting draws neither.")
    if arguments.filters:
        return _filters(arguments, opened)
    if opened.preprocessing.kind in ("texts", "series"):
        raise OptionError(
            "--maps and --exciting draw inputs that are pictures; of texts and series leave them "
            "out, which draws heat along them, or take --filters."
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

    dataset = data.open_inputs(arguments.inputs, kind=opened.preprocessing.kind)
    if len(dataset) > 1:
        raise OptionError(
            f"--maps draws the maps of one INPUT, and these are {len(dataset)}; name one file, "
            f"such as {dataset.name(0)}."
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
    pictures = [
        *report.show_samples(opened, dataset, most=1),
        *report.map_pictures(found, shared=shared),
    ]
    title = f"{opened.folder.name}: maps of {found.layer}"
    return _written(arguments, "maps", pictures, title, lead, told)


def _exciting(arguments: argparse.Namespace, opened: Run) -> int:
    from convarium import data, explain, report
    from convarium.progress import Progress

    layer, colon, number = arguments.exciting.rpartition(":")
    if not colon or not layer or not number.isdecimal():
        raise OptionError(
            f"--exciting (={arguments.exciting!r}) must be LAYER:CHANNEL, such as layer4:12."
        )
    dataset = _opened(arguments.inputs, opened.preprocessing.kind)
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
    lead = (
        f"The {len(found.inputs)} of {found.seen} inputs with the largest value of channel "
        f"{found.channel} of {found.layer}, with that value and its place in the map. The frame is "
        "what this place can see of the input; where there is none, it can see all."
    )
    if found.not_finite:
        lead += f" {found.not_finite} of the inputs have no finite value there, and are left out."
    rows = [
        {
            "name": dataset.name(one.id),
            "value": one.value,
            "place": list(one.place),
            "patch": [list(edges) for edges in one.patch],
        }
        for one in found.inputs
    ]
    told: dict[str, Any] = {
        "view": "exciting",
        "layer": found.layer,
        "channel": found.channel,
        "seen": found.seen,
        "not_finite": found.not_finite,
        "inputs": rows,
        "skipped": [{"name": item.name, "reason": item.reason} for item in skipped],
    }
    pictures = report.exciting_pictures(opened, dataset, found)
    title = f"{opened.folder.name}: what excites {found.layer}:{found.channel}"
    return _written(arguments, "exciting", pictures, title, lead, told)


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


def _opened(inputs: list[str], kind: str) -> Any:
    """Files, folders and patterns; or one data set with labels, which play no part."""
    from convarium import data

    one = Path(inputs[0])
    named = len(inputs) == 1 and not one.is_dir() and (not one.exists() or one.suffix == ".npz")
    if named and not any(letter in inputs[0] for letter in "*?["):
        return data.open_dataset(inputs[0], kind=kind)
    return data.open_inputs(inputs, kind=kind)


def _written(
    arguments: argparse.Namespace,
    name: str,
    pictures: list[Picture],
    title: str,
    lead: str,
    told: dict[str, Any],
) -> int:
    from convarium import files, report

    folder = Path(arguments.output)
    sheet = report.tile_sheet(folder / f"{name}.png", pictures, title)
    page = report.view_page(folder / f"{name}.html", pictures, title, lead)
    whole = {"page": str(page), "sheet": str(sheet), **told}
    files.write_json(folder / f"{name}.json", whole)
    if arguments.json:
        write_json(whole)
    else:
        say_skipped(told.get("skipped", []))
        write(f"{title}: {page} and {sheet}")
    return 0
