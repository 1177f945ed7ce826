"""The synthetic catalogue: its rule, what counting gives on it, and who sees order."""

from __future__ import annotations

import importlib
import json
import sys

import numpy as np
import pytest


@pytest.fixture
def catalogue(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "experiments"))
    return importlib.import_module("catalogue")


@pytest.mark.parametrize("share", [0.6, 0.1])
def test_every_text_has_its_share_of_signature_tokens(catalogue, share):
    made = catalogue.drawn(400, share)
    assert made.training == 320
    assert len(np.unique(made.signatures)) == 20 * 50
    lengths = (made.tokens > 0).sum(1)
    assert (lengths.min(), lengths.max()) == (15, 63)
    assert made.tokens.max() < 10_000
    assert 1 not in made.tokens
    for text, length, category in zip(made.tokens, lengths, made.categories, strict=True):
        assert not text[length:].any()
        own = np.isin(text[:length], made.signatures[category]).sum()
        assert int(share * length) <= own <= int(share * length) + 6  # more by chance
    again = catalogue.drawn(400, share)
    assert np.array_equal(again.tokens, made.tokens)


@pytest.mark.parametrize(("share", "expected"), [(0.6, 1.0), (0.1, 0.94), (0.05, 0.58)])
def test_counting_signature_tokens_gives_the_stated_shares(catalogue, share, expected):
    made = catalogue.drawn(6000, share)
    right = (catalogue.counted(made, slice(None)) == made.categories).mean()
    assert right == pytest.approx(expected, abs=0.025)


def test_where_order_tells_counting_knows_two_categories_alone(catalogue):
    made = catalogue.drawn(2000, ordered=True)
    assert np.array_equal(made.signatures[0::2], made.signatures[1::2])
    half = np.zeros(10_000, np.int64)
    half[made.signatures[::2, :25]], half[made.signatures[::2, 25:]] = 1, 2
    kinds = half[made.tokens]
    rising = ((kinds[:, :-1] == 1) & (kinds[:, 1:] == 2)).sum(1)
    falling = ((kinds[:, :-1] == 2) & (kinds[:, 1:] == 1)).sum(1)
    said = (falling > rising).astype(np.int64)
    assert (said == made.categories % 2).mean() > 0.95
    counts = np.array([np.bincount(row, minlength=3)[1:] for row in kinds])
    assert np.array_equal(counts[:, 0] > 0, counts[:, 1] > 0)


def test_runs_are_kept_and_gone_on_with(catalogue, root, tmp_path, monkeypatch):
    script = importlib.import_module("catalogue_words")
    out = tmp_path / "words.json"
    words = ["--items", "300", "--epochs", "1", "--cases", "0.6", "--out", str(out)]
    for seeds in (["0"], ["0", "1"]):
        monkeypatch.setattr(sys, "argv", ["words", *words, "--methods", "bag_of_words", "counting",
                                          "--seeds", *seeds])  # fmt: skip
        assert script.main() == 0
    told = json.loads(out.read_text())
    assert [(run["method"], run["seed"]) for run in told["runs"]] == [
        ("bag_of_words", 0),
        ("counting", 0),
        ("bag_of_words", 1),
    ]
    assert told["runs"][0]["parameters"] == 1_299_092
    assert told["summary"]["0.6"]["counting"]["mean"] == 1.0
    assert sum(p.numel() for p in script.text_cnn().parameters()) == 1_440_520
    monkeypatch.setattr(sys, "argv", ["words", *words, "--items", "200"])
    with pytest.raises(SystemExit, match="other settings"):
        script.main()
