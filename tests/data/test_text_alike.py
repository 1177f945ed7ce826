"""Texts that read alike stay on one side of a split."""

from __future__ import annotations

import itertools

import numpy as np

from convarium import data
from convarium.data.looks import alike_pairs, differing_bits
from convarium.data.texts.alike import reading_hashes
from convarium.data.texts.reading import compared
from convarium.data.texts.samples import Texts


def words(draw, count: int) -> list[str]:
    return [f"w{k}" for k in draw.integers(0, 3000, count)]


def shared(one: list[str], other: list[str]) -> float:
    """Jaccard's share of words and neighbouring pairs."""
    first, second = ({*each, *itertools.pairwise(each)} for each in (one, other))
    return len(first & second) / len(first | second)


def test_bits_differ_by_half_of_what_texts_do_not_share():
    """(1 - J) / 2 of 256, by the count of words and pairs themselves."""
    draw = np.random.default_rng(0)
    errors = []
    for changed in (1, 3, 6, 12, 25):
        for _ in range(12):
            one = words(draw, 60)
            other = list(one)
            for place in draw.choice(60, changed, replace=False):
                other[place] = f"x{draw.integers(10**6)}"
            hashes = reading_hashes([one, other])
            bits = int(differing_bits(hashes[:1], hashes[1:])[0])
            errors.append(bits - 128 * (1 - shared(one, other)))
    assert abs(np.mean(errors)) < 3
    assert np.std(errors) < 14


def test_other_texts_are_not_alike_and_short_ones_only_if_equal():
    draw = np.random.default_rng(1)
    texts = [words(draw, 30) for _ in range(400)] + [words(draw, 5) for _ in range(400)]
    texts += [["red", "shoe"], ["red", "hat"], ["red", "shoe"], []]
    pairs = alike_pairs(reading_hashes(texts))
    assert pairs.tolist() == [[800, 802]]


def test_a_split_keeps_what_reads_alike_together_and_says_what_given_parts_share():
    draw = np.random.default_rng(2)
    texts, targets = [], []
    for number in range(120):
        base = words(draw, 60)
        other = list(base)
        other[int(draw.integers(60))] = "changed"
        texts += [" ".join(base), " ".join(other).upper() + "  ", " ".join(words(draw, 8))]
        targets += [number % 2] * 3
    samples = Texts(texts)
    dataset = data.Dataset(
        samples, source="made", classes=("a", "b"), targets=np.array(targets, np.int64)
    )
    parts = data.split(dataset)
    side = np.full(len(texts), -1)
    for number, part in enumerate((parts.train, parts.validation, parts.test)):
        side[part.ids] = number
    assert parts.settings["group_alike"] is True
    assert (side[0::3] == side[1::3]).all()
    assert data.lookalikes(parts).counts == {"validation": 0, "test": 0}
    loose = data.split(dataset, group_alike=False)
    assert data.lookalikes(loose).counts["test"] > 5
    assert compared(texts[1])[0] == texts[0].split()[0]
