"""Objects as tables and pictures in IPython, by its own formatters."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import pytest
import torch
from IPython.core.formatters import DisplayFormatter
from PIL import Image
from torch import nn

import convarium
from convarium import explain, measure
from convarium.explain.resizing import Extent
from convarium.train import History


class Shell:
    """As much of IPython's shell as an extension is given."""

    def __init__(self):
        self.display_formatter = DisplayFormatter()


@pytest.fixture
def shown():
    shell = Shell()
    convarium.load_ipython_extension(shell)

    def page(found):
        return shell.display_formatter.format(found)[0].get("text/html")

    page.shell = shell
    return page


def numbers(page):
    """The cells of the table, row by row."""
    rows = re.findall(r"<tr>(.*?)</tr>", page)[1:]
    return [re.findall(r"<bdi>(.*?)</bdi>", row) for row in rows]


def test_a_cost_is_a_table_of_the_dearest_layers_first(shown):
    model = convarium.create("resnet18")
    cost = measure.cost(model, (1, 3, 224, 224))
    page = shown(cost)
    rows = numbers(page)
    assert "11.7 M parameters and 1.81 G multiply-adds for 1x3x224x224" in page
    assert len(rows) == 24
    assert rows[0][0] == "stem.conv"  # 118 M; a 3x3 convolution of the stages has 116 M
    assert rows[0][3:5] == ["9,408", "118 M"]
    assert f"And {len(cost.rows) - 24} more." in page


def test_a_field_is_told_in_words_and_by_layer(shown):
    field = measure.receptive_field(convarium.create("lenet5"), (1, 1, 32, 32))
    page = shown(field)
    sizes = {row[0]: row[3:] for row in numbers(page)}
    first = field.rows[0]
    assert sizes[first.layer] == ["5", "1", str(first.start[0])]
    assert len(sizes) == len(field.rows)


def test_a_network_is_shown_without_a_forward_pass(shown, monkeypatch):
    model = convarium.create("resnet18", spatial_dims=3)
    monkeypatch.setattr(nn.Module, "__call__", lambda *_: pytest.fail("a forward pass"))
    page = shown(model)
    assert [row[1:] for row in numbers(page)][-1] == ["512", "32"]
    assert "heatmaps are read from layer4" in page


def test_a_history_has_its_curves(shown):
    rows = [
        {"epoch": n, "train_loss": 1 / n, "val_loss": 1.5 / n, "val_acc": 0.1 * n, "lr": 0.1}
        for n in range(1, 5)
    ]
    page = shown(History(rows=tuple(rows), best_epoch=4, metric="acc"))
    assert page.count('class="drawing"') >= 1
    assert "4 epochs; the weights of epoch 4 were kept" in page


@pytest.mark.parametrize(
    ("values", "input_size", "size"),
    [
        (torch.rand(1, 7, 7), (224, 224), (128, 128)),
        (torch.rand(1, 7, 14), (100, 200), (128, 64)),
        (torch.rand(1, 40), (80,), (120, 24)),
        (torch.rand(1, 4, 8, 8), (16, 32, 32), (128, 128)),
        (torch.rand(1, 2000), (2000,), (2000, 8)),
    ],
)
def test_maps_of_every_rank_are_pictures(shown, values, input_size, size):
    found = explain.Attribution(values, "layer4", (3,), torch.ones(1), ("fine",), input_size)
    page = shown(found)
    (data,) = re.findall(r"base64,([^\"]+)", page)
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == size
    assert "class 3" in page


def test_many_maps_are_counted_and_those_that_failed_are_named(shown):
    found = explain.Attribution(
        -torch.rand(11, 3, 3), "<b>", None, torch.ones(11), ("all negative",) * 11, (9, 9)
    )
    page = shown(found)
    assert page.count("<img") == 8
    assert "And 3 more." in page
    assert "a callable: all negative" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page


def test_nothing_leads_out_of_the_page(shown):
    page = shown(measure.cost(convarium.create("lenet5"), (1, 1, 32, 32)))
    assert not re.search(r"""(src|href)=["'](?!data:)|url\((?!data:)|<script|@import""", page)
    assert "prefers-color-scheme:dark" in page


def test_the_extension_can_be_unloaded_and_leaves_other_objects_alone(shown):
    assert shown(nn.Linear(2, 2)) is None
    model = convarium.create("lenet5")
    assert "lenet5" in shown(model)
    convarium.unload_ipython_extension(shown.shell)
    assert shown(model) is None
    convarium.unload_ipython_extension(shown.shell)
    assert shown(measure.cost(model, (1, 1, 32, 32))) is None


def test_an_object_of_many_inputs_and_none_of_the_table(shown):
    cost = measure.cost(convarium.create("lenet5"), (1, 1, 32, 32))
    two = replace(cost, input_shape=((1, 3, 8), (1, 5)), rows=())
    assert "for 1x3x8 and 1x5" in shown(two)
    assert "<table" not in shown(two)


def test_of_a_padded_batch_the_first_maps_stand_where_their_samples_do(shown):
    rows = tuple(Extent((n, 3), (n, 3), (n, 3)) for n in (1, 2, 3) * 3)
    given = torch.rand(9, 3, 3), "conv", (1,) * 9, torch.ones(9), ("fine",) * 9, (3, 3)
    page = shown(explain.Attribution(*given, extents=rows))
    assert page.count("<img") == 8
    assert "And 1 more." in page
