"""Options of training: types, limits, names, and no torch."""

from __future__ import annotations

import copy
import dataclasses
import json
import subprocess
import sys
import tomllib

import pytest
import tomli_w

from convarium import data
from convarium.cli.parsing import Parser, add_config_arguments, given_options
from convarium.errors import OptionError
from convarium.options import kinds_of
from convarium.tasks import Objective
from convarium.train import RECIPES
from convarium.train.config import TrainConfig, options


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("epochs", 0, "at least 1"),
        ("epochs", 2.5, "type int"),
        ("epochs", True, "type int"),
        ("learning_rate", 0, "above 0"),
        ("learning_rate", "fast", "type float"),
        ("ema", 1.0, "below 1"),
        ("optimizer", "adam", "'adamw'"),
        ("flip", 1, "type bool"),
        ("patience", 0, "at least 1"),
        ("precision", "fp16", "'bf16'"),
        ("seed", -1, "at least 0"),
        ("checkpoint_seconds", float("inf"), "finite"),
        ("clip_norm", float("nan"), "finite"),
        ("milestones", 800, "several whole numbers"),
        ("milestones", "800", "several whole numbers"),
        ("milestones", (800, 0), "at least 1"),
        ("milestones", [800, 1200.5], "type int"),
        ("milestones", (True,), "type int"),
        ("gamma", 0, "above 0"),
        ("gamma", 1.5, "at most 1"),
    ],
)
def test_wrong_values_are_named(name, value, words):
    with pytest.raises(OptionError, match=words) as caught:
        TrainConfig(**{name: value})
    assert name in str(caught.value)


def test_an_unknown_option_names_the_close_match():
    with pytest.raises(OptionError, match="'learning_rate'"):
        TrainConfig.from_mapping({"learning_rat": 0.1})


def test_mapping_round_trip_leaves_none_out():
    config = TrainConfig(ema=0.99, seed=3)
    mapping = config.to_mapping()
    assert "clip_norm" not in mapping
    assert TrainConfig.from_mapping(mapping) == config


def test_milestones_are_a_list_in_files_and_a_tuple_here():
    config = TrainConfig(milestones=[800, 1200])
    assert config.milestones == (800, 1200)
    assert config == TrainConfig(milestones=(800, 1200))
    stored = tomllib.loads(tomli_w.dumps(config.to_mapping()))
    assert stored["milestones"] == [800, 1200]
    assert stored == config.to_mapping()
    assert TrainConfig.from_mapping(json.loads(json.dumps(stored))) == config
    assert "milestones" not in TrainConfig().to_mapping()


def test_the_command_takes_milestones_with_commas():
    parser = Parser()
    add_config_arguments(parser)
    given = given_options(parser.parse_args(["--milestones", "800,1200", "--gamma", "0.2"]))
    assert given == {"milestones": (800, 1200), "gamma": 0.2}
    assert given_options(parser.parse_args(["--milestones", "none"])) == {"milestones": None}
    with pytest.raises(OptionError, match="whole numbers with commas"):
        parser.parse_args(["--milestones", "800 1200"])


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_s_name_alone_is_refused_and_its_options_are_kept(name):
    with pytest.raises(OptionError, match=rf"TrainConfig.from_recipe\('{name}', side\)"):
        TrainConfig(recipe=name)
    with pytest.raises(OptionError, match="not all of them are given"):
        TrainConfig.from_mapping({"recipe": name, "optimizer": "sgd"})
    said = RECIPES[name].config_options(32)
    config = TrainConfig.from_recipe(name, 32)
    assert config == TrainConfig(**said, recipe=name)
    changed = TrainConfig(**{**said, "seed": 3, "epochs": 2}, recipe=name)
    assert TrainConfig.from_recipe(name, 32, seed=3, epochs=2) == changed
    assert dataclasses.replace(config, epochs=20).epochs == 20  # knowingly, as the default has it
    stored = tomllib.loads(tomli_w.dumps(config.to_mapping()))
    assert TrainConfig.from_mapping(stored) == config
    assert copy.deepcopy(config) == config


def test_what_is_taken_from_a_recipe_knowingly_stays_away():
    config = TrainConfig.from_recipe("strong", 32, mixup=None, cutmix=None)
    assert (config.recipe, config.mixing, config.policy) == ("strong", False, "randaugment")
    assert TrainConfig.from_mapping(config.to_mapping()) == config
    with pytest.raises(OptionError, match="'strong'"):
        TrainConfig.from_recipe("stronk", 32)
    with pytest.raises(OptionError, match="'epochs'"):
        TrainConfig.from_recipe("strong", 32, epoch=3)


@pytest.mark.parametrize("table", [data.Augmentation, Objective])
def test_options_that_other_rooms_have_too_have_the_same_limits_there(table):
    def limits(field):
        return {k: v for k, v in field.metadata.items() if k not in ("help", "of")}

    ours = {each.name: each for each in dataclasses.fields(TrainConfig)}
    theirs = [each for each in dataclasses.fields(table) if each.name in ours]
    assert len(theirs) >= 4
    for each in theirs:
        if each.name != "loss":  # whose names are the task's
            assert limits(each) == limits(ours[each.name]), each.name
        assert kinds_of(table)[each.name] == kinds_of(TrainConfig)[each.name]


def test_every_option_has_a_help_text_and_a_plain_type():
    for name, kind, _, option in options():
        assert option.metadata["help"], name
        assert kind in (int, float, str, bool, tuple), name
    hidden = {each.name for each in dataclasses.fields(TrainConfig)} - {o[0] for o in options()}
    assert hidden == {"time_around"}  # is worked out, never asked for


def test_configuration_does_not_import_torch():
    code = "import sys, convarium.train.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
