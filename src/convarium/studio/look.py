"""Looking at one sample: what a run says of it, and where in it the run looks."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from torch import Tensor

from convarium.errors import ConvariumError, OptionError, did_you_mean
from convarium.explain import Attribution
from convarium.explain.methods import METHODS, attributed
from convarium.explain.painting import heat_colours, signed_colours
from convarium.measure import ReceptiveField, receptive_field
from convarium.predict import Run
from convarium.report.pictures import address
from convarium.serve.refusals import RefusedError
from convarium.serve.served import batch_of
from convarium.studio.desk import Desk
from convarium.studio.given import Given, read_given
from convarium.studio.heated import HEATED

_BARS: Final = 8
_VALUES: Final = 4096  # of a map that is sent as numbers, at most
#: What a file of each kind may end in, for the page's dialogue.
_ENDS: Final[Mapping[str, str]] = {
    "images": ".png,.jpg,.jpeg,.webp",
    "texts": ".txt",
    "series": ".csv,.npy,.wav,.ts",
    "volumes": ".nii,.nii.gz,.npy,.npz,.tif,.tiff",
    "grids": ".nc",
}


def about(desk: Desk, run: str) -> dict[str, Any]:
    """What a run takes and tells, and which methods and layers it can be asked about."""
    opened = desk.opened(run)
    steps = opened.preprocessing
    own = getattr(opened.model, "heatmap_layer", None)
    ends = _ENDS[steps.kind].split(",")
    return {
        "run": run,
        "kind": steps.kind,
        "ends": _ENDS[steps.kind],
        "task": opened.card["task"],
        "classes": list(opened.card["classes"]),
        "network": opened.card.get("model", {}).get("name", ""),
        "input_shape": list(steps.input_shape),
        "calibrated": "calibration" in opened.card,
        "methods": [
            {"name": name, "title": each.title, "about": each.about, "layered": each.layered}
            for name, each in METHODS.items()
        ],
        "method": default_method(opened),
        "layers": [] if steps.kind == "grids" else _layers(desk, run),
        "layer": own,
        "command": shlex.join(["convarium", "explain", str(desk.folder(run)), f"INPUT{ends[0]}"]),
    }


def show(
    desk: Desk,
    run: str,
    content: bytes,
    name: str = "",
    which: int = 0,
    method: str | None = None,
    layer: str | None = None,
    target: str | None = None,
    raw: bool = False,
) -> dict[str, Any]:
    """What a run says of a sample that is given now, and its heatmap.

    Args:
        desk: knows the run, and keeps the sample for further questions.
        run: its name.
        content: of the file, or of a text.
        name: of the file.
        which: of several samples in the file, from 0.
        method, layer, target: of the heatmap; None takes the run's own.
        raw: signed values instead of what speaks for the class, scaled to [0, 1].
    """
    opened = desk.opened(run)
    given = read_given(opened, content, name, desk.limits, which)
    sample = hashlib.sha256(content).hexdigest()[:16] + f"-{which}"
    desk.keep(("given", run, sample), given, given.size)
    said = {"sample": sample, "count": given.count, **prediction(opened, given)}
    return {**said, "heat": heat(desk, run, sample, method, layer, target, raw)}


def heat(
    desk: Desk,
    run: str,
    sample: str,
    method: str | None = None,
    layer: str | None = None,
    target: str | None = None,
    raw: bool = False,
) -> dict[str, Any]:
    """The heatmap of a sample that was given before; arguments are those of `show`."""
    opened, given = desk.opened(run), given_before(desk, run, sample)
    if given.kind != "images":
        signs = heat_of(desk, run, sample, method, layer, target) if raw else None
        told = HEATED[given.kind](opened, given, _asked(opened, method, layer, target), signs)
        return {**told, **_places(desk, run, given, told)}
    found = heat_of(desk, run, sample, method, layer, target)
    maps = found.signed() if raw else found.display()
    pixels = maps[0].numpy()
    colours = signed_colours(pixels) if raw else heat_colours(pixels)
    values = found.values[0].nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    return {
        **_told(found, opened.card["classes"]),
        "picture": address(np.rint(255 * colours).astype(np.uint8), quick=True),
        "raw": raw,
        "size": list(values.shape),
        "low": float(values.min()),
        "high": float(values.max()),
        "values": values.tolist() if values.numel() <= _VALUES else None,
    }


def prediction(run: Run, given: Given) -> dict[str, Any]:
    """What a run says of a sample, with stated probabilities, and what it sees of it."""
    steps = run.preprocessing
    seen = steps.apply(given.value)
    batch = batch_of(steps, [seen])
    (record,) = run.predictor.task.decode(run.predictor.outputs(batch), batch)
    likely: Sequence[float] = getattr(record, "probabilities", ())
    pairs = sorted(zip(run.card["classes"], likely, strict=False), key=lambda pair: -pair[1])
    return {
        "sentence": record.sentence(),
        "columns": dict(record.columns()),
        "bars": [{"name": name, "probability": p} for name, p in pairs[:_BARS]],
        "others": max(0, len(pairs) - _BARS),
        "picture": _picture(seen) if given.kind == "images" else None,
        "size": list(seen.shape[1:]),
    }


def heat_of(
    desk: Desk,
    run: str,
    sample: str,
    method: str | None,
    layer: str | None,
    target: str | None,
    own: Run | None = None,
) -> Attribution:
    """The attribution of a sample that was given before, kept for further questions.

    Args:
        desk, run, sample, method, layer, target: as of `show`.
        own: the run with a network of its own; None takes that of the desk.
    """
    opened, given = own or desk.opened(run), given_before(desk, run, sample)

    def make() -> Attribution:
        return attributed(
            opened.model,
            inputs_of(opened, given),
            method=method or default_method(opened),
            target=class_number(target, opened.card["classes"]),
            layers=() if layer is None else (layer,),
        )

    key = ("heat", run, desk.version(run), sample, method, layer, target)
    found: Attribution | None = desk.known(key)
    if found is None:
        found = make()
        maps = (found.values, found.channels)
        desk.keep(key, found, sum(each.nbytes for each in maps if each is not None))
    return found


def given_before(desk: Desk, run: str, sample: str) -> Given:
    """A sample that the desk keeps.

    Raises:
        RefusedError: 410, it does not any more.
    """
    found = desk.known(("given", run, sample))
    if not isinstance(found, Given):
        raise RefusedError(
            410, "forgotten", "The studio no longer holds this sample; load it again."
        )
    return found


def inputs_of(run: Run, given: Given) -> Tensor:
    """A sample as the network takes it, `(1, C, *S)`."""
    pixels, _ = run.preprocessing.padded([run.preprocessing.apply(given.value)])
    return run.preprocessing.finish(pixels)


def field_of(desk: Desk, run: str, shape: tuple[int, ...] | None = None) -> ReceptiveField:
    """The receptive fields of a run's network, kept; without a shape those at its own input."""
    opened = desk.opened(run)
    shape = shape or tuple(opened.preprocessing.example(1).shape)
    key = ("field", run, desk.version(run), shape)
    return desk.kept(key, lambda: receptive_field(opened.model, shape))


