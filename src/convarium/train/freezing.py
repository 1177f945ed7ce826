"""What learns in which epoch: the head first, then one stage after the other."""

from __future__ import annotations

from torch import nn

from convarium.errors import OptionError
from convarium.models import Network
from convarium.train.config import TrainConfig


class Freezing:
    """Freezes the children of a network that do not learn yet; a function of the epoch alone.

    The head learns alone for `freeze_epochs`; then everything does, or, with `unfreeze_epochs` u,
    one more child of `in_order()` each u epochs. Frozen layers stay in evaluation mode, so that
    their batch norms keep their statistics. What the caller froze stays frozen throughout.

    Args:
        model: the network.
        config: `freeze_epochs` and `unfreeze_epochs`.

    Raises:
        OptionError: the module does not tell its stages.

    References:
        Howard, Ruder (2018), "Universal language model fine-tuning", arXiv:1801.06146, section 3.3
        (gradual unfreezing).
    """

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        self.config = config
        self.active = config.freeze_epochs > 0 or config.unfreeze_epochs > 0
        self._model = model
        if not self.active:
            return
        if not isinstance(model, Network):
            raise OptionError(
                f"freeze_epochs (={config.freeze_epochs}) and unfreeze_epochs "
                f"(={config.unfreeze_epochs}) need a network from convarium.create, which knows "
                "its stages; set both to 0."
            )
        self._until = model.frozen[-1:]
        self._still = [p for p in model.parameters() if not p.requires_grad]

    def apply(self, epoch: int) -> None:
        """Freeze what does not learn in an epoch, counted from 0, and open the rest."""
        model = self._model
        if not self.active or not isinstance(model, Network):
            return
        names = [name for name, child in model.in_order().items() if [*child.parameters()]]
        shut = names[: max(0, len(names) - self.open_children(epoch))]
        until = [*self._until, *shut[-1:]]
        if until:
            every = list(model.in_order())
            model.freeze(max(until, key=every.index))
        else:
            model.unfreeze()
        for parameter in self._still:
            parameter.requires_grad_(False)

    def lift(self) -> None:
        """Leave the network as the caller gave it."""
        model = self._model
        if not self.active or not isinstance(model, Network):
            return
        if self._until:
            model.freeze(self._until[0])
        else:
            model.unfreeze()
        for parameter in self._still:
            parameter.requires_grad_(False)

    def open_children(self, epoch: int) -> int:
        """How many children, from the head backwards, learn in an epoch counted from 0."""
        past = epoch - self.config.freeze_epochs
        if past < 0:
            return 1
        step = self.config.unfreeze_epochs
        return 2 + past // step if step else 10**9
