"""The view *Data*: samples, balance, copies, and what was left out.

a run or the studio's data -> opened once -> plain values for JSON, pictures by number
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from convarium.errors import DataError, OptionError
from convarium.studio.answers import Answer
from convarium.studio.desk import Desk
from convarium.studio.jobs import Watched
from convarium.studio.opened import (
    Opened,
    begun_at,
    changed_at,
    open_data,
    open_run_data,
    place_of_run,
)

if TYPE_CHECKING:
    from convarium.data import Dataset

_MOST: Final = 60  # samples of a page
_SETS: Final = 200  # of copies, that are told
_TOLD: Final = 500  # of what was left out


def sources(desk: Desk) -> dict[str, Any]:
    """What can be looked at: the studio's data, and the data of each run."""
    own = [{"run": "", "name": desk.data}] if desk.data is not None else []
    return {"sources": own + [{"run": name, "name": name} for name in desk.folders()]}


def overview(desk: Desk, run: str = "", again: bool = False) -> dict[str, Any]:
    """What the data of a run holds, or the studio's own, as soon as it has been read.

    Args:
        desk: knows both.
        run: its name; nothing is the studio's data.
        again: read it anew, where it was read before.

    Returns:
        How far the reading is, as `Jobs.ask` says it; then the facts.

    Raises:
        DataError: the data is gone, or cannot be read.
        RunError: there is no such run.
        OptionError: the studio has no data of its own.
    """
    told = read_data(desk, run, again)
    return told if told["state"] != "done" else {"state": "done", "result": told["result"][1]}


def facts(opened: Opened) -> dict[str, Any]:
    """Counts, sizes, balance, copies and what was left out.

    Args:
        opened: a data set that was read.
    """
    from convarium.data import overview as _overview
    from convarium.report import class_balance

    found = _overview(opened.dataset).to_json()
    classes = found["classes"]
    sets: dict[str, Any] = {}
    for word in ("copies", "alike"):
        every = _sets(opened, found[word])
        crossing = sum(each["crossing"] for each in every)
        sets |= {word: every[:_SETS], f"{word}_count": len(every), f"{word}_crossing": crossing}
    return {
        **{key: value for key, value in found.items() if key not in ("copies", "alike", "skipped")},
        **sets,
        "skipped": found["skipped"][:_TOLD],
        "skipped_count": len(found["skipped"]),
        "split": opened.counts,
        "by_part": _by_part(opened),
        "balance": class_balance([*classes.values()], [*classes]) if classes else "",
        "drawn": opened.dataset.kind in ("images", "volumes", "series", "grids"),
        "shows_training": opened.shows_training,
        "remark": opened.remark,
    }


def page(
    desk: Desk,
    run: str = "",
    part: str = "",
    label: str = "",
    name: str = "",
    start: int = 0,
    count: int = 24,
) -> dict[str, Any]:
    """Some samples with their labels and parts.

    Args:
        desk: knows the data.
        run: whose data; nothing is the studio's own.
        part: only this one: train, validation or test.
        label: only those with this class or label.
        name: only those whose name holds this.
        start: how many that match are left out.
        count: how many are told.

    Raises:
        OptionError: a number is out of range, or the data has no such part or class.
        DataError: the data is not read yet.
    """
    if not 0 <= start <= 2**31 or not 1 <= count <= _MOST:
        raise OptionError(f"start must be 0 or more, and count from 1 to {_MOST}.")
    return listed(ready(desk, run), part, label, name, start, count)


def listed(
    opened: Opened, part: str, label: str, name: str, start: int, count: int
) -> dict[str, Any]:
    """The samples that match; see `page`."""
    dataset = opened.dataset
    ids = opened.matching(part, label)
    if name:
        ids = [i for i in ids if name.lower() in dataset.name(i).lower()]
    shown = ids[start : start + count]
    return {"total": len(ids), "start": start, "samples": [_row(opened, i) for i in shown]}


