"""A sample that an epoch has several times: each time another change, the first as if alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made import arrays, plain
from scipy import stats

from convarium import data
from convarium.data.augment.stream import Stream
from convarium.data.batching import turns_of

CHANGE = data.Augmentation(flip=True, pad_crop=1, rotation=40, jitter=0.5, erasing=0.5)


def batches(part, **changed):
    options = {"batch_size": 8, "seed": 3, "epoch": 5, "augmentation": CHANGE, **changed}
    return list(data.training_batches(part, plain((3, 6, 6)), **options))


@pytest.fixture
def repeated():
    """30 samples; one comes nine times, others twice or once."""
    ids = np.concatenate([np.arange(30), np.full(8, 4), [7, 9]])
    return data.Part(arrays(30, (3, 6, 6)), ids)


@given(st.lists(st.integers(0, 6), max_size=60))
def test_turns_count_the_earlier_places(ids):
    expected = [ids[:place].count(i) for place, i in enumerate(ids)]
    found = turns_of(np.array(ids, np.int64))
    assert (found.tolist() if found is not None else [0] * len(ids)) == expected
    assert (found is None) == (len(set(ids)) == len(ids))


def test_the_first_time_is_as_ever_and_each_further_one_is_another(repeated):
    seen: dict[int, list[torch.Tensor]] = {}
    for batch in batches(repeated):
        for i, image in zip(batch.index.tolist(), batch.inputs[0], strict=True):
            seen.setdefault(i, []).append(image)
    assert {i: len(images) for i, images in seen.items() if len(images) > 1} == {4: 9, 7: 2, 9: 2}
    steps = plain((3, 6, 6))
    for i, images in seen.items():
        stream = Stream(np.array([i]), 3, 5)
        pixels = torch.from_numpy(repeated.dataset.samples.images[[i]])
        alone = CHANGE.after(steps.finish(CHANGE.change(pixels, stream)), stream)[0]
        assert torch.equal(images[0], alone)
        assert len({image.numpy().tobytes() for image in images}) == len(images)


def test_ranks_workers_and_starts_have_the_same(repeated):
    whole = batches(repeated)
    threads, later = batches(repeated, workers=3), batches(repeated, start=2)
    ranks = [batches(repeated, rank=rank, world=3) for rank in range(3)]
    for k, batch in enumerate(whole):
        assert torch.equal(batch.inputs[0], threads[k].inputs[0])
        assert torch.equal(batch.inputs[0], torch.cat([own[k].inputs[0] for own in ranks]))
        assert k < 2 or torch.equal(batch.inputs[0], later[k - 2].inputs[0])


def test_numbers_of_later_turns_are_uniform_and_independent():
    n = 20_000
    ids = np.arange(n)
    first = Stream(ids, 1, 2).uniform("flip")
    assert np.array_equal(first, Stream(ids, 1, 2, np.zeros(n, np.int64)).uniform("flip"))
    again = Stream(ids, 1, 2, np.ones(n, np.int64)).uniform("flip")
    one = Stream(np.full(n, 5), 1, 2, np.arange(n))
    for numbers in (again, one.uniform("flip"), one.several("area", 3)[:, 1]):
        assert len(np.unique(numbers)) == n
        assert stats.kstest(numbers, "uniform").pvalue > 1e-3
    assert stats.pearsonr(first, again).pvalue > 1e-3
    assert stats.pearsonr(one.uniform("a")[1:], one.uniform("a")[:-1]).pvalue > 1e-3
