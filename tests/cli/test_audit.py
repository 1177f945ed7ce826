"""The audit from a person's side: tables with groups and masks, the page, gates, bad input."""

from __future__ import annotations

import json

import pytest
from audited import CARD, dataset, objects, pictures, sees_white
from PIL import Image

from convarium import models
from convarium.cli import main

N = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run that says "square" where it sees white, and pictures as a table with masks."""
    base = tmp_path_factory.mktemp("audit")
    models.save(sees_white(), base / "run", CARD)
    whole = dataset(pictures(N))
    (base / "masks" / "in").mkdir(parents=True)
    (base / "in").mkdir()
    rows = ["path,label,site,few,mask"]
    for i, mask in enumerate(objects(N)):
        name = f"in/{i}.png"
        Image.fromarray(whole.read(i)[..., 0]).save(base / name)
        Image.fromarray(mask).save(base / "masks" / name)
        label = whole.classes[whole.targets[i]]
        site = "north" if i % 4 < 2 else "south"
        rows.append(f"{name},{label},{site},{i},masks/{name if i else ''}")
    (base / "table.csv").write_text("\n".join(rows) + "\n")
    return base


def audit(folder, *words):
    return main(["audit", str(folder / "run"), str(folder / "table.csv"), *map(str, words)])


def last_line(capsys) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_the_audit_writes_a_page_and_json_and_fails_its_gates(folder, tmp_path, capsys):
    words = ["--regions", folder / "masks", "--group-column", "site", "-o", tmp_path / "out"]
    gates = ["--max-gap", "0.05", "--max-flip", "0.1", "--no-shortcut"]
    assert audit(folder, *words, *gates, "--json") == 1
    streams = capsys.readouterr()
    told = json.loads(streams.out)
    written = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert {key: told[key] for key in written} == written
    assert [gate["passed"] for gate in told["gates"]] == [False] * 3
    assert "gates fail: The largest gap" in streams.err
    assert told["accuracy"]["value"] == 1
    assert told["groups"][0]["column"] == "site"
    assert any(c["kind"] == "place" and c["verdict"] == "supported" for c in told["claims"])
    page = (tmp_path / "out" / "audit.html").read_text()
    assert "rows 1 to 3, columns 1 to 3" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_it_says_so_in_words_and_gates_that_hold_give_0(folder, tmp_path, capsys):
    words = ["--group-column", "site", "--max-gap", "0.05", "--removal", "mean"]
    assert audit(folder, *words, "-o", tmp_path / "out") == 1
    assert "No group has 20 samples of a label" in capsys.readouterr().err
    assert audit(folder, *words, "--least-samples", 10, "-o", tmp_path / "out") == 0
    out = capsys.readouterr().out
    assert "supported: A small place beside the objects decides for square" in out
    assert "gate max_gap holds" in out


def test_masks_may_stand_in_a_column(folder, tmp_path, capsys):
    (folder / "some.csv").write_text(
        (folder / "table.csv").read_text().replace(",masks/\n", ",\n", 1)
    )
    words = ["audit", folder / "run", folder / "some.csv", "--region-column", "mask", "--json"]
    assert main([*map(str, words), "-o", str(tmp_path / "out")]) == 0
    regions = json.loads(capsys.readouterr().out)["regions"]
    assert (regions["n"], regions["missing"]) == (N - 1, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--group-column", "sight"], "'site'"),
        (["--group-column", "few"], "60 different values"),
        (["--max-gap", "0.05"], "needs group columns or regions"),
        (["--max-flip", "0.05"], "needs regions"),
        (["--max-gap", "5"], "from 0 to 1"),
        (["--method", "gradcam"], "grad-cam"),
        (["--regions", "none-here"], "no folder"),
        (["--region-column", "site"], "Cannot read the mask"),
        (["-o", __file__], "is a file; name a folder"),
        (["--layer", "nope"], "nope"),
    ],
)
def test_bad_input_is_one_sentence(folder, tmp_path, capsys, words, message):
    assert audit(folder, "-o", tmp_path / "out", *words) == 2
    assert message in last_line(capsys)
    assert not (tmp_path / "out").exists()


def test_groups_need_a_table(folder, capsys):
    words = ["audit", folder / "run", "digits", "--group-column", "site"]
    assert main([*map(str, words)]) == 2
    assert "needs a CSV, TSV or Parquet table" in last_line(capsys)
