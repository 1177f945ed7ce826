"""`convarium evaluate --part`: the run's own data, by the parts that it was split into."""

from __future__ import annotations

import json

import pyarrow.parquet as parquet
import pytest

from convarium import data
from convarium.cli import main


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "digits"
    words = ["train", "digits", "--out", str(out), "--epochs", "1", "--model", "lenet5"]
    assert main([*words, "--size", "32"]) == 0
    return out


def evaluated(capsys, *words):
    capsys.readouterr()
    assert main(["evaluate", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_test_part_has_the_result_of_the_card(run, capsys):
    found = evaluated(capsys, run, "digits", "--part", "test")
    card = json.loads((run / "card.json").read_text())
    assert found["n"] == card["data"]["counts"]["test"]
    assert found["accuracy"] == card["result"]["test"]["accuracy"]


def test_the_parts_are_those_of_the_split_and_make_up_the_whole(run, capsys, tmp_path):
    parts = parquet.read_table(run / "splits.parquet").to_pylist()
    right = total = 0
    for name in ("train", "validation", "test"):
        found = evaluated(capsys, run, "digits", "--part", name, "-o", tmp_path / f"{name}.parquet")
        names = parquet.read_table(tmp_path / f"{name}.parquet")["name"].to_pylist()
        assert sorted(names) == sorted(row["name"] for row in parts if row["part"] == name)
        total += found["n"]
        right += round(found["accuracy"] * found["n"])
    whole = evaluated(capsys, run, "digits")
    assert (whole["n"], round(whole["accuracy"] * whole["n"])) == (total, right)
    assert whole["trained_on"] == sum(row["part"] == "train" for row in parts)


def test_a_note_tells_of_samples_that_were_learnt(run, capsys):
    capsys.readouterr()
    assert main(["evaluate", str(run), "digits"]) == 0
    assert "has learnt from" in capsys.readouterr().out
    assert main(["evaluate", str(run), "digits", "--part", "test"]) == 0
    assert "has learnt from" not in capsys.readouterr().out


def test_other_data_has_no_parts_of_the_run(run, capsys, tmp_path):
    from PIL import Image

    (tmp_path / "other" / "3").mkdir(parents=True)
    dataset = data.open_dataset("digits")
    Image.fromarray(dataset.read(3)[..., 0]).resize((32, 32)).save(tmp_path / "other/3/a.png")
    capsys.readouterr()
    assert main(["evaluate", str(run), str(tmp_path / "other"), "--part", "test"]) == 2
    assert "trained on other data" in capsys.readouterr().err
    assert "trained_on" not in evaluated(capsys, run, tmp_path / "other")
