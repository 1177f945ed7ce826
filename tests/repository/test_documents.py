"""The documents run from top to bottom, their flags exist, and their links lead somewhere."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from forked import Forked, execute
from PIL import Image

from convarium.cli import VERBS
from convarium.cli.parsing import Parser
from convarium.train.config import options

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]*)?\)")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")
OTHERS = {"--help", "--version", "--nproc-per-node", "--nnodes"}  # the last two are torchrun's
SHORT = "--epochs 1 --option widths=[4,6,8,10]"  # the network that train takes, but narrow
PAGES = (
    {verb: f"docs/{verb}.md" for verb in VERBS}
    | dict.fromkeys(("list", "show"), "docs/networks.md")
    | {"measure": "docs/measure/README.md", "choose": "docs/measure/choose.md"}
    | {"data": "docs/augmentation.md", "downscale": "docs/grids.md"}
)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def steps(path: Path) -> list[tuple[str, str]]:
    """Blocks that run, in the document's order."""
    found = FENCE.findall(path.read_text(encoding="utf-8"))
    return [(kind, text) for kind, text in found if kind in ("python", "console")]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images as the documents suppose them, and a run; made by the first worker."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "documents"
    with FileLock(shared / "documents.lock"):
        if not folder.exists():
            fill(shared / "documents-new")
            (shared / "documents-new").rename(folder)
    return folder


def fill(folder: Path) -> None:
    draw_images(folder / "photos", 14)
    draw_images(folder / "held-out", 3)
    draw_images(folder / "loose", 2)
    (folder / "new").mkdir()
    for number, path in enumerate(sorted((folder / "loose").rglob("*.png"))):
        shutil.copy(path, folder / "new" / f"{number}.png")
    rows = [f"{path.relative_to(folder)},{path.parent.name}" for path in folder.rglob("photos/*/*")]
    (folder / "table.csv").write_text("\n".join(["path,species", *sorted(rows)]) + "\n")
    done = play([["train", "photos", *SHORT.split(), "--out", "runs/photos"]], folder)
    assert done.returncode == 0, done.stderr
    photo = next((folder / "photos").rglob("*.png")).relative_to(folder / "photos")
    other = next(p.name for p in (folder / "photos").iterdir() if p.name != photo.parent.name)
    (folder / "runs/photos/corrections.csv").write_text(f"path,label\n{photo},{other}\n")


# The pages of the families run in one process: see test_families.py.
STEPS = [path for path in DOCUMENTS if steps(path) and path.parent.name != "families"]


@pytest.mark.parametrize("document", STEPS, ids=name)
def test_documents_run_from_top_to_bottom(document: Path, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    played: list[list[str] | str] = []
    for kind, text in steps(document):
        if kind == "python":
            played.append(text)
        else:
            played += [words for line in text.splitlines() if (words := command(line, tmp_path))]
    if played:
        done = play(played, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


def command(line: str, folder: Path) -> list[str]:
    """The words that a shell would hand to `convarium`; none where the line is another command."""
    assert line.startswith("$ "), f"a console block holds commands only: {line}"
    if line.startswith("$ make "):
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert line.split()[2] in targets
    if not line.startswith("$ convarium "):
        return []
    # The run that documents suppose is there already; training it again takes another name.
    line = re.sub(r"(train photos/ --out runs/photos)$", rf"\1-again {SHORT}", line)
    line = re.sub(r"(train photos/ --out runs/photos-2)$", rf"\1 {SHORT}", line)
    line = re.sub(r"(--out runs/photos-corrected)$", rf"\1 {SHORT}", line)
    line = re.sub(r"(train photos/ --find-rate)$", r"\1 --model convnet", line)
    script = "printf '%s\\0' " + line.removeprefix("$ convarium ")
    shown = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, check=True)
    return shown.stdout.decode().split("\0")[:-1]


PLAYER = """
import sys, warnings
from convarium.cli import main
names = {"__name__": "__main__"}
for step in steps:
    print(">>>", step, flush=True)
    if isinstance(step, list):
        if code := main(step):
            sys.exit(code)
        continue
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(step, names)
"""


def play(played: Sequence[list[str] | str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command's lines and the Python blocks in one process, in `folder`."""
    words = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    return Forked(execute, PLAYER, {"steps": played}, folder=folder, words=words).wait(280)


@pytest.mark.parametrize("document", sorted({*DOCUMENTS, *ROOT.glob("*.md")}), ids=name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target, anchor in LINK.findall(text):
        place = document.parent / target if target else document
        assert place.exists(), f"{name(document)} links to {target}"
        if anchor:
            titles = re.findall(r"^#+ (.+)$", place.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = ["#" + re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles]
            assert anchor in anchors


@pytest.mark.parametrize("verb", VERBS)
def test_every_flag_is_documented_and_exists(verb: str) -> None:
    page = (ROOT / PAGES[verb]).read_text(encoding="utf-8")
    flags = flags_of(verb)
    assert sorted(flag for flag in flags if flag not in FLAG.findall(page)) == []
    lines = re.findall(rf"convarium {verb} .*", page)
    used = {flag for line in lines for flag in FLAG.findall(line)}
    assert used <= flags


def test_flags_that_documents_name_exist() -> None:
    known = {flag for verb in VERBS for flag in flags_of(verb)} | OTHERS
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        assert set(FLAG.findall(path.read_text(encoding="utf-8"))) <= known, path.name


def test_the_recipe_table_is_that_of_the_configuration() -> None:
    page = (ROOT / "docs/train.md").read_text(encoding="utf-8").splitlines()
    for option, kind, _, field in options():
        flag = "--" + option.replace("_", "-")
        flags = f"`{flag}`, `--no-{flag[2:]}`" if kind is bool else f"`{flag}`"
        default = "none" if field.default is None else field.default
        if kind is bool:
            default = "on" if field.default else "off"
        words = field.metadata["help"]
        if "choices" in field.metadata:
            words += ": " + ", ".join(f"`{choice}`" for choice in field.metadata["choices"])
        assert f"| {flags} | {default} | {words} |" in page


def flags_of(verb: str) -> set[str]:
    """The long flags of a verb, as its parser has them."""
    parser = Parser(prog=verb)
    importlib.import_module(f"convarium.cli.{verb}").add_arguments(parser)
    actions: list[argparse.Action] = parser._actions
    found = {flag for action in actions for flag in action.option_strings if flag[:2] == "--"}
    return (found | {"--json"}) - {"--help"}


def draw_images(folder: Path, count: int) -> None:
    """Three classes of coloured shapes on noise, a few sizes around 32 pixels."""
    random = np.random.default_rng(count)
    for shape in ("square", "stripes", "disc"):
        (folder / shape).mkdir(parents=True)
        for number in range(count):
            height, width = random.integers(32, 40, 2)
            y, x = np.mgrid[:height, :width]
            inside = {
                "square": (abs(y - 16) < 8) & (abs(x - 16) < 8),
                "stripes": y // 4 % 2 == 0,
                "disc": (y - 16) ** 2 + (x - 16) ** 2 < 90,
            }[shape]
            pixels = random.integers(0, 90, (height, width, 3))
            pixels[inside] += 150
            picture = Image.fromarray(pixels.astype(np.uint8))
            picture.save(folder / shape / f"{shape}-{number}.png")
