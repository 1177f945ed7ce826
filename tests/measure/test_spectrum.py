"""Singular values against the dense matrix, the paper's own two lines, and maps known in full."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from convarium.errors import MissingExtraError, OptionError, ShapeError
from convarium.layers import torch_layers
from convarium.measure import spectrum
from convarium.measure.operator import conv_matrix
from convarium.measure.spectrum import operator_norm, singular_values

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
BACK = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def dense(layer: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """By the singular value decomposition of the whole matrix."""
    return torch.linalg.svdvals(torch.from_numpy(conv_matrix(layer, shape).toarray()))


@pytest.fixture
def always_lanczos(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No matrix is small enough to be built."""
    monkeypatch.setattr(spectrum, "_SMALL", 0)
    monkeypatch.setattr(spectrum, "matrix_of", None)
    return


@st.composite
def circular(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, ...]]:
    """Circular padding, and a stride that divides every size."""
    rank, groups = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    size, axes = [], []
    for _ in range(rank):
        k, d = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        s = draw(st.integers(1, 3 if rank < 3 else 2))
        reach = d * (k - 1)
        p = draw(st.integers(0, reach))
        n = s * draw(st.integers(1, 4 if rank < 3 else 2))
        assume(p <= n and (n + 2 * p - reach - 1) // s + 1 == n // s)
        size.append(n)
        axes.append((k, s, p, d))
    kernel, stride, padding, dilation = zip(*axes, strict=True)
    layer = CONV[rank](
        groups * draw(st.integers(1, 2)),
        groups * draw(st.integers(1, 3)),
        kernel,
        stride,
        padding,
        dilation,
        groups,
        padding_mode="circular",
    )
    return layer.double(), (layer.in_channels, *size)


@settings(max_examples=150)
@given(case=circular())
def test_all_values_by_frequency_are_those_of_the_matrix(case: Any) -> None:
    layer, shape = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spectrum, "matrix_of", None)  # so that it cannot have been the matrix
        patch.setattr(spectrum, "_BLOCK", 64)
        found = singular_values(layer, shape)
    expected = dense(layer, shape)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12 + 1e-9 * expected[0].item())


def test_with_stride_1_it_is_what_the_paper_computes() -> None:
    """`fft2` of the kernel on the input's grid, and the values of each frequency's matrix."""
    layer = nn.Conv2d(3, 5, 3, padding=1, padding_mode="circular", bias=False).double()
    kernel = layer.weight.detach().numpy().transpose(2, 3, 1, 0)
    transforms = np.fft.fft2(kernel, (8, 6), axes=(0, 1))
    expected = np.sort(np.linalg.svd(transforms, compute_uv=False).ravel())[::-1].copy()
    torch.testing.assert_close(singular_values(layer, (3, 8, 6)), torch.from_numpy(expected))


@given(rank=st.integers(1, 3), patch=st.integers(1, 3), n=st.integers(1, 3), c=st.integers(1, 3))
def test_patches_have_the_values_of_their_weight(rank: int, patch: int, n: int, c: int) -> None:
    """Windows that touch without overlapping: each value of the weight, once for each window."""
    forth = CONV[rank](c, 2, patch, stride=patch).double()
    back = BACK[rank](2, c, patch, stride=patch).double()
    back.weight.data = forth.weight.data
    windows = n**rank
    values = torch.linalg.svdvals(forth.weight.detach().flatten(1))
    expected = values.repeat_interleave(windows)
    with pytest.MonkeyPatch.context() as changes:
        changes.setattr(spectrum, "matrix_of", None)
        found = singular_values(forth, (c, *[n * patch] * rank))
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(singular_values(back, (2, *[n] * rank)), expected)


