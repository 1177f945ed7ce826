"""Several networks in one: trained side by side, each alone, and averaged.

    training:    row i of a batch -> member (turn + i) mod M -> its own part of the head
    evaluation:  every row -> all members -> mean of their probabilities, or of their outputs

What one network learns from few samples depends much on its start; the mean over several starts
depends less. A batch costs what it costs one network, and each member sees a share of it, other
rows in every epoch: M times the epochs give every member as many passes as M runs would. Rows are
dealt out like cards: `turn` counts those of earlier batches, so that a batch of fewer rows than
members leaves none behind for ever.

References:
    Ismail Fawaz et al. 2020, "InceptionTime: finding AlexNet for time series classification",
    arXiv:1909.04939, section 3 (five networks from different starts).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from convarium.layers import MaskedBlocks
from convarium.models.sequence import SequenceClassifier

Average = Literal["probabilities", "outputs"]


class Ensemble(SequenceClassifier):
    """A classifier whose stages are `Members`, with the options `members` and `average`.

    Shape:
        (B, C, T), mask (B, T) -> (B, num_classes): of several members the logarithms of the mean
        probabilities, or the mean outputs
    """

    @property
    def turns(self) -> int:
        """How many members take turns at the rows of a training."""
        return int(self.config["members"]) if self.num_classes else 1

    def forward(self, x: Tensor, mask: Tensor | None = None, *, turn: int = 0) -> Tensor:
        """Logits; in training, those of row i are of member (turn + i) mod `members`.

        Args:
            x: the series.
            mask: which steps are real.
            turn: rows of this training so far, which `train.fit` counts. In a loop of your own with
                batches of fewer rows than members, only counting gives each its turn.
        """
        members = self.turns
        if members == 1:
            return super().forward(x, mask)
        if self.training:
            return self._in_turns(x, mask, members, turn)
        vectors = self.embed(x, mask)
        vectors = vectors.reshape(vectors.shape[0], members, -1)  # a graph's sizes are symbols
        own = torch.eye(members, device=vectors.device, dtype=vectors.dtype)
        alone = (own.unsqueeze(2) * vectors.unsqueeze(1)).flatten(2)  # (B, M, M F)
        logits = self.head(alone.flatten(0, 1)).reshape(vectors.shape[0], members, -1)
        if self.config["average"] == "outputs" or self.num_classes == 1:
            mean: Tensor = logits.mean(1)
            return mean
        found: Tensor = logits.log_softmax(2).logsumexp(1) - math.log(members)
        return found

    def _in_turns(self, x: Tensor, mask: Tensor | None, members: int, turn: int) -> Tensor:
        """The logits of each row, of the member whose turn it is."""
        x, mask = self.real(x, mask)
        found = []
        for i in range(min(members, len(x))):
            m = (turn + i) % members
            rows, left = x[i::members], None if mask is None else mask[i::members]
            for stage in self.stages:
                rows = self.get_submodule(stage.name).alone(m, rows, left)  # type: ignore[operator]
            vector = self.neck(rows, left)
            width = vector.shape[1]
            found.append(self.head(pad(vector, (m * width, (members - 1 - m) * width))))
        order = torch.arange(len(x), device=x.device)
        places = torch.cat([order[i::members] for i in range(len(found))])
        return torch.cat(found)[places.argsort()]


class Members(MaskedBlocks):
    """Blocks side by side, one a member, each on the same map or on its own channels of it."""

    def __init__(self, *blocks: nn.Module, shared: bool) -> None:
        super().__init__(*blocks)
        self.shared = shared

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (B, C, T) or (B, M C, T) to (B, M C', T)."""
        if len(self) == 1:
            return self.alone(0, x, mask)
        given = [x] * len(self) if self.shared else x.chunk(len(self), 1)
        return torch.cat([self.alone(m, part, mask) for m, part in enumerate(given)], 1)

    def alone(self, member: int, x: Tensor, mask: Tensor | None) -> Tensor:
        """What one member makes of its own map."""
        block = self[member]
        return self.run(block, x) if mask is None else self.run(block, x, mask)
