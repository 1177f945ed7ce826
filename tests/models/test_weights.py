"""The table of published weights, and the names of ImageNet's classes."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from convarium import data, models, predict, tasks
from convarium.errors import OptionError
from convarium.models import options, registry, weights

ROWS = weights.read()


def test_every_network_of_the_table_is_ours_and_takes_the_options() -> None:
    for row in ROWS:
        cls = registry.find(row.network).cls
        assert row.layout in cls.layouts, row.network
        options.complete(cls, row.options)


def test_every_row_says_where_its_file_is_and_how_inputs_are_prepared() -> None:
    for row in ROWS:
        assert bool(row.hub_id) + bool(row.url) + bool(row.package) == 1, row
        assert row.size <= row.resize <= 2 * row.size
        assert row.interpolation in ("bilinear", "bicubic")
        assert len(row.mean) == len(row.std) == 3
        assert 50 < row.accuracy < 90
        assert row.licence in ("Apache-2.0", "BSD-3-Clause")
        assert row.accuracy_source


def test_a_digest_in_a_file_name_is_the_rows() -> None:
    for row in ROWS:
        if row.layout == "torchvision":
            assert row.url.endswith(f"-{row.sha256}.pth")
        if row.package:
            assert row.filename.endswith(f"-{row.sha256[:8]}.pth")


def test_names_are_unique_within_a_network() -> None:
    pairs = [(row.network, row.name) for row in ROWS]
    assert len(set(pairs)) == len(pairs)


@pytest.mark.parametrize(
    ("network", "name", "accuracy"),
    [  # as the papers' and the libraries' own pages print them, to the decimal they print
        ("alexnet", "imagenet1k_v1", 56.5),
        ("vgg16", "imagenet1k_v1", 71.6),
        ("resnet50", "imagenet1k_v1", 76.1),
        ("resnet50", "imagenet1k_v2", 80.9),
        ("densenet161", "imagenet1k_v1", 77.1),
        ("convnext_tiny", "imagenet1k_v1", 82.5),
    ],
)
def test_accuracies_are_those_that_the_libraries_print(
    network: str, name: str, accuracy: float
) -> None:
    assert round(weights.find(network, name).accuracy, 1) == accuracy


def test_the_table_is_read_without_torch() -> None:
    code = (
        "import sys; from convarium.models import weights; weights.find('resnet50').card();"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_rows_are_plain_values() -> None:
    row = weights.find("efficientnet_b0", "tf_aa_in1k")
    assert json.loads(json.dumps(dataclasses.asdict(row)))["options"] == {
        "padding": "tf_same",
        "norm_eps": 1e-3,
    }
    assert hash(row) == hash(dataclasses.replace(row))


@pytest.mark.parametrize(
    ("number", "name"),
    [
        *((0, "tench"), (1, "goldfish"), (134, "crane (bird)"), (207, "golden retriever")),
        *((281, "tabby"), (282, "tiger cat"), (285, "Egyptian cat"), (340, "zebra")),
        *((404, "airliner"), (517, "crane (machine)"), (817, "sports car"), (967, "espresso")),
        *((985, "daisy"), (999, "toilet tissue")),
    ],
)
def test_imagenet_classes_have_their_numbers(number: int, name: str) -> None:
    assert weights.class_names("imagenet-1k")[number] == name


def test_imagenet_has_a_thousand_different_names() -> None:
    names = weights.class_names("imagenet-1k")
    assert len(names) == len(set(names)) == 1000
    assert all(name == name.strip() and name for name in names)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.network}-{row.name}")
def test_cards_are_replayed_as_they_are(row: models.Weights) -> None:
    card = json.loads(json.dumps(row.card()))
    steps = data.Preprocessing.from_card(card)
    assert steps.to_card() == {key: card[key] for key in ("classes", "preprocessing")}
    assert (steps.input_shape, steps.resize) == ((3, row.size, row.size), row.resize)
    assert steps.interpolation == row.interpolation
    assert tasks.from_card(card) is not None


def test_a_card_names_the_classes_of_a_replaced_head() -> None:
    card = weights.find("resnet18").card(["a", "b"])
    assert card["classes"] == ["a", "b"]
    predictor = predict.Predictor(lambda x: torch.zeros(len(x), 2), card)
    assert predictor.preprocessing.classes == ("a", "b")


@pytest.mark.parametrize(
    ("network", "name", "words"),
    [
        ("resnet5O", None, "'resnet50'"),
        ("resnet20_cifar", None, "No published weights"),
        ("resnet50", "imagenet1k_v3", "'imagenet1k_v2'"),
        ("resnet50", "zzz", "It has: a1_in1k, imagenet1k_v2, imagenet1k_v1"),
    ],
)
def test_unknown_weights_are_named_with_what_there_is(
    network: str, name: str | None, words: str
) -> None:
    with pytest.raises(OptionError, match="resnet") as caught:
        weights.find(network, name)
    assert words in str(caught.value)


def test_a_network_without_weights_is_not_taken_for_a_slip_of_the_pen() -> None:
    with pytest.raises(OptionError, match="No published weights of 'lenet5'") as caught:
        models.create("lenet5", pretrained=True)
    assert "Did you mean" not in str(caught.value)


def test_unknown_classes_are_refused() -> None:
    with pytest.raises(OptionError, match="imagenet-1k"):
        weights.class_names("imagenet-22k")


KEYS = """
import json, sys
sys.path[:0] = [{reference!r}]
import peer_truth, torch
kept = peer_truth.declare_operators()
for library, name in json.loads(sys.stdin.read()):
    with torch.device("meta"):
        state = peer_truth.build(library, name, {{}}).state_dict()
    print(json.dumps([[key, list(tensor.shape)] for key, tensor in state.items()]), flush=True)
"""


@pytest.mark.long
@pytest.mark.peers
def test_every_file_of_the_libraries_fits_key_by_key(root: Path) -> None:
    rows = [row for row in ROWS if row.layout in ("torchvision", "timm")]
    theirs = [
        ("timm", row.hub_id.removeprefix("timm/").partition(".")[0])
        if row.hub_id
        else ("torchvision", row.network)
        for row in rows
    ]
    done = subprocess.run(
        [
            str(root / ".venv-peers/bin/python"),
            "-c",
            KEYS.format(reference=str(root / "tests/reference")),
        ],
        input=json.dumps(theirs),
        capture_output=True,
        text=True,
        check=True,
    )
    for row, line in zip(rows, done.stdout.splitlines(), strict=True):
        with torch.device("meta"):
            model = models.create(row.network, **row.options)
            state = {key: torch.empty(shape) for key, shape in json.loads(line)}
            report = models.load_published(model, state, row.layout)
        assert (report.unused, report.missing, report.adapted) == ((), (), ()), row


@pytest.mark.long
@pytest.mark.peers
def test_the_table_is_what_the_libraries_say_now(root: Path) -> None:
    command = [str(root / ".venv-peers/bin/python"), str(root / "tools/list_weights.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == weights.PATH.read_text(encoding="utf-8")
