"""ARCHITECTURE.md has one line for each file, and none for a file that is not there."""

from __future__ import annotations

import re
from pathlib import Path

LINE = re.compile(r"^- `(?P<name>[^`]+)`: (?P<words>.+)$", re.MULTILINE)


def test_the_map_is_complete_and_names_nothing_else(root: Path, project_files: list[str]) -> None:
    lines = [match["name"] for match in LINE.finditer(the_map(root))]
    assert sorted(set(project_files) - set(lines)) == [], "files without a line in ARCHITECTURE.md"
    assert sorted(set(lines) - set(project_files)) == [], "lines for files that are not there"
    assert len(lines) == len(set(lines)), "a file has two lines"


def test_every_line_of_the_map_says_something(root: Path) -> None:
    short = [match["name"] for match in LINE.finditer(the_map(root)) if len(match["words"]) < 8]
    assert short == []


def the_map(root: Path) -> str:
    return (root / "ARCHITECTURE.md").read_text(encoding="utf-8").split("\n## The map\n")[1]
