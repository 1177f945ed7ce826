"""Equivariance of whatever module there is: which rows it has, what is refused, and no trace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hand_made import state_of
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from convarium.errors import ConvariumError, OptionError, ShapeError
from convarium.measure.commuting import equivariance

X = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0))


def circular(channels: int, size: int = 3, **options: Any) -> nn.Conv2d:
    options = {"padding": size // 2, "padding_mode": "circular"} | options
    return nn.Conv2d(channels, channels, size, **options)


class Reusing(nn.Module):
    """One activation for two layers, the second of which is not equivariant at the border."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = circular(2), nn.Conv2d(2, 2, 3, padding=1)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.second(self.act(self.first(x))))


def test_a_reused_module_has_a_row_for_each_call_in_the_order_of_execution() -> None:
    torch.manual_seed(0)
    result = equivariance(Reusing(), X, amount=1)
    told = [(row.layer, row.call) for row in result.rows]
    assert told == [("first", 1), ("act", 1), ("second", 1), ("act", 2)]
    assert result.rows[1].error < 1e-6
    assert result.rows[3].error > 0.01


def test_a_layer_is_compared_before_it_is_overwritten() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 2, 3, padding=1)
    in_place, copying = (nn.Sequential(conv, nn.ReLU(inplace=flag)) for flag in (True, False))
    one, other = (equivariance(network, X, amount=1).rows for network in (in_place, copying))
    assert [row.error for row in one] == [row.error for row in other]
    assert one[0].error != one[1].error


def test_layers_may_be_blocks_and_keep_the_order_of_execution() -> None:
    network = nn.Sequential(nn.Sequential(circular(2), nn.ReLU()), circular(2))
    result = equivariance(network, X, amount=1, layers=["1", "0", ""])
    assert [row.layer for row in result.rows] == ["0", "1", ""]
    assert max(row.error for row in result.rows) < 1e-6


def test_a_model_may_be_one_layer_and_may_be_wrapped() -> None:
    layer = circular(2)
    rows = [equivariance(m, X, amount=1).rows for m in (layer, nn.DataParallel(layer))]
    assert rows[0] == rows[1]
    assert rows[0][0].layer == ""
    compiled = torch.compile(nn.Sequential(layer), backend="eager")
    assert equivariance(compiled, X, amount=1).rows[0].error == rows[0][0].error


def test_weights_that_are_parametrised_make_no_rows_of_their_own() -> None:
    network = nn.Sequential(parametrizations.weight_norm(nn.Conv1d(1, 1, 1)), nn.ReLU())
    result = equivariance(network, torch.randn(1, 1, 6), amount=1)
    assert [row.layer for row in result.rows] == ["0", "1"]


