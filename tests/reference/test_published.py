"""Ours against torchvision 0.28.0 and timm 1.0.31: see published/README.md for the rule."""

import json
from pathlib import Path

import pytest
import torch
from agreement import differing_in_evaluation, differing_in_training
from peer_truth import fill, inputs, measured

import convarium.models as models

PUBLISHED = Path(__file__).parent / "published"
OUR_NAMES = {"mobilenetv1_100": "mobilenet_v1"}
FILES = sorted(path.stem for path in PUBLISHED.glob("*.json"))
LONG = ("torchvision-vgg16_bn",)  # 138 million parameters in double precision; vgg11 stays
PARAMETERS = [
    pytest.param(name, marks=pytest.mark.long) if name in LONG else name for name in FILES
]


def test_the_truth_of_twelve_networks_is_here():
    assert len(FILES) == 12


@pytest.fixture(scope="module", params=PARAMETERS)
def published(request):
    facts = json.loads((PUBLISHED / f"{request.param}.json").read_text())
    with torch.device("meta"):
        model = models.create(OUR_NAMES.get(facts["name"], facts["name"])).double()
    model = model.to_empty(device="cpu")
    state = {key: fill(key, shape) for key, shape in facts["keys"]}
    report = models.load_published(model, state)
    return facts, model, report, measured(model, inputs(facts["input_shape"]))


def test_every_key_is_used_and_the_source_is_recognised(published):
    facts, model, report, _ = published
    assert report.source == facts["source"].partition(" ")[0]
    assert list(report.used) == [key for key, _ in facts["keys"]]
    assert report.unused == report.missing == report.adapted == ()
    assert sum(p.numel() for p in model.parameters()) == facts["parameters"]


def test_logits_are_the_published_ones(published):
    facts, _, _, ours = published
    assert differing_in_evaluation(ours, facts) == []


def test_training_pass_gradients_and_running_statistics_are_the_published_ones(published):
    facts, _, _, ours = published
    assert differing_in_training(ours, facts) == []
