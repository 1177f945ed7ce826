"""docs/coming-from.md: every name of ours exists, and theirs are what the page says they are."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from convarium.models import catalogue, registry

ROW = re.compile(r"^\| `(?P<ours>[^`]+)` \|(?P<cells>.*)\|$", re.MULTILINE)

# As keras.io/api/applications lists them: the families that the page speaks of.
KERAS = {
    *("VGG16", "VGG19", "DenseNet121", "DenseNet169", "DenseNet201", "MobileNet", "MobileNetV2"),
    *(f"ResNet{layers}{version}" for layers in (50, 101, 152) for version in ("", "V2")),
    *(f"MobileNetV3{size}" for size in ("Small", "Large")),
    *(f"EfficientNet{size}" for size in ("B0", "B1", "B2", "B3", "B4", "B5", "B6", "B7")),
    *(f"EfficientNetV2{size}" for size in "SML"),
    *(f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")),
}
WITHOUT_COUNTERPART = re.compile(r"googlenet|inception|maxvit|regnet|shufflenet|swin|vit")


@dataclass(frozen=True)
class Entry:
    """One line of the table of names."""

    ours: str
    options: dict[str, Any]
    torchvision: str
    timm: str
    keras: str


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "coming-from.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def entries(page: str) -> list[Entry]:
    """The table under "Names"."""
    section = page.split("\n## Names\n")[1].split("\n## ")[0]
    found = []
    for match in ROW.finditer(section):
        words, *names = (cell.strip().strip("`") for cell in match["cells"].split("|"))
        call = ast.parse(f"f({words})", mode="eval").body
        assert isinstance(call, ast.Call)
        options = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
        found.append(Entry(match["ours"], options, *names))
    return found


def test_every_name_of_ours_exists_and_takes_the_options(page: str, entries: list[Entry]) -> None:
    assert len(entries) > 60
    for entry in entries:
        row = catalogue.find(entry.ours)
        assert set(entry.options) <= set(row["options"]), entry
        for name, value in entry.options.items():
            assert row["options"][name] != value, f"{entry.ours} has {name}={value!r} already"
    edifice = page.split("\n## Edifice\n")[1]
    ours = re.findall(r"^\| `:\w+`[^|]*\| `(\w+)`", edifice, re.MULTILINE)
    assert len(ours) == 6
    assert set(ours) <= set(catalogue.names())


def test_no_name_of_theirs_stands_twice(entries: list[Entry]) -> None:
    for library in ("torchvision", "timm", "keras"):
        names = [name for entry in entries if (name := getattr(entry, library))]
        assert sorted(names) == sorted(set(names))


def test_keras_names_are_those_of_its_documentation(entries: list[Entry]) -> None:
    assert {entry.keras for entry in entries} - {""} == KERAS


@pytest.mark.peers
@pytest.mark.timeout(900)
def test_their_networks_exist_and_agree(root: Path, entries: list[Entry]) -> None:
    """As many parameters, and the same eps in the norms."""
    ours: dict[str, Any] = {}
    for entry in entries:
        with torch.device("meta"):
            network = registry.build(entry.ours, entry.options)
        eps = {m.eps for m in network.modules() if isinstance(getattr(m, "eps", 0), float)}
        count = sum(p.numel() for p in network.parameters())
        theirs = (("torchvision", entry.torchvision), ("timm", entry.timm))
        facts = {"parameters": count, "eps": sorted(eps)}
        ours |= {f"{library}/{name}": facts for library, name in theirs if name}
    found = ask(root, *ours, "torchvision/*")
    everything = found.pop("torchvision/*")
    assert found == ours
    left_out = {name for name in everything if not WITHOUT_COUNTERPART.search(name)}
    assert left_out - {entry.torchvision for entry in entries} == set()


def ask(root: Path, *words: str) -> dict[str, Any]:
    """What the libraries in .venv-peers say."""
    python = root / ".venv-peers" / "bin" / "python"
    script = root / "tests" / "reference" / "peer_counts.py"
    done = subprocess.run([str(python), str(script), *words], capture_output=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
