"""Correlation, convolution and the matrix: numpy, scipy, and the layer applied to unit vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import sparse
from torch import Tensor, nn

from convarium import layers
from convarium.errors import MissingExtraError, OptionError, ShapeError
from convarium.measure import toeplitz
from convarium.measure.operator import conv_matrix, convolve, cross_correlate

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
BACK = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MODES = ("zeros", "circular", "reflect", "replicate")

even_same = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


sides = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 5)), min_size=1, max_size=3)


@given(axes=sides, mode=st.sampled_from(["valid", "same", "full"]), seed=st.integers(0, 9))
def test_both_equal_scipy_at_any_rank(axes: list[Any], mode: str, seed: int) -> None:
    if mode == "valid":
        axes = [(n + k - 1, k) for n, k in axes]
    if mode == "same":  # of an even kernel, scipy and torch put the odd zero on different sides
        axes = [(n, k | 1) for n, k in axes]
    size, taps = zip(*axes, strict=True)
    x, kernel = normal(*size, seed=seed), normal(*taps, seed=seed + 10)
    for ours, theirs in [
        (cross_correlate, scipy.signal.correlate),
        (convolve, scipy.signal.convolve),
    ]:
        expected = theirs(x.numpy(), kernel.numpy(), mode=mode, method="direct")
        torch.testing.assert_close(ours(x, kernel, mode=mode), torch.tensor(expected.copy()))


@even_same
@given(axes=sides, seed=st.integers(0, 9))
def test_same_is_torchs_same_for_even_kernels_too(axes: list[Any], seed: int) -> None:
    size, taps = zip(*axes, strict=True)
    x, kernel = normal(*size, seed=seed), normal(*taps, seed=seed + 10)
    conv = CONV[len(size)](1, 1, taps, padding="same", bias=False).double()
    conv.weight.data = kernel[None, None]
    torch.testing.assert_close(cross_correlate(x, kernel, mode="same"), conv(x[None, None])[0, 0])
    assert convolve(x, kernel, mode="same").shape == x.shape


def test_the_example_of_the_theory() -> None:
    x, kernel = [1.0, 3, 2, 4, 1, 5, 2], [0.5, 1, 0.5]
    expected = np.convolve(x, kernel, mode="valid").tolist()
    assert expected == [4.5, 5.5, 5.5, 5.5, 6.5]
    assert cross_correlate(torch.tensor(x), torch.tensor(kernel)).tolist() == expected
    assert convolve(torch.tensor(x), torch.tensor(kernel)).tolist() == expected


@given(axes=sides, seed=st.integers(0, 9))
def test_only_true_convolution_commutes(axes: list[Any], seed: int) -> None:
    size, taps = zip(*axes, strict=True)
    x, kernel = normal(*size, seed=seed), normal(*taps, seed=seed + 10)
    both = convolve(x, kernel, mode="full"), convolve(kernel, x, mode="full")
    torch.testing.assert_close(*both)
    turned = cross_correlate(kernel, x, mode="full").flip(tuple(range(x.ndim)))
    torch.testing.assert_close(cross_correlate(x, kernel, mode="full"), turned)


def test_whole_numbers_stay_whole_and_types_are_promoted() -> None:
    x, kernel = torch.arange(6), torch.tensor([1, -2, 1])
    assert convolve(x, kernel).dtype == torch.int64
    assert convolve(x, kernel, mode="full").tolist() == np.convolve(range(6), [1, -2, 1]).tolist()
    assert cross_correlate(x, kernel.double()).dtype == torch.float64


def test_both_are_differentiable() -> None:
    x, kernel = normal(5, 4).requires_grad_(), normal(2, 3).requires_grad_()
    assert torch.autograd.gradcheck(cross_correlate, (x, kernel))
    assert torch.autograd.gradcheck(convolve, (x, kernel))


@pytest.mark.parametrize(
    ("x", "kernel", "options", "error", "words"),
    [
        ((4,), (2,), {"mode": "fulll"}, OptionError, r"mode \(='fulll'\).*Did you mean 'full'"),
        ((4, 4), (2,), {}, ShapeError, "same 1 to 3 axes"),
        ((1, 1, 4, 4), (1, 1, 2, 2), {}, ShapeError, "take batch and channels away"),
        ((), (), {}, ShapeError, "same 1 to 3 axes"),
        ((4, 0), (2, 2), {"mode": "full"}, ShapeError, "numbers along each"),
        ((4, 2), (2, 3), {}, ShapeError, r"kernel \(2, 3\) is longer than x \(4, 2\)"),
    ],
)
def test_what_cannot_be_slid_is_refused(
    x: Any, kernel: Any, options: Any, error: Any, words: str
) -> None:
    for call in (cross_correlate, convolve):
        with pytest.raises(error, match=words):
            call(torch.zeros(x), torch.zeros(kernel), **options)
        with pytest.raises(OptionError, match=r"both of type bool.*x.int\(\)"):
            call(torch.ones(3, dtype=torch.bool), torch.ones(2, dtype=torch.bool))


Case = tuple[nn.Module, tuple[int, ...]]


def drawn(draw: st.DrawFn, most: int) -> tuple[int, dict[str, Any], list[list[int]]]:
    """Rank, channels and groups, and for each axis kernel, stride, dilation, padding, more."""
    rank = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    kernel = st.integers(1, 3 if rank == 3 else 4)
    numbers = st.tuples(
        kernel, st.integers(1, 3), st.integers(1, 2), st.integers(0, most), st.integers(0, 2)
    )
    axes = draw(st.lists(numbers, min_size=rank, max_size=rank))
    channels = {
        "in_channels": groups * draw(st.integers(1, 2)),
        "out_channels": groups * draw(st.integers(1, 2)),
        "groups": groups,
        "bias": draw(st.booleans()),
    }
    return rank, channels, [list(axis) for axis in zip(*axes, strict=True)]


@st.composite
def convolutions(draw: st.DrawFn) -> Case:
    """Any convolution, and a shape that it takes: often the smallest one."""
    rank, channels, (kernel, stride, dilation, padding, more) = drawn(draw, most=3)
    mode, words = draw(st.sampled_from(MODES)), draw(st.sampled_from([None, "same", "valid"]))
    stride = [1] * rank if words == "same" else stride
    padding = padding if words is None else words
    conv = CONV[rank](
        kernel_size=kernel,
        stride=stride,
        dilation=dilation,
        padding=padding,
        padding_mode=mode,
        **channels,
    )
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    pads = {"same": [-(-r // 2) for r in reach], "valid": [0] * rank}.get(words, padding)
    added = {"same": reach}.get(words, [2 * p for p in pads])
    room = {"reflect": 1, "circular": 0}.get(mode)
    size = []
    for r, p, a, extra in zip(reach, pads, added, more, strict=True):
        least = max(1, r + 1 - a, 1 if room is None else p + room)
        size.append(least + extra)
    return conv.double(), (draw(st.integers(1, 3)), channels["in_channels"], *size)


@st.composite
def transposed(draw: st.DrawFn) -> Case:
    """Any transposed convolution, and a shape that it takes."""
    rank, channels, (kernel, stride, dilation, padding, more) = drawn(draw, most=2)
    limits = [max(s, d) - 1 for s, d in zip(stride, dilation, strict=True)]
    extra = [draw(st.integers(0, limit)) for limit in limits]
    conv = BACK[rank](
        kernel_size=kernel,
        stride=stride,
        dilation=dilation,
        padding=padding,
        output_padding=extra,
        **channels,
    )
    size = [1 + n for n in more]
    rows = zip(size, stride, padding, dilation, kernel, extra, strict=True)
    assume(all((n - 1) * s - 2 * p + d * (k - 1) + q >= 0 for n, s, p, d, k, q in rows))
    return conv.double(), (1, channels["in_channels"], *size)


@st.composite
def tf_same(draw: st.DrawFn) -> Case:
    """A convolution with TF-SAME padding, on any size at all."""
    rank, channels, (kernel, stride, dilation, _, more) = drawn(draw, most=0)
    conv = layers.torch_layers(rank).same_conv(
        kernel_size=kernel, stride=stride, dilation=dilation, **channels
    )
    return conv.double(), (1, channels["in_channels"], *(1 + 2 * n for n in more))


def applied_to_unit_vectors(layer: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """The matrix, column by column: the layer's answer to each unit vector, without the bias."""
    units = torch.eye(math.prod(shape[1:]), dtype=torch.float64).reshape(-1, *shape[1:])
    with torch.no_grad():
        y = layer(units)
        bias = 0 if layer.bias is None else layer.bias.reshape(-1, *[1] * (y.ndim - 2))
        return (y - bias).flatten(1).T


