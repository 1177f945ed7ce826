"""The figure of plain against residual networks, and the table of the families, from their data."""

from __future__ import annotations

import importlib
import itertools
import json
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest
from drawn_words import meet, words
from PIL import Image

from convarium.measure import FamilyRow
from convarium.report import wording

SVG = "{http://www.w3.org/2000/svg}"
DEPTHS = {"plain20_cifar": 19, "plain56_cifar": 55, "resnet20_cifar": 19, "resnet56_cifar": 55}
EPOCHS = 3


@pytest.fixture
def figures(root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(root / "experiments"))
    return importlib.import_module("figures")


def result(seeds: tuple[int, ...] = (0, 1), diverged: tuple[str, ...] = ()) -> dict[str, Any]:
    """As the experiment writes it; the error of a network falls with each epoch."""
    runs = []
    for seed in seeds:
        for k, (network, depth) in enumerate(DEPTHS.items()):
            gradients = [
                {
                    "epoch": epoch,
                    "weight_gradients": [10.0 ** (epoch - k) * (1 + seed)] * depth,
                }
                for epoch in range(EPOCHS + 1)
            ]
            run = {"network": network, "seed": seed, "gradients": gradients}
            if network in diverged:
                runs.append(run | {"diverged": "The loss is nan."})
                continue
            history = [
                {"epoch": k, "train_acc": 1 - 0.8 / k, "val_acc": 1 - 0.9 / k - 0.01 * seed}
                for k in range(1, EPOCHS + 1)
            ]
            errors = {"train": {"n": 100, "error": 0.2}, "test": {"n": 50, "error": 0.3}}
            runs.append(run | errors | {"history": history})
    finished = {run["network"] for run in runs if "test" in run}
    means = {"train_error": {"mean": 0.2}, "test_error": {"mean": 0.3}}
    settings = {"source": "fashion-mnist", "recipe": {"epochs": EPOCHS}}
    return {"runs": runs, "summary": dict.fromkeys(finished, means), "settings": settings}


def curves(svg: str) -> list[int]:
    """How many points each thick line has."""
    lines = ElementTree.fromstring(svg).iter(f"{SVG}polyline")
    thick = [line.attrib["points"] for line in lines if line.attrib["stroke-width"] == "2"]
    return [len(points.split()) for points in thick]


def test_the_figure_has_a_line_a_network_and_panel_and_a_band_over_the_seeds(figures):
    svg = figures.draw(result())
    key, depths = [2] * 4, list(DEPTHS.values())
    assert curves(svg) == [*key, *[EPOCHS] * 8, *depths, *depths]
    areas = list(ElementTree.fromstring(svg).iter(f"{SVG}polygon"))
    assert len(areas) == 4 + 8  # the training error is the same for both seeds
    texts = [text for text, *_ in words(svg)]
    assert f"plain-20: training {wording.percent(0.2)}, test {wording.percent(0.3)}" in texts
    assert any("100 training and 50 test images, 3 epochs; seeds 0, 1" in text for text in texts)
    assert not list(ElementTree.fromstring(figures.draw(result((0,)))).iter(f"{SVG}polygon"))


@pytest.mark.parametrize("diverged", [(), ("plain56_cifar",), tuple(DEPTHS)])
def test_words_of_the_figure_do_not_meet_and_lie_inside(figures, diverged):
    svg = figures.draw(result(diverged=diverged))
    root = ElementTree.fromstring(svg)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    placed = words(svg)
    assert all(b[1] >= 0 and b[2] >= 0 and b[3] <= width and b[4] <= height for b in placed)
    assert not [pair for pair in itertools.combinations(placed, 2) if meet(*pair)]
    told = [text for text, *_ in placed if "2 of 2 diverged" in text]
    assert len(told) == len(diverged)


