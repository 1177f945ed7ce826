"""Ours against torchvision 0.28.0 and timm 1.0.31: see published/README.md for the rule."""

import json
import math
from pathlib import Path

import pytest
import torch
from peer_truth import fill, silence, uniform

import convarium.models as models

PUBLISHED = Path(__file__).parent / "published"
OUR_NAMES = {"mobilenetv1_100": "mobilenet_v1"}
FILES = sorted(path.stem for path in PUBLISHED.glob("*.json"))


def test_the_truth_of_twelve_networks_is_here():
    assert len(FILES) == 12


@pytest.fixture(scope="module", params=FILES)
def published(request):
    facts = json.loads((PUBLISHED / f"{request.param}.json").read_text())
    with torch.device("meta"):
        model = models.create(OUR_NAMES.get(facts["name"], facts["name"])).double()
    model = model.to_empty(device="cpu")
    state = {key: fill(key, shape) for key, shape in facts["keys"]}
    report = models.load_published(model, state)
    shape = facts["input_shape"]
    x = torch.from_numpy(2 * uniform("input", math.prod(shape)) - 1).reshape(shape)
    return facts, model, report, x


def test_every_key_is_used_and_the_source_is_recognised(published):
    facts, model, report, _ = published
    assert report.source == facts["source"].partition(" ")[0]
    assert list(report.used) == [key for key, _ in facts["keys"]]
    assert report.unused == report.missing == report.adapted == ()
    assert sum(p.numel() for p in model.parameters()) == facts["parameters"]


def test_logits_are_the_published_ones(published):
    facts, model, _, x = published
    with torch.no_grad():
        logits = model.eval()(x)
    std = torch.tensor(facts["logits_std"], dtype=torch.float64)
    first = torch.tensor(facts["logits_first8"], dtype=torch.float64)
    assert ((logits[:, :8] - first).abs().amax(1) <= 1e-9 * std).all()
    mean = torch.tensor(facts["logits_mean"], dtype=torch.float64)
    assert ((logits.mean(1) - mean).abs() <= 1e-9 * std).all()
    torch.testing.assert_close(logits.std(1), std, rtol=1e-9, atol=0)


def test_training_pass_gradients_and_running_statistics_are_the_published_ones(published):
    facts, model, _, x = published
    silence(model)
    model.zero_grad()
    logits = model.train()(x)
    logits.mean().backward()

    std = torch.tensor(facts["train_logits_std"], dtype=torch.float64)
    torch.testing.assert_close(logits.std(1), std, rtol=1e-6, atol=0)
    first = torch.tensor(facts["train_logits_first8"], dtype=torch.float64)
    assert ((logits[:, :8] - first).abs().amax(1) <= 1e-6 * std).all()

    norm = math.sqrt(sum(p.grad.square().sum().item() for p in model.parameters()))
    assert norm == pytest.approx(facts["gradient_norm_of_mean_logit"], rel=1e-6)
    for kind in ("running_mean", "running_var"):
        buffers = [b for name, b in model.named_buffers() if name.endswith(kind)]
        total = sum(buffer.abs().sum().item() for buffer in buffers)
        assert total == pytest.approx(facts[f"{kind}_abs_sum_after"], rel=1e-6)
