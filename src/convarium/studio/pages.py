"""The files of the page, read once: plain HTML, styles and modules, and colours of the reports."""

from __future__ import annotations

import functools
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from convarium.report import palette
from convarium.studio.answers import Answer

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}


@functools.cache
def page_files() -> dict[str, Answer]:
    """Every file of the page by the path it is asked by."""
    folder = resources.files(__package__) / "page"
    found = {f"/page/{name}": _answer(file) for name, file in _files(folder, "")}
    colours = f"{palette.variables(':root')}:root{{--font:{palette.FONT}}}"
    found["/page/palette.css"] = Answer(_TYPES[".css"], colours.encode())
    found["/"] = found.pop("/page/index.html")
    return found


def _files(folder: Traversable, before: str) -> list[tuple[str, Traversable]]:
    found = []
    for each in folder.iterdir():
        name = before + each.name
        if each.is_dir():
            found += _files(each, name + "/")
        elif "." + each.name.rpartition(".")[2] in _TYPES:
            found.append((name, each))
    return found


def _answer(file: Traversable) -> Answer:
    return Answer(_TYPES["." + file.name.rpartition(".")[2]], file.read_bytes())