@even_same
@settings(max_examples=250)
@given(case=st.one_of(convolutions(), transposed(), tf_same()))
def test_it_is_the_layer_applied_to_unit_vectors(case: Case) -> None:
    layer, shape = case
    matrix = conv_matrix(layer, shape)
    expected = applied_to_unit_vectors(layer, shape)
    torch.testing.assert_close(torch.from_numpy(matrix.toarray()), expected)
    assert matrix.shape == tuple(expected.shape)
    again = sparse.csr_array((matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape)
    assert again.has_canonical_format  # sorted, and no position twice
    assert again.indices.dtype == again.indptr.dtype == np.int32
    unbatched = conv_matrix(layer, shape[1:])
    assert (unbatched != matrix).nnz == 0


@given(case=convolutions(), cells=st.integers(1, 300))
def test_pieces_change_nothing(case: Case, cells: int) -> None:
    whole = conv_matrix(*case)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toeplitz, "_CELLS", cells)
        pieces = conv_matrix(*case)
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(pieces, part), getattr(whole, part))
    assert pieces.shape == whole.shape


def test_one_axis_is_scipys_toeplitz_matrix() -> None:
    conv = nn.Conv1d(1, 1, 3, padding=2, bias=False).double()
    w = conv.weight.detach().flatten().numpy()
    n = 6
    column, row = np.zeros(n + 2), np.zeros(n)
    column[:3], row[0] = w[::-1], w[-1]
    expected = scipy.linalg.toeplitz(column, row)
    np.testing.assert_array_equal(conv_matrix(conv, (1, n)).toarray(), expected)


