"""What is said and recorded of the parts' rates, against the network's own parameters."""

from __future__ import annotations

import re
import tomllib

import pytest
import torch

from convarium import models, predict, train
from convarium.cli.announcing import announce
from convarium.cli.choosing import Prepared
from convarium.train import Choice, TrainConfig
from convarium.train.grouping import group_rows, grouping_lines
from convarium.train.optimizers import build_optimizer

PARTS = ["head", "layer3", "layer2", "layer1", "stem"]  # from behind


def resnet():
    torch.manual_seed(0)
    return models.create("resnet8", in_channels=1, num_classes=3, widths=[4, 4, 4])


@pytest.mark.parametrize("rule", ["adamw", "muon"])
def test_rows_tell_every_parameter_with_its_rate_and_decay(rule):
    model = resnet()
    config = TrainConfig(layer_decay=0.5, weight_decay=0.1, optimizer=rule)
    rows = group_rows(model, build_optimizer(model, config).param_groups)
    for place, part in enumerate(PARTS):
        child = model.get_submodule(part)
        own = [row for row in rows if row["name"].startswith(f"{part} ")]
        assert {row["rate"] for row in own} == {0.5**place}
        # a residual network's weights with two axes or more are its convolutions and its head
        sizes = {True: 0, False: 0}
        for parameter in child.parameters():
            sizes[parameter.ndim > 1] += parameter.numel()
        told = {True: 0, False: 0}
        for row in own:
            told[row["weight_decay"] == 0.1] += row["parameters"]
        assert told == sizes
    assert sum(row["parameters"] for row in rows) == sum(p.numel() for p in model.parameters())


def test_lines_tell_the_rates_from_the_head_backwards():
    (line,) = grouping_lines(resnet(), TrainConfig(layer_decay=0.7, weight_decay=0.05))
    rates = re.findall(r"(\w+) ([\d.]+)[,;]", line)
    assert [name for name, _ in rates] == PARTS
    assert [float(rate) for _, rate in rates] == pytest.approx([0.7**k for k in range(5)], rel=5e-3)
    assert line.endswith("decay 0.05 of weights only")
    assert grouping_lines(resnet(), TrainConfig()) == []


def test_the_network_with_most_parts_has_a_line_too():
    model = models.create("mobilenet_v3_large", num_classes=3)
    (line,) = grouping_lines(model, TrainConfig(layer_decay=0.9))
    parts = [name for name, child in model.in_order().items() if [*child.parameters()]]
    assert [rate.split()[0] for rate in line[7:].split(", ")] == parts[::-1]
    assert len(line) < 180


@pytest.mark.parametrize(
    ("freeze", "unfreeze", "words"),
    [
        (2, 0, "learning: head for 2 epochs, then everything"),
        (1, 1, "learning: head for 1 epoch, then one more part each epoch"),
        (3, 2, "learning: head for 3 epochs, then one more part each 2 epochs"),
        (0, 2, "learning: head, layer3 for 2 epochs, then one more part each 2 epochs"),
    ],
)
def test_lines_tell_what_learns_first(freeze, unfreeze, words):
    config = TrainConfig(freeze_epochs=freeze, unfreeze_epochs=unfreeze)
    assert grouping_lines(resnet(), config) == [words]


def test_what_is_frozen_is_counted_and_recorded(parts, preprocessing, tmp_path):
    model = resnet()
    model.freeze("layer1")
    shut = [model.get_submodule(part) for part in ("stem", "layer1")]
    frozen = sum(p.numel() for child in shut for p in child.parameters())
    whole = sum(p.numel() for p in model.parameters())
    config = TrainConfig(epochs=1, batch_size=16)
    said = f"frozen: stem, layer1; {frozen:,} of {whole:,} parameters"
    assert grouping_lines(model, config) == [said]
    train.fit(model, parts, config, preprocessing=preprocessing, out=tmp_path / "run")
    groups = tomllib.loads((tmp_path / "run" / "config.toml").read_text())["groups"]
    names = ["weights", "norms and biases", "frozen: stem, layer1"]
    assert [group["name"] for group in groups] == names
    assert predict.open_run(tmp_path / "run").card["groups"] == groups
    assert [group["weight_decay"] for group in groups] == [config.weight_decay, 0.0, 0.0]
    assert groups[-1]["parameters"] == frozen
    assert sum(group["parameters"] for group in groups) == whole


@pytest.mark.parametrize(("decay", "count"), [(0.5, 1), (1.0, 0)])
def test_they_are_announced_behind_the_recipe(decay, count, parts, preprocessing, capsys):
    config = TrainConfig(layer_decay=decay)
    shares = {"validation": 0.15, "test": 0.15}
    choice = Choice("resnet8", options={}, size=8, config=config, reason="bars", **shares)
    announce(Prepared(choice, parts, preprocessing, resnet()))
    heads = [line.split(" ")[0] for line in capsys.readouterr().out.splitlines()]
    assert heads.count("rates:") == count
    assert "rates:" not in heads[: heads.index("recipe:")]
