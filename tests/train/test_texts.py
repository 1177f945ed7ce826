"""Training on texts: a known answer, equal bits after a stop, counted vectors, baselines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stopping import assert_goes_on_with_the_same_bits
from written import COMMON, SUBJECTS, rows, write_csv

import convarium
from convarium import data, train
from convarium.errors import OptionError
from convarium.train import word_vectors
from convarium.train.config import TrainConfig
from convarium.train.from_config import augmentation_of
from convarium.train.text_baselines import (
    BagOfWords,
    bag_of_words,
    check_baselines,
    compared,
    text_baselines,
    word_counts,
)
from convarium.train.word_vectors import counted_vectors

pytest.importorskip("tokenizers")


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    path = write_csv(tmp_path_factory.mktemp("texts") / "a.csv", rows(180))
    return data.split(data.open_dataset(path, text_column="text"))


def network(steps, **options) -> torch.nn.Module:
    torch.manual_seed(0)
    small = {"embedding_dim": 16, "filters": 8, "num_classes": 3}
    return convarium.create("text_cnn", **small, **steps.network_options, **options)


def config(**options) -> TrainConfig:
    own = {"batch_size": 16, "learning_rate": 0.01, "precision": "fp32", "layout": "contiguous"}
    return TrainConfig(**{**own, "epochs": 4, "flip": False, "compile": "off", **options})


def test_subjects_are_told_apart_and_a_run_answers_as_it_was_measured(parts, tmp_path):
    steps = data.fit_preprocessing(parts.train)
    model = network(steps)
    longer = config(word_dropout=0.1, epochs=6)
    train.fit(model, parts, longer, preprocessing=steps, out=tmp_path / "run")
    run = convarium.open_run(tmp_path / "run")
    whole = run.predictor.evaluate(parts.test)
    assert whole.accuracy > 0.9
    alone = run.predictor.evaluate(parts.test, batch_size=1)
    assert np.array_equal(alone.labels, whole.labels)
    assert np.allclose(alone.confidences, whole.confidences, atol=1e-6)
    assert run.samples().dtype == torch.int64


def test_a_stopped_run_ends_with_the_bits_of_one_that_was_not(parts, tmp_path):
    steps = data.fit_preprocessing(parts.train)
    options = config(
        word_dropout=0.2, vectors="counted", epochs=2, batch_size=32, checkpoint_seconds=0.0
    )

    def make() -> torch.nn.Module:
        return network(steps, embedding="fine_tuned")

    assert_goes_on_with_the_same_bits(make, parts, options, steps, tmp_path, at=7)


def test_counted_vectors_are_the_singular_vectors_of_the_information():
    """Against numpy's own decomposition of a matrix that is counted by hand."""
    draw = np.random.default_rng(0)
    texts = [draw.integers(1, 12, draw.integers(2, 15)) for _ in range(200)]
    flat = np.concatenate([np.append(text, 0) for text in texts])
    counts = np.zeros((12, 12))
    for text in texts:
        for i, one in enumerate(text):
            for j, other in enumerate(text):
                if 0 < abs(i - j) <= 5:
                    counts[one, other] += 1 / abs(i - j)
    smooth = counts.sum(1) ** 0.75
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.log(counts / counts.sum(1)[:, None] / (smooth / smooth.sum()))
    information = np.where(np.isfinite(information), information, 0).clip(0)
    left, sizes, _ = np.linalg.svd(information)
    expected = left[:, :4] * np.sqrt(sizes[:4])
    found = counted_vectors(flat, 12, 4).double().numpy()
    assert not found[0].any()
    between, own = expected @ expected.T, found @ found.T
    assert np.allclose(own / own.trace(), between / between.trace(), atol=1e-4)
    assert np.isclose(np.square(found[1:]).mean(), 0.15**2, rtol=1e-4)


