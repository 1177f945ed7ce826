"""Tokens: ids by hand and by the library, padding, batches of like length, and the card."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import tokenizers
import torch
from hypothesis import given
from hypothesis import strategies as st
from written import rows, write_csv

from convarium import data
from convarium.data.pictures import pictures_of
from convarium.data.texts.reading import plain
from convarium.data.texts.samples import Texts
from convarium.data.texts.tokens import TokenOptions, learn_tokens, tokens_of
from convarium.errors import DataError, OptionError

WORDS = ["a red red shoe", "a blue shoe", "green"]


def made(texts, **options) -> tuple[data.Dataset, data.TextPreprocessing]:
    targets = np.arange(len(texts), dtype=np.int64) % 2
    dataset = data.Dataset(Texts(texts), source="made", classes=("a", "b"), targets=targets)
    part = data.Part(dataset, np.arange(len(texts)))
    return dataset, data.fit_preprocessing(part, tokens=TokenOptions(**{"least": 1, **options}))


def test_ids_follow_from_how_often_words_stand_in_the_training_texts():
    """Padding 0, unknown 1, then by count, and by letters where counts are equal."""
    _, steps = made(WORDS, longest=8)
    counts = Counter(" ".join(WORDS).split())
    order = sorted(counts, key=lambda word: (-counts[word], word))
    expected = {word: number for number, word in enumerate(order, start=2)}
    assert steps.apply("a red blue shoe ??").tolist() == [
        expected["a"],
        expected["red"],
        expected["blue"],
        expected["shoe"],
        1,
    ]
    _, fewer = made(WORDS, least=2)
    assert fewer.apply("green A SHOE").tolist()[0] == 1
    assert len(fewer.tokens) == 5  # padding, unknown, a, red, shoe


def test_the_tokenizer_is_the_librarys_own_and_the_same_every_time():
    texts = [row["text"] for row in rows(60)]
    for level in ("word", "bpe", "char"):
        options = TokenOptions(level=level, vocabulary=60, least=1)
        first = learn_tokens(texts, options)
        assert first == learn_tokens(texts, options)
        library = tokenizers.Tokenizer.from_str(first)
        for text in texts[:5]:
            assert tokens_of(first).encode([text])[0].tolist() == library.encode(text).ids
        assert len(tokens_of(first)) <= 60


def test_no_text_can_hold_the_padding():
    texts = ["[PAD] [UNK] x", "\N{LOWER ONE EIGHTH BLOCK} [PAD]", "x y"]
    for level in ("word", "bpe", "char"):
        _, steps = made(texts, level=level, lower=False)
        for text in texts:
            ids = steps.apply(text)
            assert (ids > 0).all(), level
            assert len(ids) >= 2


def test_pieces_and_characters_know_words_that_training_had_not():
    texts = ["walking talking", "walked talked", "walk talk"] * 3
    _, words = made(texts)
    _, pieces = made(texts, level="bpe", vocabulary=60)
    _, letters = made(texts, level="char")
    unseen = "walks tal"
    assert 1 in words.apply("talks").tolist()
    assert 1 not in pieces.apply("talk walked").tolist()
    assert 1 not in letters.apply("kat wed").tolist()
    assert 1 in letters.apply(unseen).tolist()  # no s stands in the training texts


def test_normal_form_lower_case_and_control_characters():
    _, steps = made(["ﬁne cafe\u0301", "fine café"])
    assert steps.apply("FINE\x00CAFÉ").tolist() == steps.apply("ﬁne cafe\u0301").tolist()
    _, cased = made(["Fine fine"], lower=False)
    assert cased.apply("Fine").tolist() != cased.apply("fine").tolist()
    _, composed = made(["ﬁne fine"], form="NFC")
    assert composed.apply("ﬁne").tolist() != composed.apply("fine").tolist()


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.booleans())
def test_a_batch_is_padded_to_its_longest_and_nothing_else(lengths, kept):
    texts = [" ".join(f"w{k % 7}" for k in range(length)) for length in lengths]
    dataset, steps = made(texts, longest=20)
    part = data.Part(dataset, np.arange(len(texts)))
    (batch,) = data.batches(part if kept else dataset, steps, batch_size=64)
    ids = batch.inputs[0]
    assert ids.dtype == torch.int64
    assert ids.shape == (len(texts), min(20, max(lengths)))
    for row, text in zip(ids, texts, strict=True):
        own = steps.apply(text)
        assert torch.equal(row[: len(own)], own)
        assert not row[len(own) :].any()


def test_batches_of_training_have_like_lengths_each_text_once_and_are_a_function_of_the_epoch():
    draw = np.random.default_rng(0)
    texts = [" ".join(["w"] * int(n)) for n in draw.integers(1, 60, 203)]
    dataset, steps = made(texts)
    part = data.Part(dataset, np.arange(203))

    def epoch(number, **options):
        own = {"batch_size": 20, "seed": 3, "epoch": number, **options}
        return [*data.training_batches(part, steps, **own)]

    first = epoch(0)
    assert sorted(int(i) for batch in first for i in batch.index) == list(range(203))
    assert [len(batch) for batch in first] == [20] * 10 + [3]
    padded = sum(batch.inputs[0].numel() for batch in first)
    assert padded < 1.15 * sum(len(text.split()) for text in texts) + 60 * 3
    again, later = epoch(0), epoch(1)
    assert all(torch.equal(a.index, b.index) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a.index, b.index) for a, b in zip(first, later, strict=True))
    for a, b in zip(first[4:], epoch(0, start=4, workers=2), strict=True):
        assert torch.equal(a.inputs[0], b.inputs[0])
    halves = [epoch(0, rank=rank, world=2) for rank in (0, 1)]
    for whole, *shares in zip(first, *halves, strict=True):
        assert torch.equal(whole.index, torch.cat([each.index for each in shares]))


def test_dropped_words_belong_to_the_text_and_the_epoch_whatever_it_is_padded_to():
    draw = np.random.default_rng(0)
    texts = [" ".join(f"w{k}" for k in draw.integers(0, 9, n)) for n in draw.integers(1, 40, 64)]
    dataset, steps = made(texts)
    part = data.Part(dataset, np.arange(64))
    change = data.TextAugmentation(word_dropout=0.3, longest=steps.longest)

    def rows_of(size, epoch=0):
        found = {}
        own = {"batch_size": size, "seed": 1, "epoch": epoch, "augmentation": change}
        for batch in data.training_batches(part, steps, **own):
            for i, row in zip(batch.index.tolist(), batch.inputs[0], strict=True):
                found[i] = row[row > 0].tolist()
        return found

    assert rows_of(8) == rows_of(64)
    assert rows_of(8) != rows_of(8, epoch=1)
    whole = {i: steps.apply(text).tolist() for i, text in enumerate(texts)}
    changed = rows_of(8)
    pairs = [p for i in whole for p in zip(whole[i], changed[i], strict=True)]
    assert all(now in (1, before) for before, now in pairs)
    assert 0.2 < np.mean([now == 1 for _, now in pairs]) < 0.4


def test_what_is_cut_off_and_unknown_is_counted():
    dataset, steps = made(["a b c d", "a b", "z"], longest=3)
    part = data.Part(dataset, np.arange(3))
    cut = pictures_of(dataset, steps).cut(part.ids)
    assert (cut.texts, cut.cut, cut.tokens, cut.lost, cut.longest) == (3, 1, 7, 1, 4)
    assert cut.unknown == 0


def test_the_card_carries_the_tokens_and_notices_others(tmp_path):
    dataset = data.open_dataset(write_csv(tmp_path / "a.csv", rows(30)), text_column="text")
    parts = data.split(dataset)
    options = TokenOptions(vocabulary=90, form="NFC")
    steps = data.fit_preprocessing(parts.train, tokens=options)
    card = json.loads(json.dumps(data.build_card(parts, steps)))
    again = data.Preprocessing.from_card(card)
    assert isinstance(again, data.TextPreprocessing)
    text = dataset.read(0)
    assert torch.equal(again.apply(text), steps.apply(text))
    assert again.options == options
    assert card["data"]["texts"]["texts"] == len(parts.train)
    tokens = card["preprocessing"]["steps"][1]
    tokens["tokenizer"] = tokens["tokenizer"].replace("rose", "nose")
    with pytest.raises(DataError, match="SHA-256"):
        data.Preprocessing.from_card(card)


def test_tokens_come_from_training_texts_alone():
    dataset, _ = made(["seen seen", "hidden hidden"])
    steps = data.fit_preprocessing(data.Part(dataset, np.array([0])), tokens=TokenOptions(least=1))
    assert steps.apply("seen hidden").tolist() == [2, 1]


def test_settings_of_other_kinds_and_too_few_words_are_refused():
    dataset, _ = made(WORDS)
    part = data.Part(dataset, np.arange(3))
    with pytest.raises(OptionError, match=r"spacing .* belongs to volumes, and these are texts"):
        data.fit_preprocessing(part, spacing=2.0)
    with pytest.raises(DataError, match="No token stands 9 times"):
        data.fit_preprocessing(part, tokens=TokenOptions(least=9))
    with pytest.raises(OptionError, match="level"):
        TokenOptions(level="letter")
    with pytest.raises(DataError, match="the text is empty"):
        data.fit_preprocessing(part, tokens=TokenOptions(least=1)).apply("\x00 ")


@given(
    texts=st.lists(st.text(st.characters(codec="ascii"), max_size=30), max_size=4),
    other=st.text(max_size=12),
    lower=st.booleans(),
    level=st.sampled_from(["word", "char", "bpe"]),
)
def test_ids_are_the_librarys_whichever_way_they_are_found(texts, other, lower, level):
    known = [
        "The red_shoe, a-b; 12 x!? (the) !?",
        "caf\u00e9 a\u0301",
        "abcdefg abcdefgh abcdefghi",
    ]
    known += [16 * "n", 17 * "n", 17 * "n" + "o"]
    made = learn_tokens(known, TokenOptions(level=level, least=1, lower=lower))
    library = tokenizers.Tokenizer.from_str(made)
    texts = [*texts, "The SHOE !? [UNK] x_12", other, " ".join([*known, 16 * "n" + "o", 15 * "n"])]
    found = tokens_of(made).encode(texts)
    expected = library.encode_batch([*map(plain, texts)], add_special_tokens=False)
    assert [ids.tolist() for ids in found] == [each.ids for each in expected]
    assert all(ids.dtype == np.int32 for ids in found)