@given(k=st.tuples(*[st.integers(1, 4)] * 2), n=st.tuples(*[st.integers(2, 5)] * 2))
def test_two_axes_are_doubly_block_toeplitz(k: tuple[int, int], n: tuple[int, int]) -> None:
    conv = nn.Conv2d(1, 1, k, padding=(k[0] - 1, k[1] - 1), bias=False).double()
    out = (n[0] + k[0] - 1, n[1] + k[1] - 1)
    blocks = conv_matrix(conv, (1, *n)).toarray().reshape(*out, *n)
    np.testing.assert_array_equal(blocks[1:, :, 1:], blocks[:-1, :, :-1])
    np.testing.assert_array_equal(blocks[:, 1:, :, 1:], blocks[:, :-1, :, :-1])
    separable = torch.outer(normal(k[0]), normal(k[1], seed=1))
    conv.weight.data = separable[None, None]
    parts = [
        conv_matrix(one, (1, size)).toarray()
        for one, size in zip(factors(separable), n, strict=True)
    ]
    np.testing.assert_allclose(
        conv_matrix(conv, (1, *n)).toarray(), np.kron(*parts), rtol=1e-9, atol=1e-12
    )


def factors(separable: Tensor) -> list[nn.Module]:
    """Two 1-D layers, fully padded, whose outer product is the kernel."""
    left, sigma, right = torch.linalg.svd(separable)
    found = []
    for taps in (left[:, 0] * sigma[0], right[0]):
        conv = nn.Conv1d(1, 1, len(taps), padding=len(taps) - 1, bias=False).double()
        conv.weight.data = taps[None, None]
        found.append(conv)
    return found


@given(case=transposed())
def test_a_transposed_convolution_is_the_transpose(case: Case) -> None:
    back, shape = case
    output = back(torch.zeros(shape, dtype=torch.float64)).shape
    rank = len(shape) - 2
    conv = CONV[rank](
        back.out_channels,
        back.in_channels,
        back.kernel_size,
        back.stride,
        back.padding,
        back.dilation,
        back.groups,
        bias=False,
    ).double()
    conv.weight = back.weight
    forth = conv_matrix(conv, tuple(output))
    rows = forth.shape[0]
    assume(rows == math.prod(shape[1:]))  # output padding can make room for one window more
    assert (forth != conv_matrix(back, shape).T).nnz == 0


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.float64, np.float64),
        (torch.float32, np.float32),
        (torch.bfloat16, np.float32),
        (torch.float16, np.float32),
    ],
)
def test_values_have_the_type_of_the_layer(dtype: torch.dtype, expected: Any) -> None:
    layer = nn.Conv2d(2, 3, 3, padding=1).to(dtype)
    matrix = conv_matrix(layer, (1, 2, 5, 5))
    assert matrix.dtype == expected
    assert set(matrix.data.tolist()) == set(layer.weight.detach().double().flatten().tolist())


def test_weights_of_zero_are_kept_and_not_a_number_stays_where_it_is() -> None:
    layer = nn.Conv1d(1, 1, 3, padding=2, padding_mode="replicate", bias=False)
    layer.weight.data = torch.tensor([[[0.0, math.nan, 1.0]]])
    found = conv_matrix(layer, (1, 4))
    assert found.nnz == 12  # windows of 1, 2, 3, 3, 2 and 1 different inputs
    assert np.isnan(found.toarray()).sum() == 6  # the middle tap meets one input in each window
    assert np.count_nonzero(found.data == 0) == 3  # the first tap, where it meets an input alone


def test_too_large_a_matrix_is_refused_at_once() -> None:
    conv, back = nn.Conv2d(16, 16, 3, padding=1), nn.ConvTranspose2d(1, 1, 1, stride=50_000)
    for layer, shape in [(conv, (16, 1200, 1200)), (back, (1, 2, 2))]:
        with pytest.raises(OptionError, match=r"input_shape \(=.*32-bit indices.*operator_norm"):
            conv_matrix(layer, shape)


def test_without_scipy_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "scipy.sparse", None)
    with pytest.raises(MissingExtraError, match=r"convarium\[measure\]"):
        conv_matrix(nn.Conv1d(1, 1, 1), (1, 1))
