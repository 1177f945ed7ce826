"""`convarium list`: filters, order, and what it says where nothing fits."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from convarium.cli import main
from convarium.cli.list import amount


def names(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(["list", *words, "--json"]) == 0
    return [row["name"] for row in json.loads(capsys.readouterr().out)]


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["list", *words]) == 0
    return capsys.readouterr().out


def test_filters_by_family_and_parameters(capsys):
    # He et al. 2015, table 6: 0.27M, 0.46M, 0.66M, 0.85M, 1.7M.
    small = names(capsys, "resnet*_cifar", "--max-parameters", "1M")
    assert small == ["resnet20_cifar", "resnet32_cifar", "resnet44_cifar", "resnet56_cifar"]
    middle = names(
        capsys, "resnet*_cifar", "--min-parameters", "464154", "--max-parameters", "0.7M"
    )
    assert middle == ["resnet32_cifar", "resnet44_cifar"]
    assert names(capsys, "--family", "lenet", "--family", "convnet") == ["convnet", "lenet5"]


def test_sorts_by_each_key_and_reverses(capsys):
    words = ("resnet?[048]",)
    assert names(capsys, *words, "--sort", "parameters") == [
        "resnet10", "resnet18", "resnet34", "resnet50",
    ]  # fmt: skip
    largest = names(capsys, *words, "--sort", "parameters", "--reverse")
    assert largest == ["resnet50", "resnet34", "resnet18", "resnet10"]
    everything = names(capsys, "--sort", "name")
    assert everything == sorted(everything)
    old = names(capsys, "--sort", "year")
    assert old.index("lenet5") < old.index("resnet50")
    assert names(capsys, "--sort", "year", "--reverse")[-1] in ("convnet", "temporal_cnn")


def test_pretrained_leaves_what_libraries_publish(capsys):
    found = names(capsys, "resnet*", "--pretrained")
    assert {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152"} <= set(found)
    assert not [name for name in found if name.endswith("_cifar")]


def test_the_table_has_a_heading_and_a_line_each(capsys):
    assert main(["list", "vgg11*"]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    columns = ["name", "family", "year", "parameters", "MACs", "field", "input", "summary"]
    assert heading.split() == columns
    # Field: 1 + 2 (1 + 2 + 2 4 + 2 8 + 2 16) by convolutions, and 1 + 2 + 4 + 8 + 16 by pools.
    first = ["vgg11", "vgg", "2014", "132,863,336", "7.61", "G", "150", "3x224x224"]
    assert lines[0].split()[:8] == first
    assert [line.index(" 2014") for line in lines] == [heading.index(" year")] * 2
    ends = heading.index("field") + len("field")
    assert [line[:ends].split()[-1] for line in lines] == ["150"] * 2


def test_filters_and_sorts_by_macs_and_field(capsys):
    # GMACs as published: AlexNet .714, VGG-11 7.61, VGG-16 15.47, MobileNet V1 .569, V2 .301.
    known = {"alexnet": 195, "vgg16": 212, "mobilenet_v1": 315, "mobilenet_v2": 491}
    found = names(capsys, "--max-macs", "600M", "--min-field", "300", "--sort", "macs")
    assert [name for name in found if name in known] == ["mobilenet_v2", "mobilenet_v1"]
    found = names(capsys, "--max-macs", "15.5G", "--min-field", "195", "--sort", "field")
    assert [name for name in found if name in known] == list(known)
    assert "vgg16" not in names(capsys, "--max-macs", "15.4G")
    assert "alexnet" not in names(capsys, "--min-field", "196")
    rows = json.loads(listed(capsys, "--sort", "macs", "--reverse", "--json"))
    work = [row["macs"] for row in rows]
    assert work == sorted(work, reverse=True)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["zzz*"], "No network matches 'zzz*'"),
        (["renset18"], "'resnet18'"),
        (["--family", "resnets"], "Did you mean 'resnet'"),
        (["--max-parameters", "many"], "such as 5000000, 5M or 500k"),
        (["--max-parameters", "-1"], "such as 5000000, 5M or 500k"),
        (["--min-parameters", "2M", "--max-parameters", "1M"], "2,000,000) must not be above"),
        (["resnet*", "--max-parameters", "10"], "passes the filters"),
        (["--sort", "size"], "parameters"),
        (["--max-macs", "few"], "such as 5000000, 5M or 500k"),
        (["--max-macs", "1k"], "passes the filters"),
        (["--min-field", "wide"], "must be a whole number"),
        (["--min-field", "99999"], "passes the filters"),
        (["--pretraind"], "'--pretrained'"),
    ],
)
def test_bad_input_is_one_sentence(words, hint, capsys):
    assert main(["list", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert hint in line


@pytest.mark.parametrize("text", ["", "M", "5 M x", "1e6", "5MM", ",", "1..5"])
def test_amounts_that_are_none(text):
    with pytest.raises(Exception, match="must be a number such as"):
        amount(text)


def test_listing_takes_less_than_half_a_second(root):
    command = [sys.executable, "-m", "convarium", "list"]
    seconds = []
    for _ in range(3):  # of the processor, so that what else runs on the machine does not count
        before = os.times()
        subprocess.run(command, cwd=root / "src", check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        user = after.children_user - before.children_user
        seconds.append(user + after.children_system - before.children_system)
    assert min(seconds) < 0.5


@pytest.mark.parametrize("pattern", ["ResNet*", "resnet", "Resnet"])
def test_a_family_by_name_or_in_capitals_is_led_to_its_pattern(capsys, pattern):
    assert main(["list", pattern]) == 2
    assert "Did you mean 'resnet*'?" in capsys.readouterr().err


def test_a_number_without_end_is_refused(capsys):
    assert main(["list", "--min-parameters", "9" * 400]) == 2
    assert "must be a number" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full disk")
@pytest.mark.parametrize("words", [["list", "vgg11"], ["list", "--json"], ["show", "vgg11"]])
def test_a_full_disk_is_one_sentence(words):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "convarium", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("convarium: Cannot write the output: ")
    assert done.stderr.count("\n") == 1
