"""One tensor of a module, taken down and put back: memory, values, gradient, flag and hooks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from convarium.graph.nested import refill


class Kept:
    """A tensor as it was; its values only once they were copied.

    Args:
        tensor: of a module.
        copied: whether its values are copied at once; else `copy` does it, before the first write.
    """

    def __init__(self, tensor: Tensor, *, copied: bool) -> None:
        self.tensor = tensor
        self.requires_grad = tensor.requires_grad
        self.grad = tensor.grad if tensor.is_leaf else None
        self.data = tensor.data  # the same memory
        self.values: Tensor | None = None
        self.version = None if tensor.is_inference() else tensor._version
        self.hooks = {
            name: (hooks, None if hooks is None else hooks.copy())
            for name in ("_backward_hooks", "_post_accumulate_grad_hooks")
            for hooks in [getattr(tensor, name, None)]
        }
        if copied:
            self.copy()

    def copy(self) -> None:
        """Its values, once; on the meta device there are none."""
        if self.values is None and not self.tensor.is_meta:
            self.values = self.data.clone()

    def set_aside_gradient(self) -> None:
        """Start without a gradient."""
        if self.grad is not None:
            self.tensor.grad = None

    def restore(self) -> None:
        """Make it what it was."""
        self._restore_hooks()
        tensor, leaf = self.tensor, self.tensor.is_leaf
        turned = leaf and tensor.requires_grad != self.requires_grad
        moved = memory(tensor) != memory(self.data)
        if turned or moved or self.values is not None:
            with torch.inference_mode(tensor.is_inference()):
                if turned:
                    tensor.requires_grad_(self.requires_grad)
                if moved:
                    tensor.data = self.data
                if self.values is not None:
                    self._restore_values(self.values)
        if leaf and tensor.grad is not self.grad:
            tensor.grad = self.grad

    def _restore_hooks(self) -> None:
        for name, (hooks, content) in self.hooks.items():
            present = getattr(self.tensor, name, None)
            if present is not hooks:
                if present is not None:
                    present.clear()  # torch goes on to read a dictionary that it was once given
                setattr(self.tensor, name, hooks)
            if hooks is not None:
                refill(hooks, content)

    def _restore_values(self, values: Tensor) -> None:
        """Write where they changed, so that a backward pass begun before can be finished.

        Torch counts writes, and refuses to go back through a tensor that was written into; the
        values are those of before, and so is the count.
        """
        if self.tensor.layout != torch.strided and self.tensor._version == self.version:
            return
        with torch.no_grad():
            if not _same(self.tensor, values):
                self.tensor.copy_(values)
        if self.version is not None and self.tensor._version != self.version:
            torch._C._autograd._unsafe_set_version_counter((self.tensor,), (self.version,))


def memory(tensor: Tensor) -> tuple[Any, ...]:
    """Where its elements are, and in which order; of a sparse one, nothing."""
    if tensor.layout != torch.strided:
        return ()
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


def _same(one: Tensor, other: Tensor) -> bool:
    """Equal element by element, where NaN equals NaN."""
    if torch.equal(one, other):
        return True
    return bool(((one == other) | ((one != one) & (other != other))).all())
