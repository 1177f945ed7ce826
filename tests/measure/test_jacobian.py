"""Singular values of Jacobians: of matrices, of circular convolutions by FFT, of nets by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from convarium.errors import OptionError, ShapeError
from convarium.measure.jacobian import jacobian_singular_values, largest


def linear(matrix: np.ndarray) -> nn.Linear:
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False).double()
    layer.weight.data = torch.from_numpy(matrix)
    return layer


@settings(max_examples=30)
@given(outputs=st.integers(1, 9), inputs=st.integers(1, 9), seed=st.integers(0, 99))
def test_of_a_linear_layer_they_are_those_of_its_matrix(
    outputs: int, inputs: int, seed: int
) -> None:
    matrix = np.random.default_rng(seed).normal(size=(outputs, inputs))
    few = min(outputs, inputs)
    result = jacobian_singular_values(linear(matrix), torch.ones(2, inputs).double(), k=few)
    expected = np.linalg.svd(matrix, compute_uv=False)
    assert result.shape == (outputs, inputs)
    np.testing.assert_allclose(result.largest, [expected] * 2)
    np.testing.assert_allclose(result.smallest, [expected[-1]] * 2)
    assert (result.method, result.converged) == ("dense", (True, True))


def test_of_a_relu_network_they_differ_between_samples() -> None:
    """J(x) = W2 diag(W1 x > 0) W1."""
    random = np.random.default_rng(0)
    one, two = random.normal(size=(6, 4)), random.normal(size=(3, 6))
    x = random.normal(size=(5, 4))
    network = nn.Sequential(linear(one), nn.ReLU(inplace=True), linear(two))
    result = jacobian_singular_values(network, torch.from_numpy(x), k=2)
    for row, sample in zip(result.largest, x, strict=True):
        jacobian = two @ np.diag(one @ sample > 0) @ one
        np.testing.assert_allclose(row, np.linalg.svd(jacobian, compute_uv=False)[:2])


def circular(side: int, seed: int = 0) -> tuple[nn.Conv2d, np.ndarray]:
    """A circular convolution and all its singular values, the moduli of its kernel's transform."""
    layer = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular", bias=False).double()
    kernel = np.random.default_rng(seed).normal(size=(3, 3))
    layer.weight.data = torch.from_numpy(kernel)[None, None]
    values = np.abs(np.fft.fft2(kernel, (side, side))).ravel()
    return layer, np.sort(values)[::-1]


def test_of_a_circular_convolution_they_are_the_moduli_of_its_transform() -> None:
    layer, expected = circular(9)
    result = jacobian_singular_values(layer, torch.zeros(1, 1, 9, 9).double(), k=81)
    np.testing.assert_allclose(result.largest[0], expected, atol=1e-12)
    assert result.smallest[0] == pytest.approx(expected[-1])


def test_of_large_jacobians_the_largest_are_found_without_writing_them_out() -> None:
    layer, expected = circular(48)  # 2304 x 2304; most values come in pairs
    result = jacobian_singular_values(layer, torch.zeros(1, 1, 48, 48).double(), k=3)
    assert (result.method, result.smallest, result.converged) == ("krylov", None, (True,))
    np.testing.assert_allclose(result.largest[0], expected[:3], rtol=1e-4)
    assert result == jacobian_singular_values(layer, torch.zeros(1, 1, 48, 48).double(), k=3)


