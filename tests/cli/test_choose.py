"""`convarium choose`: the table, the reasons, the picture, JSON, and what cannot be satisfied."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from convarium.cli import main

SMALL = ("choose", "resnet[23]?_cifar", "--input", "3x16x16")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder that these tests share, and not the user's."""
    folder = tmp_path_factory.getbasetemp() / "choose-cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def test_a_table_the_reasons_and_the_conditions(capsys):
    assert main([*SMALL]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["name", "parameters", "GMACs"]
    assert lines[1].split()[:2] == ["resnet32_cifar", "464,154"]  # He et al. 2015: 0.46M
    assert lines[2].split()[:2] == ["resnet20_cifar", "269,722"]
    end = lines[0].index("parameters") + len("parameters")
    assert all(line[end - 1].isdigit() for line in lines[1:3])
    text = " ".join(" ".join(lines).split())
    assert "92.49 % on CIFAR-10 at 32 (He et al. 2015, table 6)" in text
    assert "1x3x16x16 in float32" in text
    assert "limits: none" in text


def test_json_for_programs(capsys, cache):
    assert main([*SMALL, "--max-parameters", "300k", "--num-classes", "5", "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert printed.err == ""
    assert [row["name"] for row in found["rows"]] == ["resnet20_cifar"]
    # 64 weights and a bias less for each of the five classes that are gone
    assert found["rows"][0]["parameters"] == 269_722 - 5 * 65
    assert found["limits"] == {"max_parameters": 300_000}
    assert list((cache / "convarium" / "measured").glob("latency-*.json"))


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_picture_is_written(suffix, tmp_path, capsys):
    path = tmp_path / f"picture.{suffix}"
    assert main([*SMALL, "-o", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"picture: {path}"
    if suffix == "svg":
        assert "resnet20_cifar" in ElementTree.parse(path).getroot().attrib["aria-label"]
    else:
        with Image.open(path) as picture:
            assert picture.format == "PNG"


def test_where_nothing_satisfies_the_nearest_is_told(capsys):
    words = (*SMALL, "--max-parameters", "134861")
    assert main([*words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = [line for line in printed.err.splitlines() if "Nothing satisfies" in line]
    assert "the nearest is resnet20_cifar: 269,722 parameters" in line
    assert "(100 % more). Loosen a limit" in line
    assert main([*words, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["satisfied"] is False


def test_one_number_is_the_side_of_an_image(capsys):
    assert main(["choose", "resnet20_cifar", "--input", "16", "--batch-size", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["input_shape"] == [2, 3, 16, 16]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--target", "phone"], "server, mobile, edge, sequence"),
        (["--target", "sequence"], "input_shape"),
        (["--input", "3x"], "must look like 3x224x224"),
        (["--max-ms", "fast"], "must be a number"),
        (["--max-ms", "0"], "must be above 0"),
        (["--max-macs", "many"], "must be a number"),
        (["-o", "picture.gif"], "must end in .svg or .png"),
        (["--taget", "edge"], "'--target'"),
        (["renset20_cifar"], "'resnet20_cifar'"),
    ],
)
def test_bad_input_is_one_sentence(words, hint, capsys):
    assert main(["choose", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert hint in line
