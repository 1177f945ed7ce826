"""What was worked out of a network's weights, kept as long as they stay as they are."""

from __future__ import annotations

from typing import Generic, TypeVar

from torch import Tensor, nn

Value = TypeVar("Value")


class Prepared(Generic[Value]):
    """A value made of a module's weights, and whether they are still those that it was made of.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> kept = Prepared(layer, layer.weight.t().contiguous())
        >>> kept.holds(layer)
        True
        >>> _ = nn.init.zeros_(layer.weight)
        >>> kept.holds(layer)
        False
    """

    def __init__(self, module: nn.Module, value: Value) -> None:
        self.value = value
        self._held = _tensors(module)
        # Those that were made in inference mode do not tell when they change.
        self._told = not any(tensor.is_inference() for tensor in self._held)
        self._versions = [tensor._version for tensor in self._held] if self._told else []

    def holds(self, module: nn.Module) -> bool:
        """Whether no weight was written or replaced since.

        Moves and conversions are not seen; a module drops what it keeps in its `_apply`.
        """
        if not self._told or next(module.parameters(), None) is not next(iter(self._held), None):
            return False
        return self._versions == [tensor._version for tensor in self._held]


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
