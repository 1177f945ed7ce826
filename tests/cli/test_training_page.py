"""`convarium data DATA --show` of series and texts: the page is what training gets."""

from __future__ import annotations

import html
import json
import re

import numpy as np
import pytest
from sequences import waves, write_pair
from written import rows, write_csv

from convarium import data, report
from convarium.cli import main

SPAN = re.compile(r"<span([^>]*)>([^<]*)</span>")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_pair(tmp_path_factory.mktemp("shown"), length=-40, channels=2)
    write_csv(folder / "items.csv", rows(150))
    return folder


def series_parts(folder):
    dataset = data.open_dataset(folder / "Ramps_TRAIN.ts")
    part = data.split(dataset, seed=3).train
    return dataset, part, data.fit_preprocessing(part)


def test_curves_are_the_training_batches_without_their_padding(folder):
    dataset, part, steps = series_parts(folder)
    change = data.SeriesAugmentation(jitter=0.2, scaling=0.3, longest=steps.input_shape[-1])
    ids = part.ids[[4, 1, 6]]
    found = report.augmented_samples(dataset, ids, steps, change, seed=3, epoch=2, versions=2)
    shown = {sample.name: sample for sample in found}
    seen = 0
    for column, epoch in enumerate((2, 3)):
        for batch in data.training_batches(
            part, steps, batch_size=5, seed=3, epoch=epoch, augmentation=change
        ):
            for place, i in enumerate(batch.index.tolist()):
                if i in ids:
                    length = dataset.read(i).length
                    expected = batch.inputs[0][place, :, :length].numpy()
                    sample = shown[dataset.name(i)]
                    assert (sample.versions[column] == expected).all()
                    assert (sample.original == steps.apply(dataset.read(i)).numpy()).all()
                    seen += 1
    assert seen == 6


def test_curves_share_their_scale_along_a_row():
    plain = waves(1, channels=3)[0][0].astype(np.float32)
    larger = report.AugmentedSample("a", "up", plain, (2 * plain, 0 * plain), ("", ""))
    lines = re.findall(r'points="([^"]*)"', report.draw_augmented([larger], ["x"], title="t"))
    assert len(lines) == 9
    heights = [np.ptp([float(point.split(",")[1]) for point in line.split()]) for line in lines]
    assert heights[3:6] == pytest.approx([2 * height for height in heights[:3]], abs=0.1)
    assert heights[6:] == [0, 0, 0]


@pytest.mark.parametrize("kind", ["html", "svg", "png"])
def test_a_page_of_series_is_drawn(kind, folder, tmp_path, capsys):
    page = tmp_path / f"page.{kind}"
    words = ["data", str(folder / "Ramps_TRAIN.ts"), "--show", "-o", str(page), "--json"]
    more = ["--samples", "3", "--missing", "mark", "--jitter", "0.1", "--crop", "0.8"]
    assert main([*words, *more]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["augmentation"][0] == "a window of 80% to 100% of the length, stretched"
    assert len(told["samples"]) == 3
    assert page.stat().st_size > 5000


def test_a_page_of_texts_marks_the_words_that_become_unknown(folder, tmp_path):
    page = tmp_path / "page.html"
    words = ["data", str(folder / "items.csv"), "--text", "text", "--label", "label", "--show"]
    more = ["--samples", "20", "--versions", "4", "--word-dropout", "0.3", "--seed", "3"]
    assert main([*words, *more, "-o", str(page)]) == 0
    spans = [
        (html.unescape(word), "this epoch" in tags)
        for line in page.read_text().splitlines()
        if 'class="tokens"' in line
        for tags, word in SPAN.findall(line)
        if "every epoch" not in tags
    ]
    marked = sum(mark for _, mark in spans)
    assert abs(marked / len(spans) - 0.3) < 4 * (0.3 * 0.7 / len(spans)) ** 0.5


def test_dropped_words_are_those_of_the_training_batches(folder):
    from convarium.report.dropped_words import dropped_words

    dataset = data.open_dataset(folder / "items.csv", text_column=["text"], label_column=["label"])
    part = data.split(dataset).train
    steps = data.fit_preprocessing(part)
    change = data.TextAugmentation(word_dropout=0.4, longest=steps.longest)
    (found,) = dropped_words(dataset, part.ids[:1], steps, change, epoch=1, versions=1)
    for batch in data.training_batches(
        part, steps, batch_size=7, seed=0, epoch=1, augmentation=change
    ):
        for i, row in zip(batch.index.tolist(), batch.inputs[0].tolist(), strict=True):
            if i == part.ids[0]:
                lost = [row[k] == 1 and not found.rare[k] for k in range(len(found.words))]
                assert list(found.dropped[0]) == lost
                assert any(lost)


@pytest.mark.parametrize("more", [[], ["--mixup", "0.4"]])
def test_a_single_sample_is_shown(more, tmp_path):
    page = tmp_path / "page.svg"
    assert main(["data", "digits", "--show", "--samples", "1", "-o", str(page), *more]) == 0
    assert page.read_text().count("<image") == 6


@pytest.mark.parametrize(
    ("name", "words", "hint"),
    [
        ("items.csv", ["-o", "page.png"], "must end in .html"),
        ("items.csv", ["--scaling", "0.2"], "is for series"),
        ("items.csv", ["--normalise", "series"], "belongs to series"),
        ("Ramps_TRAIN.ts", ["--word-dropout", "0.2"], "is for texts"),
        ("Ramps_TRAIN.ts", ["--tokens", "char"], "belongs to texts"),
        ("Ramps_TRAIN.ts", ["--recipe", "strong"], "is for images and volumes"),
        ("Ramps_TRAIN.ts", ["--size", "9"], "belongs to images"),
    ],
)
def test_what_a_kind_does_not_have_is_one_sentence(name, words, hint, folder, capsys):
    columns = ["--text", "text", "--label", "label"] if name == "items.csv" else []
    assert main(["data", str(folder / name), *columns, "--show", *words]) == 2
    printed = capsys.readouterr()
    assert hint in printed.err
    assert len(printed.err.splitlines()) == 1
