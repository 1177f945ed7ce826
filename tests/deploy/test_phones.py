"""Files of ExecuTorch: what the network gives, a sample at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from convarium import deploy, models
from convarium.errors import ConvariumError, OptionError

pytest.importorskip("executorch")
pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("lenet5", {}, (1, 32, 32)),
        ("mobilenet_v2", {"num_classes": 5}, (3, 64, 64)),
        ("efficientnet_b0", {"num_classes": 5}, (3, 64, 64)),
    ],
)
def test_a_file_for_phones_gives_what_the_network_gives(
    tmp_path: Path, name: str, options: dict[str, int], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    model, path = models.create(name, **options).eval(), tmp_path / "net.pte"
    result = deploy.export(model, path, samples=torch.randn(3, *shape), format="executorch")
    assert (result.opset, result.agreement) == (None, 1.0)
    x = torch.randn(5, *shape)
    with torch.no_grad():
        expected = model(x)
    found = deploy.Artefact(path)(x)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_what_a_file_for_phones_cannot_hold_is_refused(tmp_path: Path) -> None:
    samples, given = torch.randn(2, 3, 8, 8), {"format": "executorch"}
    with pytest.raises(OptionError, match="one size"):
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        deploy.export(network, tmp_path / "a.pte", samples=samples, dynamic_size=True, **given)

    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) if x.sum() > 0 else -x.flatten(1)

    with pytest.raises(ConvariumError, match="cannot be written for ExecuTorch"):
        deploy.export(Branching(), tmp_path / "a.pte", samples=samples, **given)
    assert not list(tmp_path.iterdir())