def test_of_many_tokens_texts_from_everywhere_are_counted(monkeypatch):
    monkeypatch.setattr(word_vectors, "MOST_COUNTED", 300)
    texts = [np.array([2 * k + 1, 2 * k + 2, 0]) for k in range(4) for _ in range(100)]
    for seed in range(5):  # sorted, as by a category
        found = counted_vectors(np.concatenate(texts), 9, 4, seed=seed)
        assert (found[1:] != 0).any(1).all()
    one = word_vectors._drawn(np.concatenate(texts), 0)
    assert 297 <= len(one) <= 300
    assert np.array_equal(one.reshape(-1, 3)[:, 2], np.zeros(len(one) // 3))


def test_words_of_one_subject_lie_near_one_another(parts):
    steps = data.fit_preprocessing(parts.train)
    from convarium.data.pictures import pictures_of

    flat = pictures_of(parts.train.dataset, steps).flat(parts.train.ids)
    vectors = torch.nn.functional.normalize(counted_vectors(flat, len(steps.tokens), 8), dim=1)
    known = {word: steps.apply(word).item() for words in SUBJECTS.values() for word in words}
    garden, kitchen = (vectors[[known[w] for w in SUBJECTS[s]]] for s in ("garden", "kitchen"))
    within = (garden @ garden.T)[~torch.eye(len(garden), dtype=torch.bool)].mean()
    across = (garden @ kitchen.T).mean()
    assert within > across + 0.2
    assert steps.apply(COMMON[0]).item() not in known.values()


def test_options_of_other_kinds_are_refused_for_texts_and_theirs_for_others(parts):
    steps = data.fit_preprocessing(parts.train)
    for name, value in {"pad_crop": 2, "mixup": 0.2, "jitter": 0.4, "flip_axes": "all"}.items():
        with pytest.raises(OptionError, match=rf"{name} .* and the data holds texts"):
            augmentation_of(config(**{name: value}), "texts")
    for name, value in {"word_dropout": 0.1, "vectors": "counted"}.items():
        with pytest.raises(OptionError, match=rf"{name} .* is for texts"):
            augmentation_of(config(**{name: value}), "images")
    with pytest.raises(OptionError, match="needs a network that takes them"):
        train.fit(network(steps), parts, config(vectors="counted"), preprocessing=steps)


def test_baselines_are_measured_on_the_same_texts(parts, tmp_path):
    steps = data.fit_preprocessing(parts.train)
    model = network(steps)
    train.fit(model, parts, config(), preprocessing=steps)
    card = data.build_card(parts, steps)
    evaluation = convarium.predict.Predictor(model, card).evaluate(parts.test)
    bag, linear = text_baselines(parts, steps, config(), evaluation)
    assert (bag.n, linear.n) == (len(parts.test), len(parts.test))
    said = word_counts(parts)
    assert linear.correct == int((said == parts.test.targets).sum())
    assert linear.accuracy > 0.9
    assert np.isclose(linear.gap, evaluation.accuracy - linear.accuracy)
    assert linear.gap_interval.low <= linear.gap <= linear.gap_interval.high


def test_baselines_go_without_what_needs_stages_and_say_so_before_a_training(parts):
    steps = data.fit_preprocessing(parts.train)
    check_baselines(parts, steps, config(layer_decay=0.5, freeze_epochs=1))
    said = bag_of_words(parts, steps, config(epochs=1, layer_decay=0.5))
    assert said.shape == (len(parts.test),)


def test_who_won_follows_from_the_interval_of_the_difference():
    right = np.ones(200, np.bool_)
    worse = right.copy()
    worse[:40] = False
    assert compared("x", right, worse).verdict == "network"
    assert compared("x", worse, right).verdict == "baseline"
    assert compared("x", right, right).verdict == "undecided"
    assert compared("x", worse, worse[::-1].copy()).verdict == "undecided"


def test_a_bag_of_words_does_not_see_padding_or_order():
    torch.manual_seed(0)
    model = BagOfWords(50, 3).eval()
    plain = model(torch.tensor([[2, 3, 4]]))
    assert torch.allclose(model(torch.tensor([[4, 2, 3, 0, 0]])), plain, atol=1e-6)
    assert sum(p.numel() for p in BagOfWords(10_000, 20).parameters()) == 1_299_092
