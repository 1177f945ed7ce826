"""How much a convolution can stretch its input: the singular values of its linear map.

    M = U diag(sigma_1 >= sigma_2 >= ...) V'        |M x| <= sigma_1 |x|

The largest are found by Lanczos' method from products with M and M' alone, which are the layer and
its vector-Jacobian product, so that no matrix is built. Where the padding is circular, the Fourier
transform takes M apart into a small matrix for each frequency, whose singular values are M's.

Everything is computed in float64, with the weight divided by its largest entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, SupportsIndex, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convarium.errors import OptionError, import_extra
from convarium.measure.arguments import whole
from convarium.measure.linear_map import LinearMap, linear_map
from convarium.measure.running import explained
from convarium.measure.toeplitz import matrix_of

Vector: TypeAlias = NDArray[np.float64]
Product: TypeAlias = Callable[[Vector], Vector]

_SMALL: Final = 2**20  # numbers in a matrix that is built where k values are wanted
_LARGEST: Final = 2**24  # and where all are wanted: 4096 x 4096, a minute or two
_BLOCK: Final = 2**21  # complex numbers held for a block of frequencies
_TOLERANCE: Final = 1e-10  # of squared singular values, relative to the largest


def operator_norm(layer: nn.Module, input_shape: Sequence[int]) -> float:
    """The largest singular value of a convolution without its bias: its Lipschitz constant.

    sigma_1 = max |M x| / |x|, by Lanczos' method on M'M, or on MM' where that is smaller; accurate
    to about ten digits.

    Args:
        layer: a convolution; see `conv_matrix`.
        input_shape: (B, C, *S) or (C, *S); the batch does not matter.

    Raises:
        OptionError: `layer` is no convolution, or its weight is not finite.
        ShapeError: the shape does not fit the layer.
        MissingExtraError: scipy is not installed.

    Example:
        >>> mean = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular", bias=False)
        >>> _ = nn.init.constant_(mean.weight, 1 / 3)
        >>> round(operator_norm(mean, (1, 1, 64)), 6)
        1.0

    References:
        Golub, Van Loan 2013, "Matrix computations", section 10.4 (Lanczos for singular values).
    """
    return float(singular_values(layer, input_shape, k=1)[0])


def singular_values(layer: nn.Module, input_shape: Sequence[int], k: int | None = None) -> Tensor:
    """The largest singular values of a convolution without its bias, or all of them.

    The k largest, each as often as it occurs, by Lanczos' method. All (k = None): with circular
    padding, where stride s divides every size, they are those of the matrices

        P(f) = 1 / sqrt(s^d) [K^(f + j S / s) for each alias j],    K^(f) = sum_t K_t e^(2 pi i f t)

    of C' x C s^d numbers, one for each frequency f of the output: s = 1 is the case of the paper.
    The same holds without padding where no window leaves the input, as in a patch embedding.
    All values of another convolution need its matrix, so that it must be small.

    Args:
        layer: a convolution; see `conv_matrix`.
        input_shape: (B, C, *S) or (C, *S); the batch does not matter.
        k: how many; None for all.

    Shape:
        -> (k,) or (min(C' prod(S'), C prod(S)),), float64, falling. Of k values, those below
        sigma_1 / 10^5 are exact to about that only; of all, each is exact to sigma_1 / 10^12.

    Raises:
        OptionError: `layer` is no convolution, its weight is not finite, there are no k values, or
            k = None and the matrix is neither circular nor small.
        ShapeError: the shape does not fit the layer.
        MissingExtraError: scipy is not installed.

    Example:
        >>> patches = nn.Conv2d(3, 8, 4, stride=4)
        >>> values = singular_values(patches, (1, 3, 16, 16))
        >>> values.shape
        torch.Size([128])
        >>> weight = torch.linalg.svdvals(patches.weight.detach().flatten(1).double())
        >>> torch.allclose(values[::16], weight)  # each of them for each of the 16 patches
        True

    References:
        Sedghi, Gupta, Long 2019, "The singular values of convolutional layers", arXiv:1805.10408,
        theorem 6. The strides are ours: the aliases of a frequency meet in one matrix.
    """
    linear = linear_map(layer, input_shape)
    memory = explained(layer, linear.input_shape)
    with memory, torch.inference_mode(False), torch.no_grad():
        rank = min(linear.matrix_shape)
        count = rank if k is None else _count(k, rank)
        weight = linear.weight.double()
        scale = weight.abs().max()
        if not torch.isfinite(scale):
            raise OptionError("layer.weight holds NaN or infinity; it has no singular values.")
        if scale == 0:
            return torch.zeros(count, dtype=torch.float64)
        linear = replace(linear, weight=weight / scale)
        return (_all(linear) if k is None else _largest(linear, count)) * scale


def _count(k: SupportsIndex, rank: int) -> int:
    count = whole(1, k=k)
    if count > rank:
        raise OptionError(f"k (={count}) must be at most {rank}, as many as there are.")
    return count


def _all(linear: LinearMap) -> Tensor:
    """Every singular value, falling."""
    if _is_circulant(linear):
        return _by_frequency(linear)
    rows, columns = linear.matrix_shape
    if rows * columns > _LARGEST:
        raise OptionError(
            f"k (=None) asks for all singular values of a {rows} x {columns} matrix that is not "
            "circular; ask for the largest (k=10), take a smaller input_shape, or a layer with "
            "padding_mode='circular' and the output as large as the input."
        )
    values: Tensor = torch.linalg.svdvals(torch.from_numpy(matrix_of(linear).toarray()))
    return values


def _largest(linear: LinearMap, k: int) -> Tensor:
    """The k largest singular values, falling."""
    rows, columns = linear.matrix_shape
    if rows * columns <= _SMALL:
        return _all(linear)[:k]
    size, gram = _gram(linear)
    if 4 * k <= size:
        squares = _lanczos(gram, size, k)
    elif size**2 <= _LARGEST:
        squares = np.linalg.eigvalsh(np.stack([gram(unit) for unit in np.eye(size)]))
    else:
        raise OptionError(
            f"k (={k}) must be at most {size // 4}, a quarter of all values, or None."
        )
    values = np.sqrt(np.sort(squares)[::-1][:k].clip(min=0.0))
    return torch.from_numpy(values)


def _gram(linear: LinearMap) -> tuple[int, Product]:
    """The smaller of M'M and MM': its size, and the product with a vector."""
    with torch.enable_grad():
        x = torch.zeros(1, *linear.input_shape, dtype=torch.float64, requires_grad=True)
        y = linear(x)
    rows, columns = linear.matrix_shape

    def forward(vector: Tensor) -> Tensor:
        return linear(vector.reshape(x.shape))

    def backward(vector: Tensor) -> Tensor:
        return torch.autograd.grad(y, x, vector.reshape(y.shape), retain_graph=True)[0]

    first, second = (backward, forward) if rows < columns else (forward, backward)

    def product(vector: Vector) -> Vector:
        result: Vector = second(first(torch.from_numpy(vector))).numpy().ravel()
        return result

    return min(rows, columns), product


def _lanczos(gram: Product, size: int, k: int) -> Vector:
    """At least the k largest eigenvalues of a symmetric map without negative ones, in any order.

    From one start, Lanczos' method can miss copies of an eigenvalue that occurs several times. So
    it runs again, at right angles to what was found, until nothing above the k-th is left.
    """
    linalg: Any = import_extra("scipy.sparse.linalg", "measure")
    random = np.random.default_rng(0)
    start = random.standard_normal(size)

    def eigen(product: Product, count: int, vector: Vector) -> tuple[Vector, Vector]:
        square = linalg.LinearOperator((size, size), matvec=product, dtype=np.float64)
        found: tuple[Vector, Vector] = linalg.eigsh(
            square, count, which="LA", v0=vector, tol=_TOLERANCE, ncv=min(size, max(4 * count, 20))
        )
        return found

    if not gram(start).any():
        return np.zeros(k)
    values, vectors = eigen(gram, k, start)
    while k > 1:
        basis = np.linalg.qr(vectors)[0]

        def rest(vector: Vector, basis: Vector = basis) -> Vector:
            inside = gram(_without(basis, vector.ravel()))
            return _without(basis, inside)

        limit = np.sort(values)[-k] + _TOLERANCE * values.max()
        start = _without(basis, random.standard_normal(size))
        if np.linalg.norm(rest(start)) <= 0.01 * _TOLERANCE * values.max():  # nothing is left
            break
        value, vector = eigen(rest, 1, start)
        if value[0] <= limit:
            break
        values, vectors = np.append(values, value), np.hstack([vectors, vector])
    return values


def _without(basis: Vector, vector: Vector) -> Vector:
    """The part of a vector at right angles to the columns of `basis`."""
    left: Vector = vector - basis @ (basis.T @ vector)
    return left


def _is_circulant(linear: LinearMap) -> bool:
    """Whether moving the input by a stride around the edge moves the output by a position."""
    axes = zip(
        linear.coarse,
        linear.fine,
        linear.kernel_size,
        linear.stride,
        linear.dilation,
        linear.sides,
        strict=True,
    )
    return all(
        n * s == m and (linear.mode == "circular" or (left == 0 and (n - 1) * s + d * (k - 1) < m))
        for n, m, k, s, d, (left, _) in axes
    )


def _by_frequency(linear: LinearMap) -> Tensor:
    """All singular values of a circulant map, falling: those of its matrix at each frequency.

    The transform of a kernel is as many terms as it has taps, so it is summed for a block of
    frequencies at a time, and memory stays small. A real kernel's frequencies f and -f have the
    same values; one of each pair is computed.
    """
    groups, cols = linear.groups, linear.weight.shape[1]
    rows = linear.weight.shape[0] // groups
    kernel = linear.weight.reshape(groups, rows, cols, -1).movedim(3, 0)
    taps, aliases = kernel.shape[0], math.prod(linear.stride)
    kernel = torch.complex(kernel, torch.zeros_like(kernel)).reshape(taps, -1) / aliases**0.5
    frequencies, times = _frequencies(linear)
    values = []
    step = max(_BLOCK // (aliases * max(taps, kernel.shape[1])), 1)
    for first in range(0, len(frequencies), step):
        block = frequencies[first : first + step]
        turns = _turns(linear, block)
        transform = torch.polar(torch.ones_like(turns), 2 * math.pi * turns) @ kernel
        transform = transform.reshape(len(block), aliases, groups, rows, cols)
        matrices = transform.permute(0, 2, 3, 1, 4).reshape(-1, groups, rows, aliases * cols)
        values.append(torch.linalg.svdvals(matrices).flatten(1))
    return torch.cat(values).repeat_interleave(times, 0).flatten().sort(descending=True).values


def _frequencies(linear: LinearMap) -> tuple[Tensor, Tensor]:
    """One of each pair f, -f of the coarse side's frequencies, (F, d), and how many it stands for.

    They are whole numbers of turns over the map.
    """
    every = np.indices(linear.coarse).reshape(len(linear.coarse), -1)
    sizes = np.array(linear.coarse)[:, None]
    here = np.ravel_multi_index(tuple(every), linear.coarse)
    opposite = np.ravel_multi_index(tuple(-every % sizes), linear.coarse)
    kept = here <= opposite
    times = 1 + (here != opposite)[kept]
    return torch.from_numpy(every.T[kept]), torch.from_numpy(times)


def _turns(linear: LinearMap, frequencies: Tensor) -> Tensor:
    """By which part of a turn each tap stands off, for each alias of each frequency: (F, A, K)."""
    steps = torch.from_numpy(np.indices(linear.stride).reshape(len(linear.stride), -1).T)
    taps = torch.from_numpy(np.indices(linear.kernel_size).reshape(len(linear.stride), -1))
    sizes = torch.tensor(linear.fine)
    aliased = frequencies[:, None] + steps * torch.tensor(linear.coarse)
    reach = taps * torch.tensor(linear.dilation)[:, None]
    whole = aliased[..., None] * reach % sizes[:, None]
    return (whole.double() / sizes[:, None]).sum(2)
