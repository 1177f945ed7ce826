"""Gather the pages of the book: docs/, three files of the root, the reference, pictures.

`zensical` builds the site from `build/book/pages`, with broken links as errors. What a page links
to outside of docs/ is brought along (pages, pictures) or named by its path (source files), so that
the site stands for itself: it asks no other address for anything.

Run by `make docs`, or: python tools/write_book.py [FOLDER]
"""

from __future__ import annotations

import posixpath
import re
import shutil
import sys
from pathlib import Path

import book_reference

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "build" / "book" / "pages"

#: Pages of the root and where they stand in the book; the README's is the first page.
PROJECT = {
    name: f"project/{name}" for name in ("CHANGELOG.md", "ARCHITECTURE.md", "CONTRIBUTING.md")
}
PICTURES = {".svg", ".png"}
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!\w+:)([^)#\s]+)(#[^)\s]*)?\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def main() -> int:
    """Write every page anew."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGES
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return 0


def files() -> dict[str, bytes]:
    """Name in the book -> content of each page and picture."""
    places = sources()
    found = {}
    for name, path in places.items():
        if path.suffix == ".md":
            found[name] = page(name, path, places).encode()
        else:
            found[name] = path.read_bytes()
    return found | {name: text.encode() for name, text in book_reference.pages().items()}


def sources() -> dict[str, Path]:
    """Name in the book -> the file that it is made of."""
    docs = ROOT / "docs"
    found = {path.relative_to(docs).as_posix(): path for path in sorted(docs.rglob("*.*"))}
    found |= {place: ROOT / name for name, place in PROJECT.items()}
    taken = set(found.values())
    for path in list(found.values()):
        if path.suffix != ".md":
            continue
        for _, _, target, _ in LINK.findall(path.read_text(encoding="utf-8")):
            picture = (path.parent / target).resolve()
            if picture.suffix in PICTURES and picture not in taken:
                found[f"pictures/{picture.name}"] = picture
                taken.add(picture)
    return found


def page(name: str, path: Path, places: dict[str, Path]) -> str:
    """A page whose links lead to places in the book; links to other files become their paths."""
    by_path = {file: place for place, file in places.items()}
    by_path[ROOT / "README.md"] = "index.md"
    here = posixpath.dirname(name)

    def lead(match: re.Match[str]) -> str:
        mark, words, target, anchor = match.groups()
        file = (path.parent / target).resolve()
        if place := by_path.get(file):
            return f"{mark}[{words}]({posixpath.relpath(place, here or '.')}{anchor or ''})"
        shown = file.relative_to(ROOT).as_posix()
        return f"`{shown}`" if words.strip("`") in (shown, file.name) else f"{words} (`{shown}`)"

    text = path.read_text(encoding="utf-8")
    pieces, end = [], 0
    for fence in FENCE.finditer(text):
        pieces += [LINK.sub(lead, text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*pieces, LINK.sub(lead, text[end:])])


if __name__ == "__main__":
    sys.exit(main())
