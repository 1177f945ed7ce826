"""Heat along series and texts as PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from convarium.data import TextPreprocessing, TokenOptions
from convarium.data.texts.tokens import learn_tokens
from convarium.explain.painting import fitting, font_of
from convarium.report import sequence_pictures
from convarium.report.explained_sequences import ExplainedSequences
from convarium.report.sequence_pictures import sequence_picture, write_sequence_pictures
from convarium.report.sequences import HeatedSeries, HeatedTokens
from convarium.report.texts import token_pieces


def words(heat: list[float], word: str = "word ", note: str = "a note") -> HeatedTokens:
    return HeatedTokens([word] * len(heat), np.array(heat, np.float32), "good", note)


def saturation(pixels: np.ndarray) -> np.ndarray:
    return pixels.max(-1).astype(int) - pixels.min(-1)


def test_each_token_stands_on_its_colour_and_long_texts_break() -> None:
    short = sequence_picture(words([0, 1, 0]))
    rows, columns = np.nonzero(saturation(short) > 60)
    line = columns[rows < short.shape[0] - 46]  # above the bar of colours
    assert line.min() > 80
    assert line.max() < 260
    long = sequence_picture(words([0.5] * 60))
    assert long.shape[0] > short.shape[0] + 3 * 40
    wide = sequence_picture(words([1.0], word="w" * 500))
    assert wide.shape == short.shape


def test_a_text_without_heat_has_no_bar() -> None:
    plain, heated = sequence_picture(words([0, 0])), sequence_picture(words([0, 1]))
    assert saturation(plain).max() < 40  # ink alone
    assert heated.shape[0] > plain.shape[0]
    against = sequence_picture(words([-1, 1]))
    assert (against[..., 2].astype(int) - against[..., 0] > 60).any()  # blue
    assert not (heated[..., 2].astype(int) - heated[..., 0] > 60)[:-46].any()


def test_the_curve_of_a_series_is_coloured_where_its_heat_is() -> None:
    heat = np.zeros(100, np.float32)
    heat[50:60] = 1
    values = np.sin(np.arange(100, dtype=np.float32) / 9)[None]
    pixels = sequence_picture(HeatedSeries(values, heat, "up"))
    _, columns = np.nonzero(saturation(pixels[:250]) > 100)
    assert 0.45 < columns.min() / pixels.shape[1] < columns.max() / pixels.shape[1] < 0.65


def test_the_sheet_holds_as_many_as_it_can_and_says_so(tmp_path: Path, monkeypatch) -> None:
    some = tuple(words([0, 1, 0.5], note=f"number {k}") for k in range(5))
    rows = tuple({"name": f"row {k}"} for k in range(5))
    explained = ExplainedSequences(some, rows, (), tuple(range(5)), {})
    whole = write_sequence_pictures(tmp_path, explained)
    assert [path.name for path in whole.overlays] == [f"{k + 1:03}-row {k}.png" for k in range(5)]
    with Image.open(whole.overlays[3]) as picture, Image.open(whole.sheet) as sheet:
        np.testing.assert_array_equal(np.asarray(picture), sequence_picture(some[3]))
        size = sheet.size
        half = picture.reduce(2)
        cell = np.asarray(sheet)[half.height + 12 :, half.width + 12 :][: half.height]
        np.testing.assert_array_equal(cell, np.asarray(half))
    monkeypatch.setattr(sequence_pictures, "TALLEST", 2 * size[1] // 3 + 1)
    with Image.open(write_sequence_pictures(tmp_path, explained).sheet) as sheet:
        assert size[1] * 2 // 3 < sheet.size[1] < size[1]
        assert np.asarray(sheet)[-40:].min() < 120  # how many of all


def test_of_words_that_do_not_fit_as_many_letters_as_fit_are_shown() -> None:
    font, text = font_of(28), "".join(chr(97 + k % 26) for k in range(5000))
    shown = fitting(text, font, 700)
    held = len(shown) - 1
    assert shown == text[:held] + "…"
    assert font.getlength(shown) <= 700 < font.getlength(text[: held + 1] + "…")
    assert fitting(text, font, 1) == ""


def test_the_last_token_of_a_text_that_is_cut_is_itself_alone() -> None:
    tokens = learn_tokens(["one two three four five"] * 5, TokenOptions())
    steps = TextPreprocessing((3,), classes=("a", "b"), tokenizer=tokens)
    assert token_pieces(steps, "one two  three four five") == ["one ", "two ", "three "]
    assert token_pieces(steps, "one two") == ["one ", "two"]
    assert token_pieces(steps, "") == []


def test_scripts_that_the_letters_do_not_have_are_named_in_the_note() -> None:
    plain, chinese, hebrew = (
        sequence_picture(words([0, 1], word=word, note="")) for word in ("word ", "中文", "שלום")
    )
    assert plain.shape[0] < chinese.shape[0] == hebrew.shape[0]
    note = slice(46, 46 + 20)
    assert plain[note].shape == chinese[note].shape
    assert (chinese[note] != hebrew[note]).any()
