"""The book: every page has its place, the reference is complete, and what is broken is found."""

from __future__ import annotations

import posixpath
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import book_reference
import check_book
import pytest
import write_book

import convarium


@pytest.fixture(scope="module")
def book() -> dict[str, bytes]:
    return write_book.files()


@pytest.fixture(scope="module")
def settings(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((root / "zensical.toml").read_text(encoding="utf-8"))
    return found


def leaves(entries: list[dict[str, Any]]) -> Iterator[str]:
    for entry in entries:
        (value,) = entry.values()
        yield from leaves(value) if isinstance(value, list) else [value]


def test_every_page_has_one_place_in_the_navigation(
    book: dict[str, bytes], settings: dict[str, Any]
) -> None:
    placed = Counter(leaves(settings["project"]["nav"]))
    pages = {name for name in book if name.endswith(".md")}
    assert set(placed) == pages, "bring `nav` in zensical.toml up to date"
    assert set(placed.values()) == {1}


def test_links_of_the_pages_stay_in_the_book(book: dict[str, bytes]) -> None:
    places = [name for name in book if name.endswith(".md") and name[:9] != "reference"]
    lost = []
    for name in places:
        text = write_book.FENCE.sub("", book[name].decode())
        for _, _, target, _ in write_book.LINK.findall(text):
            if posixpath.normpath(posixpath.join(posixpath.dirname(name), target)) not in book:
                lost.append(f"{name}: {target}")
    assert lost == []
    assert "project/ARCHITECTURE.md" in book["index.md"].decode()
    assert "`src/convarium/models/tcn.py`" in book["families/tcn.md"].decode()


def test_the_reference_holds_every_public_name(book: dict[str, bytes]) -> None:
    rooms = list(book_reference.modules())
    assert {room.__name__ for room in rooms[1:]} == {
        f"convarium.{name}"
        for name in convarium.__all__
        if f"reference/{name}.md" in book and name != "convarium"
    }
    for room in rooms:
        text = book[f"reference/{room.__name__.rpartition('.')[2]}.md"].decode()
        listed = book_reference.names(room)
        titles = [line[3:].replace("\\", "") for line in text.splitlines() if line[:3] == "## "]
        assert titles == listed, room.__name__
        assert listed


def test_a_page_of_the_reference_says_what_the_docstring_says(book: dict[str, bytes]) -> None:
    text = book["reference/measure.md"].decode()
    assert "def temporal_receptive_field(" in text
    assert "| `num_layers` |" in text
    assert "```pycon\n>>> " in text
    assert "class Cost:" in text
    assert "(\\*S)" not in text.split("```")[1]


def test_what_is_broken_in_a_built_page_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.html").write_text("<h1 id='part'>There</h1>")
    (tmp_path / "style.css").write_text("@import '//fonts.example/a.css'; b {background: url(c)}")
    (tmp_path / "index.html").write_text(
        "<a href='there.html#part'>ok</a> <a href='https://doi.example/1'>cited</a>"
        "<a href='there.html#gone'>x</a> <a href='gone.html'>x</a> <img src='gone.svg'>"
        "<script src='https://cdn.example/x.js'></script>"
    )
    assert check_book.problems(tmp_path) == [
        "index.html loads https://cdn.example/x.js",
        "index.html: gone.svg leads nowhere",
        "index.html: there.html#gone names no place there",
        "index.html: gone.html leads nowhere",
        "style.css loads //fonts.example/a.css",
    ]
    assert check_book.problems(tmp_path / "none") == [f"{tmp_path / 'none'}: no page was built"]


@pytest.mark.long
def test_the_site_builds_and_a_broken_link_stops_it(root: Path, tmp_path: Path) -> None:
    program = root / ".venv-docs" / "bin" / "zensical"
    assert program.exists(), "run: make docs"
    (tmp_path / "zensical.toml").write_bytes((root / "zensical.toml").read_bytes())
    pages = tmp_path / "build" / "book" / "pages"
    for name, content in write_book.files().items():
        (pages / name).parent.mkdir(parents=True, exist_ok=True)
        (pages / name).write_bytes(content)
    command = [str(program), "build", "--clean", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert check_book.problems(tmp_path / "build" / "book" / "site") == []
    with (pages / "index.md").open("a") as file:
        file.write("\n[nowhere](nowhere.md)\n")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