def class_number(name: str | None, classes: Sequence[str]) -> int | None:
    """The number of a class; None stays None.

    Raises:
        OptionError: there is no such class.
    """
    if name is None:
        return None
    if name not in classes:
        raise OptionError(f"The run has no class {name!r}.{did_you_mean(name, classes)}")
    return list(classes).index(name)


def default_method(run: Run) -> str:
    """The method that heatmaps of a run are made with where none is named."""
    return "hires_cam" if run.preprocessing.kind in ("texts", "series") else "grad_cam"


def _layers(desk: Desk, run: str) -> list[str]:
    """Layers with a map that has places; where the network cannot be followed, its own alone."""
    own = getattr(desk.opened(run).model, "heatmap_layer", None)
    try:
        rows = field_of(desk, run).rows
    except ConvariumError:
        rows = ()
    named = [row.layer for row in rows if ":" not in row.layer and row.status == "exact"]
    return list(dict.fromkeys([*named, *([own] if own else [])]))


def _asked(run: Run, method: str | None, layer: str | None, target: str | None) -> dict[str, Any]:
    """What a heatmap is asked for, by the keywords of the report's functions."""
    number = class_number(target, run.card["classes"])
    return {"method": method or default_method(run), "layer": layer, "target": number}


def _places(desk: Desk, run: str, given: Given, told: Mapping[str, Any]) -> dict[str, Any]:
    """How many positions the map of a heat has along each axis, which can be asked about."""
    if not told["layered"]:
        return {"size": None}
    shape = tuple(inputs_of(desk.opened(run), given).shape)

    def make() -> tuple[int, ...]:
        try:
            found = field_of(desk, run, shape).at(told["layer"])
        except ConvariumError:
            return ()
        return found.shape[2:] if found.status == "exact" else ()

    key = ("places", run, desk.version(run), shape, told["layer"])
    return {"size": list(desk.kept(key, make)) or None}


def _told(heat: Attribution, classes: Sequence[str]) -> dict[str, Any]:
    """What is said of a heatmap."""
    known = METHODS[heat.method]
    return {
        "method": heat.method,
        "title": known.title,
        "shows": known.shows or "evidence for the class",
        "layered": known.layered,
        "layer": heat.layer,
        "target": None if heat.target is None else classes[heat.target[0]],
        "logit": float(heat.logit[0]),
        "status": heat.status[0],
        "note": heat.note,
    }


def _picture(seen: Tensor) -> str:
    """An image as the network sees it, before it is normalised."""
    return address(np.ascontiguousarray(seen.permute(1, 2, 0).numpy()), quick=True)
