"""Bring the map in ARCHITECTURE.md up to date: a line for each file, in the order of the folders.

Lines that are there are kept, and those of files that are gone are dropped. A new file's line
starts as the first sentence of its docstring; where it has none it is empty: then write it.

Run by `make map`, or: python tools/map_files.py
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEADING = "\n## The map\n"
LINE = re.compile(r"^- `([^`]+)`: (.*)$", re.MULTILINE)
FOLDERS = ("", "src", "tests", "benchmarks", "examples", "tools", "docs")


def main() -> int:
    """Rewrite the map; 1 where a line still has to be written by hand."""
    path = ROOT / "ARCHITECTURE.md"
    before, map_text = path.read_text(encoding="utf-8").split(HEADING)
    known = dict(LINE.findall(map_text))
    lines = {name: known.get(name) or words_for(name) for name in project_files()}
    path.write_text(before + HEADING + draw(lines), encoding="utf-8")
    for name in (name for name, words in lines.items() if not words):
        print(f"ARCHITECTURE.md: say what {name} is for", file=sys.stderr)
    return int(not all(lines.values()))


def project_files() -> list[str]:
    """Every file, tracked or about to be: the root's first, then folder by folder."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = {name for name in listed.splitlines() if (ROOT / name).is_file()}
    return sorted(names, key=lambda name: (FOLDERS.index(heading_of(name)), name))


def heading_of(name: str) -> str:
    """The folder under whose heading a file stands; "" for the root and for hidden folders."""
    folder = name.split("/")[0] if "/" in name else ""
    return folder if folder in FOLDERS else ""


def words_for(name: str) -> str:
    """The first sentence of a Python file's docstring, without the full stop."""
    if name.startswith("benchmarks/results/"):
        return f"what `{Path(name).stem}.py` measured"
    if name.startswith("docs/families/"):
        kind = "a drawing of its first network" if name.endswith(".svg") else "its page"
        return f"`{Path(name).stem}`: {kind}, written by `make families`"
    if not name.endswith(".py"):
        return ""
    docstring = ast.get_docstring(ast.parse((ROOT / name).read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(docstring.split("\n\n")[0].split())
    return paragraph.split(". ")[0].rstrip(".:")


def draw(lines: dict[str, str]) -> str:
    """The map as Markdown, with a heading for each folder."""
    text, heading = "", None
    for name, words in lines.items():
        if heading_of(name) != heading:
            heading = heading_of(name)
            text += f"\n### {heading + '/' if heading else 'The root'}\n\n"
        text += f"- `{name}`: {words}\n"
    return text


if __name__ == "__main__":
    sys.exit(main())