def picture(desk: Desk, id: int, run: str = "", side: int = 160) -> Answer:
    """A sample as a picture: PNG, and SVG of a series.

    Args:
        desk: knows the data.
        id: the sample's number; no path can be asked for.
        run: whose data; nothing is the studio's own.
        side: the longer one in pixels, at most.

    Raises:
        OptionError: there is no such sample, or none of its kind is drawn.
        DataError: it cannot be read.
    """
    from convarium.studio.pictured import drawn

    return drawn(ready(desk, run).dataset, id, side)


def read_data(desk: Desk, run: str, again: bool = False) -> dict[str, Any]:
    """The data of a run, or the studio's own, and its facts, as soon as it is read.

    It is read anew where a training has begun in the run's folder since, or its place has changed.

    Args:
        desk: knows both.
        run: its name; nothing is the studio's data.
        again: read it anew, where it was read before.

    Returns:
        How far the reading is, as `Jobs.ask` says it; its result is the pair of both.
    """
    source, folder, begun, place = desk.data, None, 0, str(desk.data)
    if run:
        folder = desk.folder(run)
        begun, place = begun_at(folder), place_of_run(folder, source)
    elif source is None:
        raise OptionError("The studio was opened without data; start it with --data DATA.")

    def work(progress: Watched) -> tuple[Opened, dict[str, Any]]:
        if folder is not None:
            opened = open_run_data(folder, source, progress)
        else:
            opened = open_data(str(source), progress)
        return opened, facts(opened)

    times = (begun, changed_at(place), changed_at(str(source)))
    return desk.jobs.ask(("data", run), work, anew=again, version=times)


def ready(desk: Desk, run: str) -> Opened:
    """The data, which must have been read.

    Raises:
        DataError: it is not.
    """
    told = read_data(desk, run)
    if told["state"] != "done":
        raise DataError("The data is being read; ask again when it is done.")
    found: Opened = told["result"][0]
    return found


def _row(opened: Opened, i: int) -> dict[str, Any]:
    """One sample in words."""
    from convarium.data import target_in_words

    dataset = opened.dataset
    label = "" if dataset.targets is None else target_in_words(dataset, dataset.targets[i])
    row = {"id": i, "name": dataset.name(i), "label": label, "part": opened.part_of(i)}
    if dataset.kind != "texts":
        return row
    from convarium.studio.shown import sample_shown

    return {**row, **sample_shown(dataset, i)}


def _sets(opened: Opened, sets: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Samples that are alike, those in several parts first, then those of several labels."""
    wanted = {name for names in sets for name in names}
    ids = _ids(opened.dataset, wanted) if wanted else {}
    told = []
    for names in sets:
        rows = [_row(opened, ids[name]) for name in names]
        parts, labels = ({row[key] for row in rows} for key in ("part", "label"))
        told.append({"samples": rows, "crossing": len(parts) > 1, "differing": len(labels) > 1})
    told.sort(key=lambda each: (not each["crossing"], not each["differing"]))
    return told


def _ids(dataset: Dataset, wanted: Iterable[str]) -> dict[str, int]:
    """The numbers of samples by their names."""
    names = set(wanted)
    return {name: i for i in range(len(dataset)) if (name := dataset.name(i)) in names}


def _by_part(opened: Opened) -> list[Mapping[str, Any]]:
    """Samples of each class in each part; nothing where there are no parts or no classes."""
    dataset = opened.dataset
    if not opened.counts or dataset.targets is None or dataset.targets.ndim > 1:
        return []
    if dataset.of_numbers:
        return []
    counted = {part: Counter[int]() for part in opened.counts}
    for i, target in enumerate(dataset.targets.tolist()):
        if (part := opened.part_of(i)) in counted:
            counted[part][target] += 1
    return [
        {"label": name, **{part: counts[k] for part, counts in counted.items()}}
        for k, name in enumerate(dataset.classes)
    ]
