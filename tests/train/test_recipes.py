"""What is chosen where nobody says, from the facts of a data set alone."""

from __future__ import annotations

import numpy as np
import pytest

from convarium import data, models, train
from convarium.errors import OptionError
from convarium.train import RECIPES


def dataset(tmp_path, side, n, colour=True):
    shape = (n, side, side, 3) if colour else (n, side, side)
    images = np.random.Generator(np.random.PCG64(0)).integers(0, 256, shape, dtype=np.uint8)
    np.savez(tmp_path / f"{side}.npz", x=images, y=np.arange(n) % 4)
    return data.open_dataset(tmp_path / f"{side}.npz")


@pytest.mark.parametrize("side", [8, 28, 32, 48, 64, 96])
def test_the_choice_can_be_built_and_its_last_map_is_not_a_point(tmp_path, side, recwarn):
    chosen = train.recommend(dataset(tmp_path, side, 40))
    assert chosen.size is None
    model = models.create(chosen.model, num_classes=4, in_channels=3, **chosen.options)
    models.check_input(model, (3, side, side))
    assert not recwarn.list


def test_digits_are_not_mirrored_and_large_arrays_are_reduced(tmp_path):
    digits = train.recommend(data.open_dataset("digits"))
    assert digits.config.flip is False
    assert digits.size is None
    large = train.recommend(dataset(tmp_path, 200, 12))
    assert large.size == 96
    assert large.config.flip is True


def test_smaller_data_gets_smaller_batches_and_more_epochs(tmp_path):
    few, many = (train.recommend(dataset(tmp_path, 8, n)) for n in (100, 20_000))
    assert few.config.batch_size < many.config.batch_size
    assert few.config.epochs > many.config.epochs
    assert few.config.learning_rate < many.config.learning_rate
    assert many.validation * 20_000 == pytest.approx(2000)
    assert many.test == 0.15


def test_sgd_gets_a_rate_and_a_decay_of_its_own(tmp_path):
    images = dataset(tmp_path, 8, 3000)
    adamw, sgd = (train.recommend(images, optimizer=name) for name in ("adamw", "sgd"))
    assert sgd.config.optimizer == "sgd"
    assert sgd.config.learning_rate == pytest.approx(0.1)
    assert sgd.config.weight_decay < adamw.config.weight_decay


def test_a_long_training_is_regularised_and_a_short_one_is_not(tmp_path):
    few, many = (train.recommend(dataset(tmp_path, 8, n)).config for n in (100, 30_000))
    assert few.epochs >= 10 > many.epochs
    assert few.label_smoothing > many.label_smoothing == 0.0
    assert few.weight_decay > many.weight_decay
    assert few.pad_crop > many.pad_crop == 0


def test_the_network_follows_a_given_size(tmp_path):
    images = dataset(tmp_path, 96, 12)
    assert train.recommend(images).model == "resnet18"
    small = train.recommend(images, size=32)
    assert (small.model, small.size, small.options["stem"]) == ("resnet10", 32, "pool")


def test_the_page_of_recipes_is_what_they_set(root):
    page = (root / "docs/recipes.md").read_text(encoding="utf-8").splitlines()
    for name, recipe in RECIPES.items():
        assert f"| `{name}` | {recipe.purpose} |" in page
    rows = [line.strip("| ").split(" | ") for line in page if line.startswith("| `")]
    table = {row[0].strip("`"): row[1:] for row in rows if len(row) == 1 + len(RECIPES)}
    for place, recipe in enumerate(RECIPES.values()):
        told = {option: cells[place] for option, cells in table.items() if cells[place] != "-"}
        words = {True: "on", False: "off"}
        expected = {k: words.get(v, str(v)) if isinstance(v, bool) else str(v)
                    for k, v in recipe.options.items()}  # fmt: skip
        if recipe.crop_share is not None:
            expected["pad_crop"] = f"1/{round(1 / recipe.crop_share)} of the side"
        assert told == expected


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_a_configuration_and_names_close_matches(tmp_path, name):
    images = dataset(tmp_path, 32, 2560)
    choice = train.recommend(images, recipe=name)
    config = choice.config
    assert config.recipe == name
    for option, value in RECIPES[name].config_options(32).items():
        assert getattr(config, option) == value
    model = models.create(choice.model, num_classes=4, in_channels=3, **choice.options)
    models.check_input(model, (3, 32, 32))
    with pytest.raises(OptionError, match=repr(name)):
        train.recommend(images, recipe=name + "x")


@pytest.mark.parametrize("name", ["baseline", "speedrun"])
def test_few_samples_get_smaller_batches_than_a_recipe_has_and_a_rate_to_match(tmp_path, name):
    own = RECIPES[name].options
    config = train.recommend(dataset(tmp_path, 8, 60), recipe=name).config
    assert config.batch_size == 16
    scale = (16 / own["batch_size"]) ** 0.5
    assert config.learning_rate == pytest.approx(scale * own["learning_rate"])
    asked = train.recommend(dataset(tmp_path, 8, 60), recipe=name, batch_size=32).config
    assert (asked.batch_size, asked.learning_rate) == (32, own["learning_rate"])
    other = train.recommend(dataset(tmp_path, 8, 60), recipe=name, optimizer="adamw").config
    assert other.learning_rate == pytest.approx(4e-3 * (16 / 128) ** 0.5)


def test_muon_is_recommended_the_momentum_of_its_author(tmp_path):
    config = train.recommend(dataset(tmp_path, 8, 300), optimizer="muon").config
    assert (config.optimizer, config.momentum) == ("muon", 0.95)