LAYERS = {
    "zeros": (lambda: nn.Conv2d(2, 3, 3, padding=1), (2, 7, 6)),
    "strided": (lambda: nn.Conv2d(3, 2, 3, stride=2, padding=1), (3, 8, 7)),
    "reflect": (lambda: nn.Conv1d(2, 2, 5, padding=2, padding_mode="reflect"), (2, 20)),
    "grouped": (lambda: nn.Conv2d(4, 6, 2, groups=2), (4, 6, 6)),
    "transposed": (lambda: nn.ConvTranspose2d(2, 2, 3, stride=2, output_padding=1), (2, 4, 5)),
    "volume": (lambda: nn.Conv3d(1, 2, 3, padding=1, dilation=1), (1, 4, 4, 4)),
    "tf_same": (lambda: torch_layers(2).same_conv(2, 2, 3, stride=2), (2, 7, 8)),
    "circular": (lambda: nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), (2, 6, 6)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.usefixtures("always_lanczos")
def test_lanczos_finds_the_largest_of_the_matrix(name: str) -> None:
    make, shape = LAYERS[name]
    layer = make().double()
    expected = dense(layer, shape)
    torch.testing.assert_close(operator_norm(layer, shape), expected[0].item(), rtol=1e-9, atol=0)
    for k in (1, 3, len(expected) // 4, len(expected)):
        found = singular_values(layer, shape, k=k)
        torch.testing.assert_close(found, expected[:k], rtol=1e-8, atol=1e-5 * expected[0].item())
        torch.testing.assert_close(found[:3], expected[: min(k, 3)], rtol=1e-9, atol=0)


@pytest.mark.usefixtures("always_lanczos")
def test_a_value_that_occurs_often_is_found_as_often() -> None:
    """From one start, Lanczos' method meets one direction only of each value's space."""
    layer = nn.Conv1d(12, 12, 3, padding=1, groups=12, bias=False).double()
    layer.weight.data[:] = torch.tensor([1.0, 2.0, 1.0])
    shape = (12, 15)
    found = singular_values(layer, shape, k=14)
    # The values of a tridiagonal Toeplitz matrix of n rows are a + 2 b cos(j pi / (n + 1)).
    largest = [2 + 2 * math.cos(j * math.pi / 16) for j in (1, 2)]
    expected = torch.tensor([largest[0]] * 12 + [largest[1]] * 2, dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


@pytest.mark.usefixtures("always_lanczos")
def test_orthogonal_and_low_rank_maps() -> None:
    same = nn.Conv2d(8, 8, 1, bias=False).double()
    same.weight.data = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))[0][..., None, None]
    found = singular_values(same, (8, 4, 4), k=20)
    torch.testing.assert_close(found, torch.ones(20, dtype=torch.float64))
    thin = nn.Conv2d(8, 8, 1, bias=False).double()
    nn.init.constant_(thin.weight, 0.25)  # rank 1 at each of 4 positions, with the value 2
    found = singular_values(thin, (8, 2, 2), k=6)
    expected = torch.tensor([2.0] * 4 + [0.0] * 2, dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=2e-5)


@pytest.mark.usefixtures("always_lanczos")
def test_no_input_is_stretched_more_than_the_norm_says() -> None:
    layer = nn.Conv2d(3, 4, 3, padding=1, stride=2, bias=False).double()
    norm = operator_norm(layer, (3, 12, 12))
    x = torch.randn(50, 3, 12, 12, dtype=torch.float64)
    for _ in range(300):  # the power method
        y = layer(x)
        x = torch.autograd.grad(layer(x.requires_grad_()), x, y)[0]
        x = x.detach() / x.detach().flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
    stretched = layer(x).flatten(1).norm(dim=1)
    assert stretched.max() <= norm * (1 + 1e-9)
    torch.testing.assert_close(stretched.max().item(), norm, rtol=1e-4, atol=0)


@given(power=st.integers(-300, 300))
def test_scale_is_a_factor_even_where_squares_would_not_fit(power: int) -> None:
    layer = nn.Conv1d(2, 2, 3, padding=1, bias=False).double()
    before = operator_norm(layer, (2, 9))
    scale = 10.0**power
    layer.weight.data *= scale
    assert operator_norm(layer, (2, 9)) == pytest.approx(before * scale, rel=1e-9)


def test_a_map_that_gives_nothing_has_values_of_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Conv1d(2, 3, 3, padding=1, bias=False)
    nn.init.zeros_(layer.weight)
    assert singular_values(layer, (2, 5)).tolist() == [0.0] * 10
    assert operator_norm(layer, (2, 5)) == 0.0
    layer.weight.data[..., 0] = 1.0  # meets padding only where there is one position
    monkeypatch.setattr(spectrum, "_SMALL", 0)
    assert singular_values(layer, (2, 1), k=2).tolist() == [0.0, 0.0]
    wide = nn.Conv2d(1, 30, (3, 1), padding=(1, 0), bias=False)
    nn.init.zeros_(wide.weight)
    wide.weight.data[:, :, 0] = 1.0
    assert singular_values(wide, (1, 1, 30), k=2).tolist() == [0.0, 0.0]


def test_results_are_the_same_each_time_and_leave_no_trace() -> None:
    layer = nn.Conv2d(3, 4, 3, padding=1)
    weight = layer.weight.detach().clone()
    random, state = torch.get_rng_state(), np.random.get_state()[1].copy()
    with torch.inference_mode():
        first = singular_values(layer, (1, 3, 24, 24), k=3)
    with torch.no_grad():
        second = singular_values(layer, (1, 3, 24, 24), k=3)
    assert torch.equal(first, second)
    assert not first.is_inference()
    assert torch.equal(layer.weight, weight)
    assert layer.weight.grad is None
    assert torch.equal(torch.get_rng_state(), random)
    assert np.array_equal(np.random.get_state()[1], state)


def test_values_are_float64_and_fall() -> None:
    found = singular_values(nn.Conv2d(2, 3, 3, padding=1).bfloat16(), (2, 5, 5))
    assert found.dtype == torch.float64
    assert torch.equal(found, found.sort(descending=True).values)


@pytest.mark.parametrize(
    ("k", "words"),
    [
        (0, r"k \(=0\) must be a whole number of 1 or more"),
        (51, r"k \(=51\) must be at most 50"),
        (2.0, r"k \(=2.0\) must be a whole number"),
        (True, r"k \(=True\) must be a whole number"),
    ],
)
def test_numbers_of_values_that_there_are_not(k: Any, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        singular_values(nn.Conv2d(2, 3, 3, padding=1), (2, 5, 5), k=k)


def test_what_only_a_huge_matrix_would_tell_is_refused() -> None:
    layer = nn.Conv2d(8, 8, 3, padding=1)
    with pytest.raises(OptionError, match=r"k \(=None\).*8192 x 8192.*ask for the largest"):
        singular_values(layer, (8, 32, 32))
    with pytest.raises(OptionError, match=r"k \(=8000\) must be at most 2048"):
        singular_values(layer, (8, 32, 32), k=8000)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    layer = nn.Conv1d(1, 1, 3)
    layer.weight.data[0, 0, 1] = value
    with pytest.raises(OptionError, match="NaN or infinity"):
        operator_norm(layer, (1, 9))


def test_layers_and_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(OptionError, match="must be a convolution"):
        operator_norm(nn.ReLU(), (1, 9))
    with pytest.raises(ShapeError, match="4 channels where the layer reads 3"):
        singular_values(nn.Conv1d(3, 1, 3), (4, 9))


def test_without_scipy_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "scipy.sparse.linalg", None)
    with pytest.raises(MissingExtraError, match=r"convarium\[measure\]"):
        operator_norm(nn.Conv2d(2, 3, 3, padding=1), (2, 30, 30))