class ChannelsLast(nn.Module):
    """Places along the second and third dimension, as transformers have them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.mix = circular(2), nn.LayerNorm(2), nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.norm(self.conv(x).permute(0, 2, 3, 1)))


def test_places_are_found_along_whichever_dimension() -> None:
    result = equivariance(ChannelsLast(), X, amount=(1, 3))
    assert [row.shape for row in result.rows] == [(2, 8, 8), (8, 8, 2), (8, 8, 3)]
    assert max(row.error for row in result.rows) < 1e-6
    inside = equivariance(ChannelsLast(), X, amount=(1, 3), border="interior")
    assert [row.positions for row in inside.rows] == [5 * 3] * 3


class Answering(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = circular(2)

    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"maps": [self.conv(x)], "n": 1}


def test_an_output_of_any_kind_is_no_hindrance() -> None:
    (row,) = equivariance(Answering(), X, amount=1).rows
    assert row.error < 1e-6
    (row,) = equivariance(Answering(), X, amount=1, layers=[""]).rows
    assert row.reason == "its output is not one map for each sample"


def test_zeros_commute_with_everything_and_nothing_else_comes_from_them() -> None:
    assert equivariance(nn.ReLU(), -torch.ones(1, 1, 4), amount=1).rows[0].error == 0
    first = nn.ZeroPad1d((-3, 0))  # the first three positions are cut off
    x = torch.tensor([[[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]]])
    (row,) = equivariance(first, x, amount=1, border="interior").rows
    assert row.error == 0

    class Hot(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.tensor([0.0, 0.0, 1.0])

    (row,) = equivariance(Hot(), torch.tensor([[[0.0, 1.0, 0.0]]]), amount=1).rows
    assert (row.error, row.reason) == (None, "f(x) is zero and f(Tx) is not")


def test_what_is_not_finite_has_no_error() -> None:
    (row,) = equivariance(nn.ReLU(), torch.full((1, 1, 4), float("nan")), amount=1).rows
    assert (row.error, row.reason) == (None, "it holds NaN or infinity")


def test_an_axis_of_one_position_cannot_shift() -> None:
    result = equivariance(nn.ReLU(), torch.randn(1, 1, 1, 6))
    assert result.amount == (0, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transform": "shfit"}, "Did you mean 'shift'"),
        ({"border": "most"}, "must be one of all, interior"),
        ({"amount": 0}, "not all 0"),
        ({"amount": 8}, "shorter than its axis"),
        ({"amount": (1, 2, 3)}, "one whole number of positions or 2"),
        ({"amount": 1.5}, "one whole number"),
        ({"amount": 2, "transform": "flip"}, "must be an axis of S, from 0 to 1"),
        ({"amount": 4, "transform": "rotate"}, "must be quarter turns, from 1 to 3"),
        ({"layers": ["1.conv"]}, "is not in the model"),
        ({"layers": "0"}, "a list of one name or more"),
        ({"layers": []}, "a list of one name or more"),
    ],
)
def test_options_that_do_not_exist_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        equivariance(nn.Sequential(circular(2)), X, **options)


@pytest.mark.parametrize("x", [torch.ones(8, 8), torch.ones(0, 1, 8), torch.ones(1, 1, 8).long()])
def test_inputs_without_places_are_refused(x: Tensor) -> None:
    with pytest.raises(ShapeError, match="must be a batch"):
        equivariance(nn.ReLU(), x)


def test_a_model_without_layers_is_refused() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (2, 8, 8)))

        def forward(self, x: Tensor) -> Tensor:
            return x.relu()

    with pytest.raises(OptionError, match="no layer with a map"):
        equivariance(Bare(), X)
    assert equivariance(Bare(), X, layers=[""]).rows[0].error == 0


class Noisy(nn.Module):
    """Draws random numbers, counts its calls and may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.drop = circular(2), nn.BatchNorm2d(2), nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros(()))
        self.calls_left = 99

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        torch.rand(1)
        self.calls_left -= 1
        y = self.norm(self.conv(x))
        if self.calls_left < 0:
            raise RuntimeError("inside the model")
        return self.drop(y)


@pytest.mark.parametrize("calls_left", [99, 1, 0])
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_nothing_changes_also_when_the_model_fails(calls_left: int, mode: Any) -> None:
    torch.manual_seed(0)
    model = Noisy().train()
    model(X).sum().backward()
    model.norm.eval()
    model.conv.register_forward_hook(lambda *_: None)
    model.calls_left = calls_left
    x = X.clone()
    before = state_of(model)
    with mode():
        if calls_left:
            equivariance(model, x, amount=1)
        else:
            with pytest.raises((RuntimeError, ConvariumError), match="inside the model"):
                equivariance(model, x, amount=1)
    assert state_of(model) == before
    assert torch.equal(x, X)


def test_the_result_is_json() -> None:
    result = equivariance(nn.Sequential(circular(2)), X, amount=1).to_json()
    assert result["rows"][0]["layer"] == "0"
    assert (result["transform"], result["n"], result["input_size"]) == ("shift", 2, (8, 8))