def test_the_figure_is_written_beside_the_result(figures, tmp_path):
    path = tmp_path / "found.json"
    path.write_text(json.dumps(result()))
    svg, png = figures.write(path)
    root = ElementTree.parse(svg).getroot()
    with Image.open(png) as picture:
        assert picture.size == (2 * 820, 2 * float(root.attrib["height"]))
    assert sorted(tmp_path.iterdir()) == sorted([path, svg, png])


def test_the_table_of_the_families_is_markdown(figures):
    families = importlib.import_module("families_compared")
    row = FamilyRow(
        family="resnet", name="resnet50", options={"stem": "cifar"}, parameters=25_557_032,
        macs=4_089_184_256, depth=50, fields=(35, 91, 267, 0), memory_mb=123.4, latency_ms=80.0,
        ms_per_gmac=19.56, accuracy=76.13, accuracy_data="ImageNet-1k", accuracy_size=224,
        accuracy_source="torchvision", accuracy_per_million=2.979,
    )  # fmt: skip
    bare = FamilyRow("tcn", "tcn", {}, 10, 10, 1, (), 0.1, None, None, None, "", None, "", None)
    lines = families.table([row, bare]).splitlines()
    heads, marks, first, second = ([c.strip() for c in x.strip("|").split("|")] for x in lines)
    assert len(heads) == len(marks) == len(first) == len(second)
    found = dict(zip(heads, first, strict=True))
    assert found["network"] == "resnet50, stem=cifar"
    assert (found["parameters, M"], found["GMACs"], found["layers"]) == ("25.56", "4.089", "50")
    assert found["field after each stage"] == "35, 91, 267, ?"
    assert (found["ms a GMAC"], found["% a million parameters"]) == ("19.6", "2.98")
    assert second[7:] == [""] * 5


def test_the_table_of_planted_shortcuts_says_what_was_found_and_what_falsely(figures):
    planted = importlib.import_module("planted_shortcut")
    place = {"planted": True, "pasted": 0.4, "elsewhere": 0.02, "verdict": "supported"}
    still = place | {"verdict": "undecided"}
    found = {"place_found": True, "false_places": 0, "places": [place], "taken": [0.3, 0.0]}
    found |= {"background_found": False, "false_backgrounds": 0}
    nothing = found | {"place_found": False, "places": [], "taken": None}
    told = {"source": "digits", "seed": 0, "accuracy": 0.9}
    runs = [
        {**told, "planted": True, "class": "2", "corner": "upper left"}
        | {"without_regions": found, "with_regions": nothing | {"false_places": 2}},
        {**told, "planted": True, "class": "2", "corner": "upper left"}
        | {"without_regions": nothing | {"places": [still]}, "with_regions": found},
        {**told, "planted": False, "class": None, "corner": None}
        | {"without_regions": nothing, "with_regions": nothing | {"false_backgrounds": 1}},
    ]
    rows = planted.table({"runs": runs}).splitlines()
    first, between, second = (
        [cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]
    )
    assert first[2:] == [
        *("2, upper left", "90.0%", "found", "40%, 2%", "not found, 2 false", "not found", "")
    ]
    assert between[4:7] == ["undecided", "40%, 2%", "found"]
    assert second[2:] == ["nothing", "90.0%", "nothing", "", "nothing", "1 false", ""]
    summary = planted.summary(runs)
    assert (summary["planted"], summary["found_without_regions"]) == (2, 1)
    assert (summary["found_with_regions"], summary["false_places"]) == (1, 2)
    assert summary["false_backgrounds"] == 1


def test_intervals_of_shares_stay_shares(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "experiments"))
    ablation = importlib.import_module("augmentation_ablation")
    path = root / "experiments" / "results" / "augmentation_ablation.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    told = ablation.summary(stored["runs"])
    assert told == stored["summary"]
    assert [name for name in told if "alpha" in name] == [
        "+ mixup (alpha 0.4)",
        "+ CutMix (alpha 1)",
    ]
    for found in told.values():
        for figure in ablation.FIGURES:
            low, high = found[figure]["interval"]
            assert 0 <= low <= found[figure]["mean"] <= high <= 1
