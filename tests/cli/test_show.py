"""`convarium show`: shapes for any input, parameters by part, drawings, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from PIL import Image

from convarium.cli import main


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main(["show", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def bottleneck_stage(blocks: int, before: int, width: int) -> int:
    """Weights of bottlenecks (1x1, 3x3, 1x1 to four times the width) with their batch norms."""
    total = before * 4 * width + 8 * width  # the projection
    for block in range(blocks):
        entering = before if block == 0 else 4 * width
        total += entering * width + 9 * width**2 + 4 * width**2 + 2 * (2 * width) + 8 * width
    return total


def test_parts_of_resnet50_by_the_table_of_the_paper(capsys):
    parts = {part["name"]: part for part in shown(capsys, "resnet50")["parts"]}
    expected = {"stem": 3 * 64 * 49 + 128, "head": 2048 * 1000 + 1000}
    for i, (blocks, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)]):
        before = 64 if i == 0 else 2 * width
        expected[f"layer{i + 1}"] = bottleneck_stage(blocks, before, width)
    assert {name: parts[name]["parameters"] for name in expected} == expected
    assert sum(expected.values()) == 25_557_032
    sizes = [parts[f"layer{i}"]["shape"] for i in (1, 2, 3, 4)]
    assert sizes == [[256, 56, 56], [512, 28, 28], [1024, 14, 14], [2048, 7, 7]]


def test_shapes_follow_the_given_input(capsys):
    parts = shown(capsys, "resnet18", "--input", "3x64x96")["parts"]
    assert [part["shape"][1:] for part in parts] == [
        [64, 96], [16, 24], [16, 24], [8, 12], [4, 6], [2, 3], [],
    ]  # fmt: skip
    squares = shown(capsys, "resnet18", "--input", "64")["parts"]
    assert squares == shown(capsys, "resnet18", "--input", "3x64x64")["parts"]


def test_macs_and_field_are_told_and_follow_the_input(capsys):
    row = shown(capsys, "resnet50")
    assert (round(row["macs"] / 1e9, 3), row["field"]) == (4.089, [427, 427])  # as published
    larger = shown(capsys, "resnet50", "--input", "448")
    head = 2048 * 1000
    assert larger["macs"] - head == 4 * (row["macs"] - head)
    assert larger["field"] == [427, 427]
    older = shown(capsys, "resnet50", "--option", "stride_in=1x1")
    assert older["field"] == [483, 483]  # often quoted, and true of the form of 2015
    assert older.keys() == row.keys()
    signals = shown(capsys, "vgg11", "--option", "spatial_dims=1", "--input", "3x224")
    assert (signals["field"], signals["field_stride"]) == ([150], [32])
    assert main(["show", "resnet50"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "MACs 4,089,184,256 (4.09 G) field 427 inputs along each axis, stride 32" in text


def test_options_change_network_and_say_so(capsys):
    row = shown(capsys, "resnet18", "--option", "stem=cifar", "--option", "num_classes=10")
    assert row["parameters"] == 11_173_962  # 11,181,642 with the large stem, less 64 x 3 x (49 - 9)
    signals = ("--option", "spatial_dims=1", "--option", "in_channels=6", "--input", "6x512")
    assert shown(capsys, "resnet18", *signals)["parts"][-2]["shape"] == [512, 16]
    assert main(["show", "resnet18", "--option", "stem=cifar"]) == 0
    assert 'stem="cifar"' in (text := capsys.readouterr().out)
    assert '(resnet18 has "imagenet")' in " ".join(text.split())


def test_it_names_paper_table_accuracy_and_initial_weights(capsys):
    assert main(["show", "resnet50"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "arXiv:1512.03385" in text
    assert "table 1; stride in the 3x3" in text
    assert "76.13 % top-1" in text  # torchvision's documentation of IMAGENET1K_V1
    assert "torchvision" in text
    assert "convolutions Normal with variance 2 / fan_out" in text
    assert 'stride_in="3x3" one of "3x3", "1x1"' in text


def test_drawings_are_written_as_svg_and_png(tmp_path, capsys):
    svg, png = tmp_path / "net.svg", tmp_path / "net.png"
    assert main(["show", "lenet5", "--svg", str(svg), "--png", str(png)]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [f"drawing: {svg}", f"drawing: {png}"]
    root = ElementTree.parse(svg).getroot()
    assert "lenet5" in root.attrib["aria-label"]
    with Image.open(png) as picture:
        assert picture.size[0] == pytest.approx(2 * float(root.attrib["width"]), abs=2)


def test_a_stream_without_block_marks_gets_plain_ones(root):
    def printed(encoding: str) -> bytes:
        environment = dict(os.environ, PYTHONIOENCODING=encoding, COLUMNS="80")
        command = [sys.executable, "-m", "convarium", "show", "resnet18"]
        done = subprocess.run(
            command, cwd=root / "src", env=environment, capture_output=True, check=True
        )
        return done.stdout

    plain = printed("ascii").decode("ascii")
    assert "++++" in plain
    assert max(len(line) for line in plain.splitlines()) <= 80
    assert "▓▓▓▓" in printed("utf-8").decode("utf-8")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["resnet5O"], "Did you mean 'resnet50'"),
        (["resnet50", "--input", "1x224x224"], "must be 3xHxW for resnet50"),
        (["resnet50", "--input", "224x224"], "must be 3xHxW for resnet50"),
        (["resnet50", "--input", "3x3x224x224"], "must be 3xHxW for resnet50"),
        (["resnet50", "--option", "in_channels=1", "--input", "3x64x64"], "must be 1xHxW"),
        (["convnet", "--input", "2"], "too small for convnet"),
        (["lenet5", "--input", "28"], "image_size"),
        (["resnet50", "--input", "0"], "must be 1 or more"),
        (["resnet50", "--input", "3x99999999x99999999"], "2^40"),
        (["resnet50", "--input", "-1"], "must look like 3x224x224 or 224"),
        (["resnet50", "--input", "big"], "must look like 3x224x224 or 224"),
        (["resnet50", "--option", "stemm=cifar"], "Did you mean 'stem'"),
        (["resnet50", "--option", "name=x"], "no option 'name'"),
        (["resnet50", "--option", "cls=x"], "no option 'cls'"),
        (["resnet50", "--option", "stem=cifr"], "Did you mean 'cifar'"),
        (["resnet50", "--option", "spatial_dims=4", "--input", "3x2x2"], "spatial_dims"),
        (["resnet50", "--option", "in_channels=[]", "--input", "64"], "in_channels"),
        (["resnet50", "--option", "num_classes=10000000000000000"], "num_classes"),
        (["resnet50", "--option", "num_classes=10000000000000000000000"], "num_classes"),
        (["resnet50", "--svg", "nowhere/net.svg"], "Cannot write"),
        ([], "NAME"),
    ],
)
def test_bad_input_is_one_sentence(words, hint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nowhere").write_text("a file")
    assert main(["show", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert hint in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--option", "spatial_dims=3", "--input", "999999"], "2^40"),
        (["--svg", ""], "must name a file"),
        (["--svg", "same", "--png", "same"], "two files"),
    ],
)
def test_what_cannot_be_drawn_or_counted_is_refused(capsys, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    assert main(["show", "resnet18", *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
