"""Average drop against closed forms of a linear function."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convarium.errors import ShapeError
from convarium.explain import Attribution, average_drop


def linear(weights: list[float]) -> nn.Sequential:
    network = nn.Sequential(nn.Flatten(), nn.Linear(len(weights), 1, bias=False))
    network[1].weight.data = torch.tensor([weights], dtype=torch.float32)
    return network


def test_the_closed_form() -> None:
    """f = 5 + 3 + 1 - 1 = 8. A map (1, .5, 0, 0) keeps 6.5; without the last position it is 9."""
    x = torch.ones(2, 1, 4)
    heat = torch.tensor([[2.0, 1, 0, -7], [3, 3, 3, 0]])
    found = average_drop(linear([5, 3, 1, -1]), x, heat, output="score")
    assert found.original.tolist() == [8, 8]
    assert found.kept[0].tolist() == [6.5, 9]
    assert found.score.tolist() == [pytest.approx(100 * 1.5 / 8), 0]
    assert found.area.tolist() == [0.375, 0.75]
    rise = found.increase()
    assert (rise.value, rise.n) == (0.5, 2)
    assert rise.interval.low < 0.5 < rise.interval.high
    assert found.means().score.value == pytest.approx(100 * 1.5 / 16)


def test_the_controls_show_as_much_of_the_input() -> None:
    """A function that counts what is shown cannot tell the orders apart."""
    x, heat = torch.ones(3, 1, 5, 5), torch.rand(3, 5, 5)
    found = average_drop(linear([1.0] * 25), x, heat, output="score")
    torch.testing.assert_close(found.kept, found.kept[:1].expand(3, -1))
    torch.testing.assert_close(found.kept[0] / 25, found.area)


def test_the_edge_detector_is_dealt_the_highest_values() -> None:
    """An edge between positions 3 and 4: there the control shows the two highest values."""
    x = torch.tensor([[[1.0, 1, 1, 1, 5, 5, 5, 5]]])
    heat = torch.tensor([[8.0, 4, 0, 0, 0, 0, 0, 0]])
    found = average_drop(linear([0, 0, 0, 1, 1, 0, 0, 0]), x, heat, output="score")
    assert found.kept[2].item() in (1 + 2.5, 0.5 + 5)


def test_coarse_maps_are_shown_as_displayed() -> None:
    x = torch.rand(2, 1, 6, 6) + 1
    maps = torch.randn(2, 3, 3)
    heat = Attribution(maps, "", (0, 0), torch.ones(2), ("fine",) * 2, (6, 6))
    weights = torch.rand(36).tolist()
    found = average_drop(linear(weights), x, heat, output="score", baseline=1.0)
    shown = heat.display().unsqueeze(1)
    expected = linear(weights)(x * shown + (1 - shown)).detach()[:, 0]
    torch.testing.assert_close(found.kept[0], expected)


def test_no_drop_of_what_has_no_score_and_of_maps_with_nan() -> None:
    heat = torch.ones(2, 2)
    heat[1, 0] = torch.nan
    x = torch.tensor([[[-1.0, -1]], [[1.0, 1]]])
    found = average_drop(linear([1, 1]), x, heat, output="score")
    assert found.score.isnan().all()
    assert found.means().score.n == found.increase().n == 0


def test_probabilities_are_of_the_class() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
    x = torch.randn(2, 1, 8)
    heat = torch.tensor([[1.0, 1, 1, 1, 0, 0, 0, 0]]).expand(2, -1)
    found = average_drop(network, x, heat, target=[2, 0])
    expected = network(x).softmax(1)[[0, 1], [2, 0]].detach()
    torch.testing.assert_close(found.original, expected)
    kept = network(x * heat.unsqueeze(1)).softmax(1)[[0, 1], [2, 0]].detach()
    torch.testing.assert_close(found.kept[0], kept)


def test_token_ids_cannot_be_dimmed() -> None:
    with pytest.raises(ShapeError, match="deletion and insertion"):
        average_drop(nn.Flatten(), torch.ones(1, 4, dtype=torch.long), torch.ones(1, 4))
