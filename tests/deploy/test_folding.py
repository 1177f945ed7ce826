"""Batch norms become part of the layers beside them, or stay with a reason, and nothing else."""

from __future__ import annotations

import copy
import sys
from typing import Any

import pytest
import torch
from hand_made import Forward, state_of
from hypothesis import given, settings
from hypothesis import strategies as st
from specimens import SPECIMENS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrizations

from convarium import deploy, models
from convarium.errors import OptionError, ShapeError, VerificationError
from convarium.models.registry import VARIANTS

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TURNED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def settled(model: nn.Module, seed: int = 0) -> nn.Module:
    """With averages, scales and shifts that are far from 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.running_mean is not None:
            module.running_mean.normal_(0, 0.5, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            if module.affine:
                module.weight.data.uniform_(0.5, 1.5, generator=generator)
                module.bias.data.normal_(0, 0.5, generator=generator)
    return model.eval()


def assert_equal(model: nn.Module, x: Tensor, folded: dict[str, str]) -> None:
    """The folded network has lost the norms that are named, and computes the same."""
    before, expected = state_of(model), model(x)
    result = deploy.fold(model, x.shape)
    assert result.folded == folded
    scale = max(expected.abs().max().item(), 1.0)
    torch.testing.assert_close(result.model(x), expected, rtol=0, atol=1e-5 * scale)
    assert state_of(model) == before
    names = {name for name, m in result.model.named_modules() if isinstance(m, _BatchNorm)}
    assert names == {*result.left}


@settings(max_examples=25, deadline=None)
@given(
    rank=st.sampled_from([1, 2, 3]),
    groups=st.sampled_from([1, 2, 4]),
    bias=st.booleans(),
    affine=st.booleans(),
    turned=st.booleans(),
    padding=st.sampled_from([0, 1]),
    stride=st.sampled_from([1, 2]),
)
def test_a_norm_behind_any_convolution(
    rank: int, groups: int, bias: bool, affine: bool, turned: bool, padding: int, stride: int
) -> None:
    torch.manual_seed(rank + groups)
    conv = (TURNED if turned else CONV)[rank](4, 8, 3, stride, padding, groups=groups, bias=bias)
    model = settled(nn.Sequential(conv, NORM[rank](8, affine=affine), nn.ReLU(inplace=True)))
    assert_equal(model, torch.randn(2, 4, *[6] * rank), {"1": "0"})


@settings(max_examples=25, deadline=None)
@given(
    rank=st.sampled_from([1, 2, 3]),
    groups=st.sampled_from([1, 2, 4]),
    bias=st.booleans(),
    padding=st.sampled_from([(0, "zeros"), (1, "circular"), (1, "replicate")]),
)
def test_a_norm_before_a_convolution_without_zeros_at_its_border(
    rank: int, groups: int, bias: bool, padding: tuple[int, str]
) -> None:
    torch.manual_seed(rank + groups)
    pads, mode = padding
    conv = CONV[rank](4, 8, 3, padding=pads, padding_mode=mode, groups=groups, bias=bias)
    model = settled(nn.Sequential(NORM[rank](4), conv))
    assert_equal(model, torch.randn(2, 4, *[6] * rank), {"0": "1"})


def test_linear_layers_on_both_sides() -> None:
    model = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 4, bias=False), nn.BatchNorm1d(4))
    assert_equal(settled(model), torch.randn(3, 5), {"0": "1", "2": "1"})


def test_norm_after_norm_goes_into_one_layer() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.Dropout())
    assert_equal(settled(model), torch.randn(2, 2, 5, 5), {"1": "0", "2": "0"})


def side_by_side(self: Any, x: Tensor) -> Tensor:
    return self.norm(torch.cat([self.one(x), self.other(x)], 1))


def twice_side_by_side(self: Any, x: Tensor) -> Tensor:
    y = self.one(x)
    return self.norm(torch.cat([y, y], 1))


def on_top(self: Any, x: Tensor) -> Tensor:
    return self.norm(torch.cat([self.one(x), self.other(x)], 2))


def test_a_norm_behind_several_layers() -> None:
    def model(forward: Any, channels: int = 6) -> nn.Module:
        torch.manual_seed(0)
        layers = {"one": nn.Conv2d(2, 3, 1), "other": nn.Conv2d(2, channels - 3, 1)}
        return settled(Forward(forward, **layers, norm=nn.BatchNorm2d(channels)))

    x = torch.randn(2, 2, 4, 4)
    assert_equal(model(side_by_side, 7), x, {"norm": "one, other"})
    assert_equal(model(twice_side_by_side), x, {})
    stacked = Forward(on_top, one=nn.Conv2d(2, 3, 1), other=nn.Conv2d(2, 3, 1))
    stacked.norm = nn.BatchNorm2d(3)
    assert_equal(settled(stacked), x, {})


def reused(self: Any, x: Tensor) -> Tensor:
    return self.norm(self.conv(self.norm(self.conv(x))))


def looked_at(self: Any, x: Tensor) -> Tensor:
    y = self.conv(x)
    return self.norm(y) + y


def changed(self: Any, x: Tensor) -> Tensor:
    return self.norm(self.conv(x).add_(1))


def both(self: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    y = self.conv(x)
    return y, self.norm(y)


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (reused, "is called 2 times"),
        (looked_at, "others read the output of conv too"),
        (changed, "no convolution or linear layer ends right before it"),
        (both, "others read the output of conv too"),
    ],
)
def test_what_others_read_stays(forward: Any, reason: str) -> None:
    model = Forward(forward, conv=nn.Conv2d(2, 2, 1), norm=nn.BatchNorm2d(2))
    result = deploy.fold(settled(model), (2, 2, 4, 4))
    assert result.folded == {}
    assert list(result.left) == ["norm"]
    assert reason in result.left["norm"]
    assert result.largest_difference == 0


def test_shared_weights_hooks_and_computed_weights_stay() -> None:
    tied = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1))
    tied[2].weight = tied[0].weight
    assert "shares its weights with 2" in deploy.fold(settled(tied), (1, 2, 4, 4)).left["1"]
    hooked = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
    hooked[0].register_forward_hook(lambda module, args, y: y * 2)
    assert "0 before it has hooks" in deploy.fold(settled(hooked), (1, 2, 4, 4)).left["1"]
    without = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2, track_running_stats=False))
    assert "running averages" in deploy.fold(without, (2, 2, 4, 4)).left["1"]
    spectral = nn.Sequential(parametrizations.orthogonal(nn.Linear(3, 3)), nn.BatchNorm1d(3))
    assert_equal(settled(spectral), torch.randn(2, 3), {"1": "0"})


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ([nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3, padding=1)], "pads with zeros"),
        ([nn.BatchNorm2d(2), nn.ConvTranspose2d(2, 2, 3)], "fewer taps"),
        ([nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 1)], "begins right behind it"),
    ],
)
def test_a_norm_before_a_layer_that_it_cannot_enter(layers: list[nn.Module], reason: str) -> None:
    result = deploy.fold(settled(nn.Sequential(*layers)), (1, 2, 4, 4))
    assert result.folded == {}
    assert reason in result.left["0"]
    assert reason in result.sentence()


def test_a_layer_that_reads_its_weights_in_its_own_way_is_noticed() -> None:
    class Doubled(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + self.weight.sum()

    model = nn.Sequential(Doubled(2, 2, 1), nn.BatchNorm2d(2))
    with pytest.raises(VerificationError, match="run it unfolded"):
        deploy.fold(settled(model), (1, 2, 4, 4))


def test_what_cannot_be_traced_is_refused() -> None:
    with pytest.raises(OptionError, match="input_shape is needed"):
        deploy.fold(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(ShapeError, match="does not take an input"):
        deploy.fold(nn.Sequential(nn.Linear(2, 2)), (1, 3))


# Norms before a ReLU whose input others read too (pre-activation, dense blocks), behind a pool
# (speednet) or on the input that goes around (resnet1d).
STAY = {
    *("pre-basic", "pre-bottleneck", "densenet", "densenet-cifar", "densenet-plain", "speednet"),
    "resnet1d",
}


@pytest.mark.parametrize("kind", SPECIMENS)
def test_every_kind_of_block(kind: str) -> None:
    torch.manual_seed(0)
    name, options, size = SPECIMENS[kind]
    model = settled(models.create(name, **options))
    x = model.example_input(2, size=size)
    norms = [name for name, module in model.named_modules() if isinstance(module, _BatchNorm)]
    expected = model(x)
    result = deploy.fold(model, x.shape)
    scale = max(expected.abs().max().item(), 1.0)
    torch.testing.assert_close(result.model(x), expected, rtol=0, atol=1e-5 * scale)
    assert sorted([*result.folded, *result.left]) == sorted(norms)
    assert bool(result.left) == (kind in STAY), result.left


def test_masks_pass_through() -> None:
    model = settled(models.create("fcn", channels=[4, 6, 4]))
    x, mask = model.example_input(2, size=16), torch.arange(16) < torch.tensor([[9], [16]])
    found = deploy.fold(model, x.shape).model(x, mask)
    torch.testing.assert_close(found, model(x, mask), rtol=1e-5, atol=1e-5)


def test_where_rounding_makes_the_difference_float64_decides() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.Tanh()]
    model = settled(nn.Sequential(*layers, *(copy.deepcopy(layer) for layer in layers)))
    model[1].running_mean.fill_(3e4)  # so much is added and taken away again that bits are lost
    model[0].bias = nn.Parameter(torch.full((4,), 3e4))
    result = deploy.fold(model, (2, 4, 8, 8), tolerance=1e-7)
    assert result.largest_difference > 1e-7 * result.scale
    x = torch.randn(2, 4, 8, 8)
    exact = copy.deepcopy(model).double()(x.double())
    assert (result.model(x) - exact).abs().max() <= (model(x) - exact).abs().max()


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", [variant.name for variant in VARIANTS])
def test_every_network_of_the_catalogue(name: str) -> None:
    torch.manual_seed(0)
    model = models.create(name).double()
    x = model.example_input(2, size=64 if model.input_size[0] == 224 else None)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = None
    with torch.no_grad():
        model.train()(x)  # averages of real maps: fresh ones let 1001 layers overflow
        expected = model.eval()(x)
        result = deploy.fold(model, x.shape)
        scale = max(expected.abs().max().item(), sys.float_info.min)
        # what the last bit of the input does: 110 layers without shortcuts make much of it
        bit = (model(x.nextafter(x + 1)) - expected).abs().max().item()
        assert (result.model(x) - expected).abs().max().item() <= max(1e-9 * scale, 8 * bit)
