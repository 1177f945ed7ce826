"""The chapters of the theory: their figures are what the code draws, and every one is shown."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import draw_theory
import pytest


@pytest.mark.parametrize("name", draw_theory.FIGURES)
def test_a_figure_is_what_the_code_draws(name: str) -> None:
    written = (draw_theory.FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    assert written == draw_theory.FIGURES[name]() + "\n", "run: make figures"
    assert ElementTree.fromstring(written).get("aria-label")


def test_every_chapter_runs_a_block_and_shows_a_figure() -> None:
    pages = {path.stem: path.read_text(encoding="utf-8") for path in chapters()}
    figures = {path.stem for path in draw_theory.FOLDER.glob("*.svg")}
    assert figures == set(draw_theory.FIGURES)
    assert figures | {"residual"} == set(pages)  # whose figure is an experiment's
    for name, text in pages.items():
        assert len(re.findall(r"^```python$", text, re.MULTILINE)) == 1, name
        assert "assert " in text.split("```")[1], name
        assert re.search(r"^!\[.+\]\(.+\.svg\)$", text, re.MULTILINE), name


def test_every_claim_of_the_folklore_has_a_check() -> None:
    parts = (draw_theory.FOLDER / "folklore.md").read_text(encoding="utf-8").split("\n## ")[1:]
    assert len(parts) >= 11
    checks = re.compile(r"^ *assert ", re.MULTILINE)
    assert [part.splitlines()[0] for part in parts if not checks.search(part)] == []


def chapters() -> list[Path]:
    """The pages that are chapters."""
    pages = sorted(draw_theory.FOLDER.glob("*.md"))
    return [page for page in pages if page.stem not in ("README", "folklore")]
