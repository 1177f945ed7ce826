"""What was worked out of a network's weights, kept as long as they stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

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
        self._root = module._modules
        self._places = list(_places(module))
        held = [each for _, _, each in self._places if isinstance(each, Tensor)]
        # Those that were made in inference mode do not tell when they change.
        self._told = not any(tensor.is_inference() for tensor in held)
        self._versions = [(each, each._version) for each in held] if self._told else []

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy has tensors of its own, which count anew; so it has nothing to hold."""
        return _nothing, ()

    def holds(self, module: nn.Module) -> bool:
        """Whether no weight was written, and no tensor or inner module replaced since.

        Moves and conversions are not seen; a module drops what it keeps in its `_apply`. Nor is
        what is written through `.data`, which torch does not count.
        """
        if not self._told or module._modules is not self._root:
            return False
        for owner, name, each in self._places:
            if owner.get(name) is not each:
                return False
        return all(tensor._version == version for tensor, version in self._versions)


def _nothing() -> Prepared[None]:
    found: Prepared[None] = Prepared(nn.Module(), None)
    found._told = False
    return found


def _places(module: nn.Module) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """Where each inner module, parameter and buffer stands, and what stands there."""
    for each in module.modules():
        for owner in (each._modules, each._parameters, each._buffers):
            for name, value in owner.items():
                yield owner, name, value
