"""`convarium data`: the facts, the page, and bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from convarium.cli import main


@pytest.fixture
def photos(tmp_path, monkeypatch):
    for k, name in enumerate(("ape", "bee", "<cat>")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(4 + k):
            noise = np.random.default_rng(10 * k + i).integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "photos" / name / f"{i}.png")
    (tmp_path / "photos" / "bee" / "broken.png").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def test_the_facts_for_people_and_for_programs(photos, capsys):
    assert main(["data", "photos"]) == 0
    text = capsys.readouterr().out
    assert "photos: 15 images of 3 classes" in text
    assert "20 x 24 pixels, colour" in text
    assert "bee/broken.png" in text
    assert main(["data", "photos", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["classes"] == {"<cat>": 6, "ape": 4, "bee": 5}
    assert facts["samples"] == 16
    assert facts["unreadable"] == 1
    assert facts["skipped"][0]["name"] == "bee/broken.png"


def test_more_classes_than_lines_are_counted(tmp_path, capsys):
    images = np.arange(30 * 16, dtype=np.uint16).reshape(30, 4, 4).astype(np.uint8)
    images[:, 0, 0] = np.arange(30)
    np.savez(tmp_path / "many.npz", x=images, y=np.arange(30))
    assert main(["data", str(tmp_path / "many.npz")]) == 0
    assert "... and 10 more; from 1 to 1 images" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["html", "svg", "png"])
def test_a_page_is_drawn(kind, photos, capsys):
    words = ["data", "photos", "--show", "-o", f"page.{kind}", "--samples", "3", "--versions", "2"]
    assert main([*words, "--mixup", "0.3", "--no-flip", "--pad-crop", "0"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "augmentation: mixup, share from Beta(0.3,\N{NO-BREAK SPACE}0.3)",
        f"page: page.{kind}",
    ]
    assert (photos.parent / f"page.{kind}").stat().st_size > 5000


def test_the_page_has_a_name_and_facts_for_programs(photos, capsys):
    assert main(["data", "photos", "--show", "--json", "--recipe", "strong", "--samples", "4"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["page"] == "samples.html"
    assert any("RandAugment" in line for line in facts["augmentation"])
    assert sorted({sample["label"] for sample in facts["samples"]}) == ["<cat>", "ape", "bee"]
    page = (photos.parent / "samples.html").read_text()
    assert "&lt;cat&gt;" in page
    assert "<cat>" not in page


def test_given_training_samples_are_shown_alone(tmp_path, capsys):
    for part in ("train", "test"):
        for label in ("a", "b"):
            (tmp_path / part / label).mkdir(parents=True)
            for i in range(2):
                shade = np.full((8, 8), 7 * i + 50 * (part == "train") + 99 * (label == "a"))
                name = tmp_path / part / label / f"{i}.png"
                Image.fromarray(shade.astype(np.uint8)).save(name)
    page = str(tmp_path / "page.svg")
    assert main(["data", str(tmp_path), "--show", "--json", "-o", page]) == 0
    names = [sample["name"] for sample in json.loads(capsys.readouterr().out)["samples"]]
    assert sorted(names) == ["train/a/0.png", "train/a/1.png", "train/b/0.png", "train/b/1.png"]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["photo"], "Did you mean 'photos'"),
        (["photos", "--mixup", "0.2"], "--mixup belongs to the page"),
        (["photos", "-o", "page.png"], "add --show"),
        (["photos", "--samples", "3"], "--samples belongs to the page"),
        (["photos", "--versions", "3"], "--versions belongs to the page"),
        (["photos", "--seed", "0"], "--seed belongs to the page"),
        (["photos", "--epoch", "3"], "--epoch belongs to the page"),
        (["photos", "--show", "-o", "page.gif"], "must end in .html, .svg, .png"),
        (["photos", "--show", "--jitter", "2"], "jitter (=2.0)"),
        (["photos", "--show", "--rotation", "much"], "'much' must be a number"),
        (["photos", "--show", "--pad-crop", "1.5"], "'1.5' must be a whole number"),
        (["photos", "--show", "--policy", "randaugmnt"], "invalid choice"),
        (["photos", "--show", "--policy-ops", "3"], "belongs to --policy randaugment"),
        (["photos", "--show", "--no-flip", "--alternate-flip"], "belongs to --flip; add"),
        (["photos", "--show", "--samples", "0"], "must be 1 or more"),
        (["photos", "--show", "--erasin", "1"], "Did you mean '--erasing'"),
        (["photos", "--show", "-o", "photos/ape/0.png/page.png"], "Cannot write"),
        ([], "data"),
    ],
)
def test_bad_input_is_one_sentence(words, hint, photos, capsys):
    assert main(["data", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert hint in line
    assert not list(photos.parent.glob("*page*"))
