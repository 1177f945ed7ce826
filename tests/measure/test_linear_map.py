"""Which layers can be read, which weight counts, and what is refused in one sentence."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from convarium.errors import OptionError, ShapeError
from convarium.measure.linear_map import linear_map
from convarium.measure.operator import conv_matrix


def agrees(layer: nn.Module, conv: nn.Conv2d) -> bool:
    """Whether the matrix says what the layer computes in eval mode."""
    x = torch.randn(1, 2, 6, 5)
    matrix = conv_matrix(layer, x.shape)
    layer.eval()
    with torch.no_grad():
        expected = layer(x) - conv.bias[:, None, None]
    found = torch.from_numpy(matrix @ x.flatten().numpy()).reshape(expected.shape)
    return torch.allclose(found, expected, rtol=1.3e-6, atol=1e-5)


def test_calling_it_is_the_layer_without_its_bias() -> None:
    torch.manual_seed(0)
    for layer in (
        nn.Conv2d(2, 4, 3, stride=2, padding=1, padding_mode="circular", groups=2),
        nn.ConvTranspose2d(2, 4, 3, stride=2, padding=1, output_padding=1, groups=2),
    ):
        x = torch.randn(3, 2, 6, 5)
        linear = linear_map(layer, x.shape)
        y = layer(x) - layer.bias[:, None, None]
        torch.testing.assert_close(linear(x), y)
        assert linear.input_shape == (2, 6, 5)
        assert linear.output_shape == tuple(y.shape[1:])
        assert linear.matrix_shape == (y[0].numel(), x[0].numel())


@pytest.mark.parametrize(
    "wrap",
    [nn.DataParallel, lambda conv: torch.compile(conv, backend="eager")],
    ids=["parallel", "compiled"],
)
def test_wrapped_layers_are_read(wrap: Any) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, 3)
    found = conv_matrix(wrap(conv), (1, 2, 6, 5))
    assert (found != conv_matrix(conv, (1, 2, 6, 5))).nnz == 0


@pytest.mark.parametrize(
    "change",
    [
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        lambda conv: prune.l1_unstructured(conv, "weight", amount=0.5),
    ],
    ids=["weight_norm", "spectral_norm", "prune"],
)
def test_the_weight_is_the_one_of_the_next_call(change: Any) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, 3, padding=1)
    changed = change(conv)
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.mul_(1.5)  # as a step of training would: an attribute may be out of date
    assert agrees(changed, conv)


def test_the_older_norms_of_weights_are_computed_anew() -> None:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        for norm in (torch.nn.utils.weight_norm, torch.nn.utils.spectral_norm):
            conv = nn.Conv2d(2, 3, 3, padding=1)
            norm(conv)
            with torch.no_grad():
                for parameter in conv.parameters():
                    parameter.mul_(1.5)
            assert agrees(conv, conv)


def test_nothing_is_changed_by_reading() -> None:
    torch.manual_seed(0)
    conv = parametrizations.spectral_norm(nn.Conv2d(2, 3, 3, padding=1)).train()
    calls: list[Tensor] = []
    conv.register_forward_hook(lambda *seen: calls.append(seen[1]))
    conv(torch.ones(1, 2, 4, 4)).sum().backward()
    before = copy.deepcopy(conv.state_dict())
    gradients = [parameter.grad for parameter in conv.parameters()]
    random, calls[:] = torch.get_rng_state(), []
    for shape in ((1, 2, 4, 4), (1, 5, 4, 4)):
        try:
            matrix = conv_matrix(conv, shape)
        except ShapeError:
            matrix = None
    assert matrix is None  # the error path was taken
    assert conv.training
    assert all(torch.equal(before[name], value) for name, value in conv.state_dict().items())
    assert all(
        one is other
        for one, other in zip(gradients, (p.grad for p in conv.parameters()), strict=True)
    )
    assert torch.equal(torch.get_rng_state(), random)
    assert calls == []


def test_the_weight_is_a_copy_and_modes_of_torch_do_not_matter() -> None:
    conv = nn.Conv1d(1, 1, 2, bias=False)
    with torch.inference_mode():
        linear = linear_map(conv, (1, 4))
    before = linear.weight.clone()
    nn.init.zeros_(conv.weight)
    assert torch.equal(linear.weight, before)
    assert not linear.weight.is_inference()
    assert not linear.weight.requires_grad


class Doubled(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Standardised(nn.Conv2d):
    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(x, weight - weight.mean(), bias)


def patched() -> nn.Module:
    conv = nn.Conv2d(3, 2, 3)
    conv.forward = lambda x: x
    return conv


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.Linear(3, 2), r"layer \(=Linear\) must be a convolution"),
        (nn.Sequential(nn.Conv2d(3, 2, 3)), r"layer \(=Sequential\).*pass one of its layers"),
        ("conv1", r"layer \(=str\) must be a convolution"),
        (Doubled(3, 2, 3), r"layer \(=Doubled\) has a forward of its own"),
        (Standardised(3, 2, 3), r"layer \(=Standardised\) has a forward of its own"),
        (patched(), r"layer \(=Conv2d\) has a forward of its own"),
        (nn.Conv2d(3, 2, 3, device="meta"), "has no values"),
        (nn.Conv2d(3, 2, 3, dtype=torch.complex64), "complex"),
        (nn.LazyConv2d(2, 3), "lazy layers.*run one batch"),
        (nn.ConvTranspose2d(3, 2, 3, stride=2, output_padding=2), r"output_padding \(=\(2, 2\)\)"),
    ],
)
def test_layers_that_cannot_be_read(layer: Any, words: str) -> None:
    with pytest.raises(OptionError, match=words) as caught:
        conv_matrix(layer, (1, 3, 8, 8))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "shape",
    [(8, 8), (1, 1, 3, 8, 8), (1, 3, 8, 0), (1, 3, 8, 8.0), (1, 3, 8, True), 8, None, "abcd", ()],
)
def test_shapes_that_are_none(shape: Any) -> None:
    with pytest.raises(ShapeError, match=r"input_shape \(=.*must be \(B, 3, H, W\)"):
        conv_matrix(nn.Conv2d(3, 2, 3), shape)


def test_a_tensor_in_place_of_its_shape_is_named_shortly() -> None:
    with pytest.raises(ShapeError, match="must be") as caught:
        conv_matrix(nn.Conv2d(3, 2, 3), torch.zeros(64, 3, 32, 32))  # type: ignore[arg-type]
    assert len(str(caught.value)) < 250


def test_whole_numbers_of_other_libraries_are_shapes() -> None:
    conv = nn.Conv1d(3, 2, 3)
    shape = np.array([1, 3, 8])
    assert linear_map(conv, shape).output_shape == (2, 6)
    assert linear_map(conv, torch.Size([3, 8])).output_shape == (2, 6)


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (nn.Conv2d(3, 2, 3), (1, 4, 8, 8), "has 4 channels where the layer reads 3"),
        (nn.Conv2d(3, 2, 3), (1, 3, 2, 8), r"too small.*\(0, 6\) positions"),
        (nn.Conv1d(4, 2, 3, groups=2), (1, 2, 8), "has 2 channels where the layer reads 4"),
        (nn.ConvTranspose1d(2, 1, 3, padding=3), (1, 2, 4), r"too small.*\(0,\) positions"),
        (
            nn.Conv1d(1, 1, 3, padding=2, padding_mode="reflect"),
            (1, 1, 2),
            "padding_mode 'reflect' cannot add 2 positions where it may add 1",
        ),
        (
            nn.Conv1d(1, 1, 3, padding=3, padding_mode="circular"),
            (1, 1, 2),
            "padding_mode 'circular' cannot add 3 positions where it may add 2",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_refused_as_torch_refuses_them(
    layer: nn.Module, shape: tuple[int, ...], words: str
) -> None:
    with pytest.raises(ShapeError, match=words):
        conv_matrix(layer, shape)
    with pytest.raises(RuntimeError):
        layer(torch.zeros(shape))
