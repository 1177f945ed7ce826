"""The view of networks: the catalogue, one network, two of them, and the choice of one."""

from __future__ import annotations

import subprocess
import sys
import time
from xml.etree import ElementTree

import pytest
import torch

from convarium import models
from convarium.errors import ConvariumError, OptionError, ShapeError, UnknownModelError
from convarium.studio import choosing, networks
from convarium.studio.desk import Desk


def test_every_network_of_the_registry_is_a_row():
    told = networks.every()
    assert [row["name"] for row in told["networks"]] == models.list_models()
    assert set(told["families"]) == {row["family"] for row in told["networks"]}


def test_the_catalogue_comes_without_torch():
    code = "import sys; from convarium.studio import networks; networks.every(); "
    done = subprocess.run(
        [sys.executable, "-c", code + "print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"


def test_a_network_has_its_published_figures():
    told = networks.network("resnet18")
    assert told["facts"]["parameters"] == 11_689_512  # torchvision's own count
    assert round(told["facts"]["macs"] / 1e9, 3) == 1.814
    assert told["facts"]["accuracy"] == max(row["accuracy"] for row in told["weights"])
    for drawing in (told["drawing"], told["growth"]):
        assert ElementTree.fromstring(drawing).tag.endswith("svg")


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [("mobilenet_v2", "3x64x32", {}), ("resnet10", "32", {"num_classes": 10, "stem": "cifar"})],
)
def test_layers_are_those_of_the_network_that_runs(name, size, options):
    told = networks.network(name, size, options)
    model = models.create(name, **options).eval()
    shapes = {}
    for layer, module in model.named_modules():

        def keep(module, given, y, layer=layer):
            shapes[layer] = "x".join(map(str, y.shape[1:]))

        module.register_forward_hook(keep)
    given = networks.read_size(size)
    model(torch.zeros(1, *(given if isinstance(given, tuple) else (3, given, given))))
    rows = [row for row in told["layers"] if row["layer"] in shapes]
    assert len(rows) > 20
    assert all(row["shape"] == shapes[row["layer"]] for row in rows)
    own = sum(p.numel() for p in model.parameters())
    assert sum(row["parameters"] for row in told["layers"]) == told["facts"]["parameters"] == own
    assert sum(row["macs"] for row in told["layers"]) == told["facts"]["macs"]


def test_texts_and_fields_are_drawn_too():
    assert networks.network("text_cnn")["growth"].startswith("<svg")
    assert networks.network("edsr_small")["facts"]["stride"] == 0.25


def test_two_networks_stand_side_by_side():
    told = networks.side_by_side("resnet18", "resnet18", ("64", "128"))
    rows = {row["name"]: row for row in told["rows"]}
    assert rows["parameters"]["ratio"] == 1
    assert 3.9 < rows["multiply-adds"]["ratio"] < 4.1  # four times the positions
    assert [each["input"] for each in told["networks"]] == ["3x64x64", "3x128x128"]


@pytest.mark.parametrize(
    ("asked", "kind", "words"),
    [
        (("resnet5O",), UnknownModelError, "Did you mean 'resnet50'"),
        (("resnet50", "big"), OptionError, "must look like"),
        (("resnet50", "0x3x3"), OptionError, "must look like"),
        (("resnet50", "9" * 10), OptionError, "at most 268,435,456 numbers"),
        (("resnet50", "3x99999x99999"), OptionError, "at most 268,435,456 numbers"),
        (("resnet50", "1x10"), ShapeError, "takes"),
        (("resnet50", "", {"depth": 3}), OptionError, "has no option 'depth'"),
        (("resnet50", "", {"num_classes": "many"}), ConvariumError, "num_classes"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(asked, kind, words):
    with pytest.raises(kind, match=words) as caught:
        networks.network(*asked)
    assert "\n" not in str(caught.value)


def test_a_choice_is_measured_while_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    desk = Desk()
    asked = {"size": "1x16x16", "target": "edge", "pattern": "resnet[28]*", "threads": 1}
    until = time.monotonic() + 60
    told = choosing.chosen(desk, **asked)
    while told["state"] != "done" and time.monotonic() < until:
        assert set(told) == {"state", "done", "total"}
        told = choosing.chosen(desk, **asked)
    desk.jobs.close()
    found = told["result"]
    assert [row["name"] for row in found["rows"]] == ["resnet20_cifar", "resnet8"]
    assert all(row["latency_ms"] > 0 for row in found["rows"])
    assert ElementTree.fromstring(found["drawing"]).tag.endswith("svg")


def test_a_form_names_what_choose_takes():
    told = choosing.form()
    assert told["targets"]["mobile"] == {"max_macs": 600e6}
    assert told["tasks"] == ["series", "images", "volumes"]
    with pytest.raises(OptionError, match="such as 3x224x224"):
        choosing.chosen(Desk(), size="")
