"""Training on series: a known answer, padded as unpadded, equal bits after a stop, the choice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sequences import waves, write_pair, write_ts
from stopping import assert_goes_on_with_the_same_bits

import convarium
from convarium import data, train
from convarium.errors import OptionError, ShapeError
from convarium.train.config import TrainConfig
from convarium.train.from_config import augmentation_of
from convarium.train.series_choice import series_choice


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = write_pair(tmp_path_factory.mktemp("series") / "ramps", length=-40, channels=2)
    return data.split(data.open_dataset(folder))


def network(steps, name="fcn", **options) -> torch.nn.Module:
    torch.manual_seed(0)
    small = {"fcn": {"channels": [8, 8, 8]}}.get(name, {})
    return convarium.create(name, num_classes=2, **small, **steps.network_options, **options)


def config(**options) -> TrainConfig:
    own = {"batch_size": 8, "learning_rate": 0.01, "precision": "fp32", "layout": "contiguous"}
    return TrainConfig(**{**own, "epochs": 6, "flip": False, "compile": "off", **options})


def test_ramps_are_told_apart_and_a_run_answers_as_it_was_measured(parts, tmp_path):
    steps = data.fit_preprocessing(parts.train)
    model = network(steps)
    options = config(jitter=0.05, crop=0.9, keep="last", ema=0.9)
    history = train.fit(model, parts, options, preprocessing=steps, out=tmp_path / "run")
    assert history.best_epoch == 6
    run = convarium.open_run(tmp_path / "run")
    whole = run.predictor.evaluate(parts.test)
    assert whole.accuracy > 0.9
    alone = run.predictor.evaluate(parts.test, batch_size=1)
    assert np.array_equal(alone.labels, whole.labels)
    assert np.allclose(alone.confidences, whole.confidences, atol=1e-6)
    ids, vectors = run.predictor.embed(parts.test)
    assert vectors.shape == (len(ids), 8)
    assert run.samples().shape[1] == 2


def test_the_gradient_of_padded_series_is_that_of_the_series_alone(parts):
    steps = data.fit_preprocessing(parts.train)
    order = np.argsort(parts.train.dataset.survey().widths[parts.train.ids])
    two = data.Part(parts.train.dataset, parts.train.ids[order[[0, -1]]])
    (batch,) = data.batches(two, steps)
    assert batch.mask is not None
    model = network(steps).double()
    model.eval()
    task = convarium.tasks.from_card(data.build_card(parts, steps))
    loss = task.loss(model(batch.inputs[0].double(), batch.mask), batch)
    (loss * 2).backward()
    padded = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    for k in range(2):
        one = data.Part(two.dataset, two.ids[k : k + 1])
        (single,) = data.batches(one, steps)
        assert single.mask is None
        task.loss(model(single.inputs[0].double()), single).backward()
    for first, parameter in zip(padded, model.parameters(), strict=True):
        assert torch.allclose(first, parameter.grad, atol=1e-6, rtol=1e-5)


def test_a_stopped_run_ends_with_the_bits_of_one_that_was_not(parts, tmp_path):
    steps = data.fit_preprocessing(parts.train)
    options = config(epochs=3, jitter=0.1, crop=0.8, checkpoint_seconds=0.0)

    def make() -> torch.nn.Module:
        return network(steps)

    assert_goes_on_with_the_same_bits(make, parts, options, steps, tmp_path, at=4)


def test_networks_without_masks_take_series_of_one_length_only(parts, tmp_path):
    steps = data.fit_preprocessing(parts.train)
    model = network(steps, "resnet8", stem="cifar")
    with pytest.raises(OptionError, match=r"resnet8 takes series of one length; choose inception"):
        train.fit(model, parts, config(), preprocessing=steps)
    equal = data.split(data.open_dataset(write_pair(tmp_path / "equal")))
    own = data.fit_preprocessing(equal.train)
    found = train.fit(
        network(own, "resnet8", stem="cifar"), equal, config(epochs=2), preprocessing=own
    )
    assert len(found.rows) == 2


def test_a_network_that_reads_out_every_step_is_refused(parts):
    steps = data.fit_preprocessing(parts.train)
    model = network(steps, "tcn", channels=[4] * 4, readout="every")
    with pytest.raises(ShapeError, match=r"outputs \(1, 2, \d+\) .* tcn does by readout='last'"):
        train.fit(model, parts, config(), preprocessing=steps)


def test_members_are_averaged_as_the_task_needs_it(tmp_path):
    path = tmp_path / "tide.csv"
    rows = [f"{t},{np.sin(t / 3):.4f}" for t in range(120)]
    path.write_text("\n".join(["t,level", *rows]))
    own = {"time_column": "t", "value_column": "level", "horizon": 2, "window": 12}
    tides = data.split(data.open_dataset(path, **own, task="forecast", label_column="level"))
    steps = data.fit_preprocessing(tides.train)
    options = config(epochs=1)

    def members(**more: str) -> torch.nn.Module:
        own = steps.head_options | steps.network_options | more
        return convarium.create("fcn", channels=[4, 4, 4], members=2, **own)

    with pytest.raises(OptionError, match="and the task is forecast; set average=outputs"):
        train.fit(members(), tides, options, preprocessing=steps)
    history = train.fit(members(average="outputs"), tides, options, preprocessing=steps)
    assert len(history.rows) == 1


def test_the_last_epoch_is_kept_where_that_is_asked_for(parts):
    steps = data.fit_preprocessing(parts.train)
    losses = []
    for keep in ("best", "last"):
        model = network(steps)
        history = train.fit(model, parts, config(keep=keep, epochs=5), preprocessing=steps)
        losses.append(history.best_epoch)
    assert losses[1] == 5
    assert losses[0] <= 5
    with pytest.raises(OptionError, match="patience"):
        config(keep="last", patience=2)


def test_options_of_other_kinds_are_refused():
    assert augmentation_of(config(jitter=0.2), "series").jitter == 0.2
    for wrong in ({"mixup": 0.2}, {"rotation": 10.0}, {"word_dropout": 0.1}):
        with pytest.raises(OptionError, match="the data holds series"):
            augmentation_of(config(**wrong), "series")
    with pytest.raises(OptionError, match=r"crop .=0.5. is for series"):
        augmentation_of(config(crop=0.5), "images")


@pytest.mark.parametrize(
    ("n", "length", "epochs", "rate"),
    [
        (36, 427, 500, 5e-4),  # 250 epochs of 9 steps, twice
        (67, 24, 500, 5e-4),
        (300, 100, 500, 5e-4),
        (362, 1250, 88, 2e-3),  # 2 million time steps, 20 times
        (499, 90_000, 20, 2e-3),
        (2000, 100, 78, 2e-3),
    ],
)
def test_few_series_are_trained_twice_as_long_in_small_steps_where_that_ends(
    n, length, epochs, rate
):
    _, _, config = series_choice(n, length)
    assert (config["epochs"], config["learning_rate"]) == (epochs, rate)


def test_the_choice_follows_from_number_and_length(tmp_path):
    few, many, long = series_choice(30, 100), series_choice(20_000, 100), series_choice(500, 90_000)
    assert (few[0], many[0]) == ("fcn", "inception_time")
    assert few[2]["epochs"] > many[2]["epochs"]
    assert few[2]["batch_size"] < many[2]["batch_size"]
    assert long[2]["epochs"] == 20
    path = write_ts(tmp_path / "a.ts", *waves(40))
    choice = train.recommend(data.open_dataset(path))
    assert choice.model == few[0]
    assert "40 series of 2 classes, 1 channel, 30 time steps" in choice.reason
    small = choice.config.learning_rate / 2e-3
    sgd = train.recommend(data.open_dataset(path), optimizer="sgd").config
    assert sgd.learning_rate == pytest.approx(0.1 / 4 * small)
    with pytest.raises(OptionError, match="recipe"):
        train.recommend(data.open_dataset(path), recipe="strong")
