"""Ours against torchvision 0.28.0 and timm 1.0.31: see published/README.md for the rule."""

import json
import math
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

import convarium.models as models

PUBLISHED = Path(__file__).parent / "published"

# Their names, as patterns, and ours.
TORCHVISION = (
    (r"^conv1\.", "stem.conv."),
    (r"^bn1\.", "stem.norm."),
    (r"\.bn(\d)\.", r".norm\1."),
    (r"\.downsample\.", ".shortcut."),
    (r"^fc\.", "head."),
)
TIMM = (
    (r"^stages\.(\d)\.blocks\.", lambda found: f"layer{int(found[1]) + 1}."),
    (r"\.downsample\.conv\.", ".shortcut."),
    (r"^norm\.", "final.norm."),
    (r"^head\.fc\.", "head."),
)


def uniform(key: str, n: int) -> np.ndarray:
    mask = np.uint64(0xFFFFFFFF)
    h = np.arange(n, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(zlib.crc32(key.encode()))
    h &= mask
    h ^= h >> np.uint64(16)
    h = (h * np.uint64(0x45D9F3B)) & mask
    h ^= h >> np.uint64(16)
    return h / 2.0**32


def fill(key: str, shape: list[int]) -> torch.Tensor:
    u = uniform(key, math.prod(shape))
    if key.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    if len(shape) >= 2:
        values = (2 * u - 1) * math.sqrt(3 / math.prod(shape[1:])) * 1.4
    elif key.endswith(("running_var", "weight")):
        values = 0.5 + u
    else:
        values = 0.2 * (u - 0.5)
    return torch.from_numpy(values).reshape(shape)


def renamed(key: str, rules) -> str:
    for pattern, ours in rules:
        key = re.sub(pattern, ours, key)
    return key


@pytest.fixture(
    scope="module",
    params=[
        ("torchvision-resnet18", TORCHVISION),
        ("torchvision-resnet50", TORCHVISION),
        ("timm-resnetv2_50", TIMM),
    ],
    ids=lambda param: param[0],
)
def published(request):
    file, rules = request.param
    facts = json.loads((PUBLISHED / f"{file}.json").read_text())
    model = models.create(facts["name"]).double()
    own = model.state_dict()
    state = {renamed(key, rules): fill(key, shape) for key, shape in facts["keys"]}
    assert list(state) == list(own)
    state = {key: value.reshape(own[key].shape) for key, value in state.items()}
    model.load_state_dict(state)
    shape = facts["input_shape"]
    x = torch.from_numpy(2 * uniform("input", math.prod(shape)) - 1).reshape(shape)
    return facts, model, state, x


def test_shapes_and_parameters_are_the_published_ones(published):
    facts, model, state, _ = published
    assert sum(p.numel() for p in model.parameters()) == facts["parameters"]
    for (_, shape), tensor in zip(facts["keys"], state.values(), strict=True):
        assert [n for n in shape if n != 1] == [n for n in tensor.shape if n != 1]


def test_logits_are_the_published_ones(published):
    facts, model, state, x = published
    model.load_state_dict(state)
    with torch.no_grad():
        logits = model.eval()(x)
    std = torch.tensor(facts["logits_std"], dtype=torch.float64)
    first = torch.tensor(facts["logits_first8"], dtype=torch.float64)
    assert ((logits[:, :8] - first).abs().amax(1) <= 1e-9 * std).all()
    mean = torch.tensor(facts["logits_mean"], dtype=torch.float64)
    assert ((logits.mean(1) - mean).abs() <= 1e-9 * std).all()
    torch.testing.assert_close(logits.std(1), std, rtol=1e-9, atol=0)


def test_training_pass_gradients_and_running_statistics_are_the_published_ones(published):
    facts, model, state, x = published
    model.load_state_dict(state)
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
