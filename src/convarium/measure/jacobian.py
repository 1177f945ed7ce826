"""Singular values of a network's Jacobian: how a small change of its input comes out.

J v = df(x + e v)/de (forward mode)      J^T u = d(u . f(x))/dx (backward mode)
small J: all of it, then a singular value decomposition      else: a block Krylov space
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from convarium import seeds
from convarium.errors import OptionError, ShapeError
from convarium.measure.arguments import batch, whole
from convarium.measure.gradients import CUT_OFF
from convarium.measure.leaves import looking, select
from convarium.measure.running import open_to_hooks, ready

#: A Jacobian with no more entries than this is written out.
DENSE_ENTRIES = 2048 * 2048

_STEPS = 100
_TOLERANCE = 1e-4

_Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class JacobianSpectrum:
    """Singular values of a Jacobian, for each sample.

    Attributes:
        layer: dotted name of the block; empty for the whole network.
        shape: (outputs, inputs) of the Jacobian of one sample.
        largest: for each sample the largest singular values, in descending order.
        smallest: for each sample the smallest of the min(outputs, inputs) singular values; None
            where the Jacobian is too large to be written out.
        method: "dense" or "krylov".
        converged: for each sample, whether the largest are known to one part in 10,000 of the
            largest; always so where dense.
    """

    layer: str
    shape: tuple[int, int]
    largest: tuple[tuple[float, ...], ...]
    smallest: tuple[float, ...] | None
    method: Literal["dense", "krylov"]
    converged: tuple[bool, ...]

    def to_json(self) -> dict[str, Any]:
        """The result as values for JSON."""
        return asdict(self)


def jacobian_singular_values(
    model: nn.Module, x: Tensor, k: int = 1, *, layer: str | None = None, seed: int = 0
) -> JacobianSpectrum:
    """The k largest singular values of df/dx, and the smallest where df/dx is small.

    A product of many layers whose singular values are near 1 keeps gradients alive (dynamical
    isometry); a residual block has I + dF/dx, a plain one dF/dx alone.

    The model runs in eval mode and is afterwards as before. The Jacobian is written out where it
    has at most 2048 x 2048 entries, which takes min(outputs, inputs) passes a sample; else products
    with J and its transpose build a block Krylov space until the residual ||J^T u - s v|| is below
    1e-4 of the largest value.

    Args:
        model: any module with one input and one output.
        x: (B, ...), floating point; each sample is looked at by itself.
        k: how many, at most min(outputs, inputs).
        layer: dotted name of a block that has one input and runs once; None means the whole model.
        seed: of the Krylov space's first vectors.

    Raises:
        OptionError: k is out of range; the layer does not exist, or does not run exactly once with
            one input of numbers; no gradient reaches x, though it moves the output.
        ShapeError: x holds no sample of numbers, or the output is not one tensor of numbers.

    Example:
        >>> stretch = nn.Linear(3, 3, bias=False)
        >>> _ = stretch.weight.data.copy_(torch.diag(torch.tensor([4.0, 2.0, 0.5])))
        >>> result = jacobian_singular_values(stretch, torch.zeros(1, 3), k=2)
        >>> result.largest, result.smallest
        (((4.0, 2.0),), (0.5,))

    References:
        Pennington, Schoenholz, Ganguli 2017, "Resurrecting the sigmoid in deep learning through
        dynamical isometry", arXiv:1711.04735, section 2; Musco and Musco 2015, "Randomized block
        Krylov methods", arXiv:1504.05477, algorithm 2.
    """
    network = ready(model) if layer is None else open_to_hooks(model)
    x, seed = batch(x), whole(seed=seed)
    found = []
    with looking(network, x, gradients=False) as x:
        block, x = _block(network, x, layer)
        for sample in x.unbind():
            jacobian = _Jacobian(block, sample[None])
            _check_number(k, jacobian.shape)
            found.append(_spectrum(jacobian, k, seed))
    dense = found[0][1] is not None
    return JacobianSpectrum(
        layer=layer or "",
        shape=jacobian.shape,
        largest=tuple(tuple(values) for values, _, _ in found),
        smallest=tuple(low for _, low, _ in found if low is not None) if dense else None,
        method="dense" if dense else "krylov",
        converged=tuple(converged for _, _, converged in found),
    )


class _Jacobian:
    """Products with the Jacobian of `block` at one sample, for rows of vectors.

    The network runs once. J^T u is linear in u, so its derivative with respect to u, applied to v,
    is J v.
    """

    def __init__(self, block: nn.Module, x: Tensor) -> None:
        with torch.enable_grad():
            self.x = x.clone().requires_grad_()
            output: Any = block(self.x.clone())
            if not isinstance(output, Tensor) or not output.is_floating_point():
                raise ShapeError(
                    f"The model returns a {type(output).__name__}; it must return one tensor of "
                    "numbers; wrap it in a module that does."
                )
            self.output: Tensor = output
            self.shape = (output.numel(), x.numel())
            self.u = torch.zeros_like(output, requires_grad=True)
            pulled = self._gradient(self.output, self.x, self.u, create_graph=True)
        if pulled is None and _moves(block, x, output):
            raise OptionError(f"No gradient of the output reaches x: {CUT_OFF}.")
        self.pulled = torch.zeros_like(self.x) if pulled is None else pulled

    def forward(self, vectors: Tensor) -> Tensor:
        """(b, inputs) -> (b, outputs): J v."""
        rows = [v.to(self.x.dtype).reshape(self.x.shape) for v in vectors]
        return torch.stack(
            [self._derivative(self.pulled, self.u, v).flatten().double() for v in rows]
        )

    def backward(self, vectors: Tensor) -> Tensor:
        """(b, outputs) -> (b, inputs): J^T u."""
        rows = [u.to(self.output.dtype).reshape(self.output.shape) for u in vectors]
        return torch.stack(
            [self._derivative(self.output, self.x, u).flatten().double() for u in rows]
        )

    def _derivative(self, y: Tensor, x: Tensor, vector: Tensor) -> Tensor:
        """Of vector . y with respect to x; zero where y does not depend on x."""
        found = self._gradient(y, x, vector)
        return torch.zeros_like(x) if found is None else found

    def _gradient(
        self, y: Tensor, x: Tensor, vector: Tensor, *, create_graph: bool = False
    ) -> Tensor | None:
        """The same; None where none reaches x."""
        if not y.requires_grad:
            return None
        found = torch.autograd.grad(
            y, x, vector, retain_graph=True, create_graph=create_graph, allow_unused=True
        )
        return found[0]

    def dense(self) -> Tensor:
        """All of it, (outputs, inputs), from its rows or from its columns, whichever are fewer."""
        outputs, inputs = self.shape
        if outputs <= inputs:
            return self.backward(torch.eye(outputs, device=self.x.device))
        return self.forward(torch.eye(inputs, device=self.x.device)).T


def _moves(block: nn.Module, x: Tensor, output: Tensor) -> bool:
    """Whether another input gives another output."""
    generator = torch.Generator().manual_seed(0)
    other = torch.randn(x.shape, generator=generator, device="cpu").to(x)
    return not torch.equal(block(other), output)


def _spectrum(jacobian: _Jacobian, k: int, seed: int) -> tuple[list[float], float | None, bool]:
    """The k largest, the smallest if it is known, and whether they have converged."""
    outputs, inputs = jacobian.shape
    if outputs * inputs <= DENSE_ENTRIES:
        values = torch.linalg.svdvals(jacobian.dense()).tolist()
        return values[:k], values[-1], True
    generator = np.random.Generator(np.random.PCG64(seeds.derive(seed, "jacobian")))
    first = torch.from_numpy(generator.standard_normal((k + 1, inputs)))
    values, converged = largest(jacobian.forward, jacobian.backward, first.to(jacobian.x.device), k)
    return values, None, converged


def largest(
    forward: _Product, backward: _Product, first: Tensor, k: int
) -> tuple[list[float], bool]:
    """The k largest singular values of a matrix that is known by its products.

    The space grows by the residuals J^T u - s v of its best vectors, which is the next block of the
    Krylov space of J^T J.

    Args:
        forward: (b, n) -> (b, m), float64: each row times J.
        backward: (b, m) -> (b, n), float64: each row times the transpose.
        first: (b, n) with b above k, so that equal singular values are all found.
        k: how many.

    Returns:
        The values in descending order, and whether their residuals are below the tolerance.
    """
    basis = _orthonormal(first, first[:0])
    images = forward(basis)
    for _ in range(_STEPS):
        left, values, right = torch.linalg.svd(images.T, full_matrices=False)
        best = right[: len(first)] @ basis
        residuals = backward(left.T[: len(first)]) - values[: len(first), None] * best
        if residuals[:k].norm(dim=1).max() <= _TOLERANCE * values[0]:
            return values[:k].tolist(), True
        new = _orthonormal(residuals, basis)
        if not len(new):  # the space holds all that J does to it
            return values[:k].tolist(), True
        basis, images = torch.cat([basis, new]), torch.cat([images, forward(new)])
    return values[:k].tolist(), False


def _orthonormal(vectors: Tensor, basis: Tensor) -> Tensor:
    """What the vectors add to an orthonormal basis, as rows; what adds nothing is left out."""
    added = vectors[:0]
    for vector in vectors:
        before = vector.norm()
        for _ in range(2):  # once more takes away what rounding has left
            known = torch.cat([basis, added])
            vector = vector - known.T @ (known @ vector)
        if vector.norm() > 1e-8 * before:
            added = torch.cat([added, (vector / vector.norm())[None]])
    return added


def _check_number(k: Any, shape: tuple[int, int]) -> None:
    most = min(shape)
    if whole(k=k) > most or k < 1:
        raise OptionError(
            f"k (={k!r}) must be a whole number from 1 to {most}, as the Jacobian is "
            f"{' x '.join(map(str, shape))}."
        )


def _block(network: nn.Module, x: Tensor, layer: str | None) -> tuple[nn.Module, Tensor]:
    """The module that is differentiated, and what it gets when the network runs on `x`.

    Raises:
        OptionError: there is no such layer, or it does not run once with one input of numbers.
    """
    if layer is None:
        return network, x
    module = select(network, [layer], "layer")[layer]
    inputs: list[Tensor | None] = []

    def keep(_: nn.Module, given: tuple[Any, ...]) -> None:
        fits = len(given) == 1 and isinstance(given[0], Tensor) and given[0].is_floating_point()
        inputs.append(given[0].detach().clone() if fits else None)

    module.register_forward_pre_hook(keep)
    network(x.clone())
    module._forward_pre_hooks.popitem()
    if len(inputs) != 1 or inputs[0] is None:
        raise OptionError(
            f"layer (={layer!r}) must run exactly once, with one tensor of numbers; it ran "
            f"{len(inputs)} times; choose another block."
        )
    return module, inputs[0]
