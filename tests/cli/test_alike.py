"""Images that look alike, as the command tells of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from convarium import files
from convarium.cli import main


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Two classes of twenty pictures; each has a copy of three quarters of its size."""
    for k in range(40):
        coarse = np.random.default_rng(k).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((48, 48), Image.Resampling.BICUBIC)
        folder = tmp_path / "photos" / "ab"[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{k:02}.png")
        image.resize((36, 36), Image.Resampling.LANCZOS).save(folder / f"{k:02}-small.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def test_the_verb_data_counts_the_sets(photos, capsys):
    (photos / "b" / "moved.png").write_bytes((photos / "a" / "00-small.png").read_bytes())
    assert main(["data", "photos"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "  alike " in line)
    assert "40 sets of images that look alike, such as a/00-small.png, a/00.png" in line
    assert "1 of them with different labels" in line
    assert main(["data", "photos", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["alike"]) == 40


def test_training_warns_lists_and_shows_them_and_keeps_them_together_on_request(photos, capsys):
    words = ["train", "photos", "--model", "convnet", "--size", "16", "--epochs", "1"]
    assert main([*words, "--out", "torn"]) == 0
    out = capsys.readouterr().out
    rows = files.read_jsonl("torn/lookalikes.jsonl")
    counts = files.read_json("torn/card.json")["data"]["alike"]
    told = [sum(row["part"] == part for row in rows) for part in ("test", "validation")]
    assert [counts["test"], counts["validation"]] == told
    assert min(told) > 0
    assert f"warning: {told[0]} test and {told[1]} validation images look like training images" in (
        out
    )
    assert "--group-alike keeps them in one part" in out
    page = (photos.parent / "torn" / "report.html").read_text()
    assert "Test pictures that look like training pictures" in page
    first = next(row for row in rows if row["part"] == "test")
    assert first["name"] in page
    assert first["train_name"] in page
    assert main([*words, "--group-alike", "--out", "whole"]) == 0
    assert "look like training images" not in capsys.readouterr().out
    assert files.read_jsonl("whole/lookalikes.jsonl") == []
    assert (
        "look like training pictures" not in (photos.parent / "whole" / "report.html").read_text()
    )
    assert main(["train", "photos", "--out", "whole", "--resume"]) == 0
    folds = [*words, "--group-alike", "--folds", "2", "--out", "folds"]
    assert main(folds) == 0
    assert "look like training images" not in capsys.readouterr().out
    assert main(["train", "photos", "--folds", "2", "--out", "folds", "--resume"]) == 0
    assert main(["train", "photos", "--out", "torn", "--resume", "--group-alike"]) == 2
    assert "group_alike was None and is True" in capsys.readouterr().err
