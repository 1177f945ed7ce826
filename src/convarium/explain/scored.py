"""What the methods at the input share: the score of changed inputs, its gradient, their result."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor

from convarium.errors import OptionError
from convarium.explain.attribution import Attribution, describe
from convarium.explain.looking import Look
from convarium.explain.reading import gradient_of
from convarium.explain.targets import Goal, Target, goal


class Scored:
    """The score as a function of the first input, at which it is differentiated once.

    Args:
        look: the network, and what it is given.
        target: what is scored.
        layer: None; these methods read none.
        method: name of the function that asks.
        guide: the first pass runs inside of it.

    Attributes:
        connected: whether the score depends on the input, as far as the gradient knows.
        gradient: (B, C, *S), zero where it is not connected or was not asked for.
    """

    def __init__(
        self,
        look: Look,
        target: Target,
        layer: object,
        method: str,
        guide: contextlib.AbstractContextManager[Any] | None = None,
    ) -> None:
        if layer is not None:
            raise OptionError(f"layer (={layer!r}): {method} explains the input; leave it out.")
        self.look, self.method = look, method
        differentiated = torch.is_grad_enabled()
        clean = look.inputs[0]
        if differentiated and not clean.is_floating_point():
            raise OptionError(
                f"x holds token ids, which {method} cannot differentiate; use occlusion, or "
                "grad_cam with the layer behind the embedding."
            )
        with guide or contextlib.nullcontext():
            leaf = clean.detach().requires_grad_(differentiated)
            output = look.several(leaf.clone())
            self.goal: Goal = goal(output, target, look.samples)
            score = self.goal(output)
            gradient = gradient_of(score, leaf) if differentiated else None
        self.score = score.detach()
        self.connected = gradient is not None
        found = torch.zeros_like(leaf) if gradient is None else gradient
        self.gradient = found if found.dtype == torch.float64 else found.float()

    def scores(self, rows: Tensor) -> Tensor:
        """(n B,) for n versions of the input, which have the type of its numbers."""
        given = rows.to(self.look.inputs[0].dtype)
        return self.goal(self.look.several(given.clone()))

    def gradients(self, rows: Tensor) -> Tensor:
        """(n B, C, *S) of the scores."""
        leaf = rows.detach().requires_grad_()
        gradient = gradient_of(self.scores(leaf), leaf)
        found = torch.zeros_like(leaf) if gradient is None else gradient
        return found.to(self.gradient.dtype)

    def result(self, found: Tensor, note: str = "", *, whole: bool = False) -> Attribution:
        """The result of numbers (B, C, *S) at the input; of whole positions (B, *S)."""
        look, channels = self.look, None if whole else found.float()
        values = found.float() if whole else found.sum(1).float()
        moves = found if whole or self.connected else None
        return Attribution(
            values=values,
            layer="input",
            target=self.goal.classes,
            logit=self.score.float(),
            status=describe(values, moves, look.size, self.score),
            input_size=look.size,
            method=self.method,
            note=" ".join(filter(None, (look.note, note))),
            channels=channels,
        )
