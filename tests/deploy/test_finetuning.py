"""Networks that 8 bits really break: what keeping layers gives, and learning to be rounded."""

from __future__ import annotations

import copy
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from convarium import deploy

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


def waves(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy waves in four directions."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(4, (n,), generator=generator)
    down, right = torch.arange(12.0)[:, None], torch.arange(12.0)[None]
    phases = (down + 0 * right, 0 * down + right, 0.7 * (down + right), 0.7 * (down - right))
    patterns = torch.stack([phase.sin() for phase in phases])
    x = patterns[target] + 0.8 * torch.randn(n, 12, 12, generator=generator)
    return x.unsqueeze(1), target


@pytest.fixture(scope="module")
def trained() -> nn.Sequential:
    """Five convolutions that tell the waves apart."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for channels in (1, 8, 8, 8, 8):
        layers += [nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4))
    x, target = waves(512, 0)
    optimizer = torch.optim.Adam(model.parameters(), 0.005)
    for _ in range(60):
        for some in torch.randperm(512).split(128):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[some]), target[some]).backward()
            optimizer.step()
    return model.eval()


def uneven(model: nn.Sequential, spread: float) -> nn.Sequential:
    """The same function, with channels of very different sizes between its ReLUs."""
    model, generator = copy.deepcopy(model), torch.Generator().manual_seed(1)
    layers = [each for each in model if isinstance(each, nn.Conv2d)]
    with torch.no_grad():
        for before, behind in pairwise(layers):
            scale = torch.exp(spread * torch.randn(8, generator=generator))
            before.weight *= scale.view(-1, 1, 1, 1)
            before.bias *= scale
            behind.weight /= scale.view(1, -1, 1, 1)
    return model


def test_a_network_that_fails_in_8_bits_learns_to_be_rounded(
    trained: nn.Sequential, tmp_path: Path
) -> None:
    model, (x, target) = uneven(trained, 2.0), waves(2000, 5)
    with torch.no_grad():
        torch.testing.assert_close(model(x), trained(x), rtol=1e-3, atol=1e-3)
    given = {"calibration": waves(256, 0)[0], "labelled": [(x, target)], "format": "onnx"}
    plain = deploy.quantise(model, tmp_path / "a.onnx", points=1.5, **given)
    assert plain.precision == "fp32"
    assert plain.attempts[0].drop is not None
    assert plain.attempts[0].drop.loss > 3
    learnt = deploy.quantise(model, tmp_path / "b.onnx", points=1.5, finetune=60, **given)
    assert (learnt.precision, learnt.attempts[-1].finetuned) == ("int8", True)
    run = deploy.Artefact(tmp_path / "b.onnx")
    with torch.no_grad():
        right = [(each(x).argmax(1) == target).float().mean() for each in (model, run)]
    assert 100 * (right[0] - right[1]) < 1.5
    assert learnt.bytes < learnt.float_bytes + 10_000


def test_layers_that_are_kept_read_what_was_not_rounded(
    trained: nn.Sequential, tmp_path: Path
) -> None:
    model, labelled = uneven(trained, 2.5), [waves(1500, 5)]
    given = {"calibration": waves(256, 0)[0], "labelled": labelled, "format": "onnx"}
    result = deploy.quantise(model, tmp_path / "net.onnx", points=0.5, **given)
    losses = [each.drop.loss for each in result.attempts if each.drop is not None]
    assert losses[0] > 20
    assert min(losses[1:]) < losses[0] / 2
