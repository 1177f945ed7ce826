"""From a target (nothing, a class, one per sample, a callable) to one score per sample."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from convarium.errors import OptionError, ShapeError

Target = int | Sequence[int] | Tensor | Callable[[Any], Tensor] | None


def score(output: Any, target: Target, samples: int) -> tuple[Tensor, tuple[int, ...] | None]:
    """The score to explain, (B,), and the classes it stands for (None for a callable).

    Raises:
        OptionError: a class out of range, a wrong number of targets, or no target at all.
        ShapeError: the output is not (B, classes), or the callable's result not (B,).
    """
    if callable(target):
        return _checked(target(output), samples), None
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != samples:
        raise ShapeError(
            f"The model returns {_description(output)}, not logits of shape ({samples}, classes); "
            "pass target as a callable from the output to one score per sample."
        )
    classes = _classes(output, target)
    index = torch.tensor(classes, device=output.device)
    return output.gather(1, index.unsqueeze(1)).squeeze(1), classes


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
