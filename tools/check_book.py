"""Look at every built page: what it loads and links to is there, and no address outside is loaded.

`zensical build --strict` knows links between pages; this also sees pictures, styles and scripts.

Run by `make docs`, or: python tools/check_book.py [FOLDER]
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

SITE = Path(__file__).resolve().parents[1] / "build" / "book" / "site"
IMPORTED = re.compile(r"""url\(\s*['"]?([^'")]+)|@import\s+['"]([^'"]+)""")
OUTSIDE = re.compile(r"(https?:)?//")


class Page(HTMLParser):
    """Collects what a page loads, where it links to, and the names inside it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the addresses of one tag."""
        found = {name: value or "" for name, value in attrs}
        self.names |= {found[key] for key in ("id", "name") if key in found}
        if tag == "a":
            self.links += [found["href"]] if "href" in found else []
        elif tag == "link" and found.get("rel") in ("canonical", "next", "prev"):
            return
        else:
            self.loads += [found[key] for key in ("src", "href") if key in found]


def main() -> int:
    """Print what is wrong; 1 where there is something."""
    wrong = problems(Path(sys.argv[1]) if len(sys.argv) > 1 else SITE)
    for line in wrong:
        print(line, file=sys.stderr)
    return int(bool(wrong))


def problems(site: Path) -> list[str]:
    """A line for each address that is outside, or leads nowhere."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    wrong = [] if pages else [f"{site}: no page was built"]
    for path, page in pages.items():
        if path.name == "404.html":
            continue
        shown = path.relative_to(site)
        wrong += [f"{shown} loads {it}" for it in page.loads if OUTSIDE.match(it)]
        for address in page.loads + page.links:
            if not urlsplit(address).scheme and not OUTSIDE.match(address):
                wrong += [f"{shown}: {it}" for it in missing(path, address, pages)]
    for path in sorted(site.rglob("*.css")):
        found = (a or b for a, b in IMPORTED.findall(path.read_text(encoding="utf-8")))
        wrong += [f"{path.relative_to(site)} loads {it}" for it in found if OUTSIDE.match(it)]
    return wrong


def missing(path: Path, address: str, pages: dict[Path, Page]) -> list[str]:
    """What an address of the page at `path` should lead to and does not."""
    parts = urlsplit(address)
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    target = target / "index.html" if target.is_dir() else target
    if not target.exists():
        return [f"{address} leads nowhere"]
    named = unquote(parts.fragment)
    if (
        named
        and not named.startswith("__")
        and target in pages
        and named not in pages[target].names
    ):
        return [f"{address} names no place there"]
    return []


if __name__ == "__main__":
    sys.exit(main())
