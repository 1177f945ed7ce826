"""docs/families is what the families' files say, its code runs, and every page is linked."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from forked import Forked, execute

from convarium.models import catalogue

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

PLAYER = """
import warnings
warnings.simplefilter("error")
for name, text in texts.items():
    print(name)
    exec(text, {"__name__": "__main__"})
"""


@pytest.fixture(scope="module")
def writer(root: Path) -> ModuleType:
    path = root / "tools" / "write_families.py"
    spec = importlib.util.spec_from_file_location("write_families", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_are_what_the_tool_would_write(writer: ModuleType) -> None:
    wanted = writer.files()
    assert sorted(path.name for path in writer.FOLDER.iterdir()) == sorted(wanted)
    stale = [
        name
        for name, text in wanted.items()
        if (writer.FOLDER / name).read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run: make families"


def test_every_page_has_all_its_sections(writer: ModuleType) -> None:
    for path in writer.FOLDER.glob("*.md"):
        titles = re.findall(r"^## (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        if path.name != "README.md":
            kinds = [title for title in titles if not title.endswith("by parts")]
            wanted = ["Networks", "Use", "Options", "Initial weights"]
            assert kinds[:4] == wanted, path.name
            assert len(titles) - len(kinds) == 1


def test_the_code_of_every_page_runs(writer: ModuleType, tmp_path: Path) -> None:
    pages = sorted(writer.FOLDER.glob("*.md"))
    texts = {path.name: "".join(BLOCK.findall(path.read_text(encoding="utf-8"))) for path in pages}
    assert [name for name, text in texts.items() if not text] == ["README.md"]
    done = Forked(execute, PLAYER, {"texts": texts}, folder=tmp_path).wait()
    assert done.returncode == 0, done.stdout + done.stderr
    fields = done.stdout.count("torch.Size([2, 1, 64, 64])")
    assert fields == len(
        {row["family"] for row in catalogue.read() if row["input_kind"] == "fields"}
    )
    assert done.stdout.count("torch.Size([2, 5])") == 2 * (len(pages) - 1 - fields)


def test_every_page_is_linked(root: Path, writer: ModuleType) -> None:
    index = (writer.FOLDER / "README.md").read_text(encoding="utf-8")
    pages = {path.name for path in writer.FOLDER.glob("*.md")} - {"README.md"}
    assert set(re.findall(r"\]\((\w+\.md)\)", index)) == pages
    for name in ("docs/index.md", "docs/networks.md"):
        assert "(families/README.md)" in (root / name).read_text(encoding="utf-8")
        assert "(coming-from.md)" in (root / name).read_text(encoding="utf-8")


def test_marks_in_running_text_stand_for_themselves(writer: ModuleType) -> None:
    assert writer.running("a*b_c <d> & `x*y`") == r"a\*b\_c &lt;d&gt; &amp; `x*y`"
    assert writer.table(["a"], [["x | y"]]).splitlines()[-1] == r"| x \| y |"