@settings(max_examples=30)
@given(
    values=st.lists(st.sampled_from([0.0, 1e-3, 1.0, 2.0, 5.0]), min_size=3, max_size=12),
    extra=st.integers(0, 4),
    k=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_equal_values_are_all_found(values: list[float], extra: int, k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    n, m = len(values), len(values) + extra
    left, _ = np.linalg.qr(random.normal(size=(m, n)))
    right, _ = np.linalg.qr(random.normal(size=(n, n)))
    matrix = torch.from_numpy(left * values @ right)
    first = torch.from_numpy(random.normal(size=(k + 1, n)))
    found, converged = largest(lambda v: v @ matrix.T, lambda u: u @ matrix, first, k)
    assert converged
    np.testing.assert_allclose(found, sorted(values, reverse=True)[:k], atol=1e-3)


class Residual(nn.Module):
    """x + s F(x)."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.branch = nn.Sequential(nn.Conv1d(2, 2, 3, padding=1), nn.BatchNorm1d(2), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.branch(x)


def test_a_residual_block_whose_branch_is_zero_is_an_isometry() -> None:
    result = jacobian_singular_values(Residual(0.0), torch.randn(2, 2, 7), k=14)
    np.testing.assert_allclose(result.largest, np.ones((2, 14)), rtol=1e-6)


def test_a_block_is_looked_at_where_the_network_calls_it() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(inplace=True), Residual(0.5)).double()
    x = torch.randn(2, 1, 9).double()
    inside = jacobian_singular_values(network, x, k=3, layer="2")
    with torch.no_grad():
        before = network.eval()[:2](x)
    assert inside.layer == "2"
    np.testing.assert_allclose(
        inside.largest, jacobian_singular_values(network[2], before, k=3).largest
    )
    relu = jacobian_singular_values(network, x, k=14, layer="1")  # ones and zeros
    positive = [int((row > 0).sum()) for row in before]
    assert [sum(values) for values in relu.largest] == positive


def test_common_layers_have_rows_and_columns_that_agree() -> None:
    """With more outputs than inputs J comes from its columns; torch builds it from its rows."""
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(1, 4, 3, stride=2, padding=1),
        nn.GroupNorm(2, 4),
        nn.GELU(),
        nn.MaxPool2d(2),
        nn.ConvTranspose2d(4, 4, 2, stride=2),
        nn.Upsample(scale_factor=3, mode="bilinear"),
    ]
    network = nn.Sequential(*layers).double()
    x = torch.randn(1, 1, 8, 8).double()
    wide = jacobian_singular_values(network, x, k=5)
    assert wide.shape == (4 * 12 * 12, 64)
    jacobian = torch.autograd.functional.jacobian(network, x).reshape(wide.shape)
    expected = torch.linalg.svdvals(jacobian.detach())
    np.testing.assert_allclose(wide.largest[0], expected[:5])


def test_an_output_that_does_not_depend_on_the_input_has_zeros() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ones(1, 3)

    result = jacobian_singular_values(Constant(), torch.ones(1, 5))
    assert (result.largest, result.smallest) == (((0.0,),), (0.0,))
    taller = jacobian_singular_values(Constant(), torch.ones(1, 2))
    assert taller.largest == ((0.0,),)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, x: jacobian_singular_values(m, x, k=0), OptionError, "from 1 to 3"),
        (lambda m, x: jacobian_singular_values(m, x, k=4), OptionError, "the Jacobian is 3 x 5"),
        (lambda m, x: jacobian_singular_values(m, x, layer="9"), OptionError, "not in the model"),
        (lambda m, x: jacobian_singular_values(m, x[0]), ShapeError, "must be a batch"),
        (lambda m, x: jacobian_singular_values(m, x.long()), ShapeError, "must be a batch"),
        (
            lambda m, x: jacobian_singular_values(nn.LSTM(5, 2), x),
            ShapeError,
            "returns a tuple",
        ),
        (
            lambda m, x: jacobian_singular_values(Twice(), x, layer="act"),
            OptionError,
            "it ran 2 times",
        ),
    ],
)
def test_what_has_no_jacobian_is_refused(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call(nn.Sequential(nn.Linear(5, 3)), torch.ones(2, 5))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.act(x))


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_changes(fails: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.Dropout(0.5))
    model(torch.randn(2, 1, 8)).sum().backward()
    before = [torch.get_rng_state(), *(value.clone() for value in model.state_dict().values())]
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    if fails:
        with pytest.raises(OptionError):
            jacobian_singular_values(model, torch.ones(2, 1, 8), k=999, layer="1")
    else:
        jacobian_singular_values(model, torch.ones(2, 1, 8), layer="1")
    after = [torch.get_rng_state(), *model.state_dict().values()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient)
    for module in model.modules():
        assert module.training
        assert not module._forward_pre_hooks


def test_the_result_is_json() -> None:
    told = jacobian_singular_values(nn.Linear(2, 2), torch.ones(1, 2)).to_json()
    assert (told["method"], told["shape"]) == ("dense", (2, 2))
