"""From a target (nothing, a class, one per sample, a callable) to one score per sample."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from convarium.errors import OptionError, ShapeError
from convarium.explain.faults import WITHOUT_NUMBERS

Target = int | Sequence[int] | Tensor | Callable[[Any], Tensor] | None


@dataclass(frozen=True)
class Goal:
    """A target that was resolved once, for a batch, and can be scored again and again.

    Attributes:
        samples: of the batch, B.
        classes: one per sample; None for a callable.
        call: from an output to scores; None for classes.
    """

    samples: int
    classes: tuple[int, ...] | None
    call: Callable[[Any], Tensor] | None = None

    def __call__(self, output: Any) -> Tensor:
        """The scores of an output of one batch (B,), or of n batches one after another (n B,)."""
        if self.call is not None:
            blocks = _blocks(output, self.samples)
            return torch.cat([_checked(self.call(block), self.samples) for block in blocks])
        index = torch.tensor(self.classes, device=output.device)
        index = index.repeat(len(output) // self.samples)
        scores: Tensor = output.gather(1, index.unsqueeze(1)).squeeze(1)
        return scores


def goal(output: Any, target: Target, samples: int) -> Goal:
    """What to score, from the model's first output.

    Raises:
        OptionError: a class out of range, a wrong number of targets, no target at all, or an output
            without numbers.
        ShapeError: the output is not (B, classes).
    """
    if any(isinstance(leaf, Tensor) and leaf.is_meta for leaf in tree_flatten(output)[0]):
        raise OptionError(WITHOUT_NUMBERS)
    if callable(target):
        return Goal(samples, None, target)
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != samples:
        raise ShapeError(
            f"The model returns {_description(output)}, not logits of shape ({samples}, classes); "
            "pass target as a callable from the output to one score per sample, or forward as a "
            "callable that takes the model's place and returns logits."
        )
    return Goal(samples, _classes(output, target))


def _blocks(output: Any, samples: int) -> list[Any]:
    """An output of n batches as n outputs, whatever its tensors are nested in."""
    leaves, layout = tree_flatten(output)
    rows = next((len(x) for x in leaves if isinstance(x, Tensor) and x.ndim), samples)
    if rows == samples:
        return [output]
    split = [_split(leaf, rows, samples) for leaf in leaves]
    return [tree_unflatten(block, layout) for block in zip(*split, strict=True)]


def _split(leaf: Any, rows: int, samples: int) -> Sequence[Any]:
    batched = isinstance(leaf, Tensor) and leaf.ndim > 0 and len(leaf) == rows
    return leaf.split(samples) if batched else [leaf] * (rows // samples)


def _checked(scores: Any, samples: int) -> Tensor:
    if isinstance(scores, Tensor) and scores.shape == (samples,) and scores.is_floating_point():
        return scores
    raise ShapeError(
        f"target (a callable) returns {_description(scores)}; "
        f"it must return one floating score per sample, shape ({samples},)."
    )


def _classes(logits: Tensor, target: Any) -> tuple[int, ...]:
    samples, count = logits.shape
    if target is None:
        return tuple(logits.detach().argmax(1).tolist())
    given = target.tolist() if hasattr(target, "tolist") else target
    try:
        chosen = [_index(item) for item in (given if isinstance(given, Sequence) else [given])]
    except TypeError as error:
        raise OptionError(
            f"target (={target!r}) must be None, a class index, one index per sample, "
            "or a callable."
        ) from error
    if not isinstance(given, Sequence):
        chosen = chosen * samples
    if len(chosen) != samples:
        raise OptionError(f"target has {len(chosen)} classes for {samples} samples.")
    wrong = [item for item in chosen if not 0 <= item < count]
    if wrong:
        raise OptionError(f"target (={wrong[0]}) must be from 0 to {count - 1}.")
    return tuple(chosen)


def _index(item: Any) -> int:
    """A whole number of any library as an `int`; truth values are not numbers here."""
    if isinstance(item, bool) or (isinstance(item, Tensor) and item.dtype == torch.bool):
        raise TypeError(f"{item!r} is a truth value.")
    return operator.index(item)


def _description(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and {value.dtype}"
    return f"a {type(value).__name__}"
