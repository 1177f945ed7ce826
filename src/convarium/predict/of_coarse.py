"""A network of fields as a function of the coarse fields alone, one fine field at a time."""

from __future__ import annotations

from torch import Tensor, nn

from convarium.data.grids.coarse import CoarseBatch
from convarium.models import FieldToField


class OfCoarse(nn.Module):
    """One of the fields that a network makes, with all that it reads besides held still.

    Args:
        network: of fields.
        batch: of one time; its mask, fine fields and weights are those held.
        variable: its number among those that are made finer.
        part: which of `network.parts`.

    Shape:
        x (1, C, *S) -> (1, 1, *F), F = S factor
    """

    mask: Tensor | None
    fine: Tensor | None
    weights: Tensor | None

    def __init__(self, network: FieldToField, batch: CoarseBatch, variable: int, part: str) -> None:
        super().__init__()
        self.network = network
        for name in ("mask", "fine", "weights"):
            self.register_buffer(name, getattr(batch, name), persistent=False)
        self.chosen = _Channel(network.parts.index(part) * network.out_channels + variable)

    def forward(self, x: Tensor) -> Tensor:
        """The field, in physical units."""
        y: Tensor = self.chosen(self.network(x, self.mask, self.fine, self.weights))
        return y


class _Channel(nn.Module):
    """One channel of a map: a layer, so that its result can be asked about."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def forward(self, y: Tensor) -> Tensor:
        return y[:, self.number : self.number + 1]
