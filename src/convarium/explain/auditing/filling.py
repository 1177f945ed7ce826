"""What stands at removed positions: the surrounding, the mean of the sample, or a blurred copy."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from convarium.errors import OptionError, did_you_mean, import_extra
from convarium.explain.imputing import imputed
from convarium.explain.removal import filled

Removal = Literal["surrounding", "mean", "blur"]
REMOVALS: tuple[str, ...] = get_args(Removal)


def check_removal(removal: str) -> None:
    """Refuse what cannot be done, before anything is computed.

    Raises:
        OptionError: an unknown word.
        MissingExtraError: scipy is not installed.
    """
    if removal not in REMOVALS:
        near = did_you_mean(str(removal), REMOVALS)
        raise OptionError(f"removal (={removal!r}) must be one of {', '.join(REMOVALS)}.{near}")
    if removal == "surrounding":
        import_extra("scipy", "measure")


def without(x: Tensor, masks: Tensor, removal: str) -> Tensor:
    """Samples without the positions of their masks.

    Args:
        x: (B, C, *S).
        masks: (B, *S) for each sample, or (*S) for all.
        removal: "surrounding" solves for positions that are the mean of their neighbours, "mean"
            takes the mean of each channel over what stays, "blur" a blurred copy of the sample.

    >>> x = torch.tensor([[[0.0, 9, 9, 3]]])
    >>> without(x, torch.tensor([False, True, True, False]), "surrounding")
    tensor([[[0., 1., 2., 3.]]])
    """
    each = masks.expand(len(x), *x.shape[2:])
    if removal == "surrounding":
        return _imputed(x, masks)
    inside = each.unsqueeze(1)
    if removal == "blur":
        return torch.where(inside, filled(x, "blur"), x)
    axes = tuple(range(2, x.ndim))
    kept = (~inside).sum(axes, keepdim=True).clamp(min=1)
    mean = torch.where(inside, 0, x).sum(axes, keepdim=True) / kept
    return torch.where(inside, mean, x)


def _imputed(x: Tensor, masks: Tensor) -> Tensor:
    """One system for all samples where all lack the same positions, else one each."""
    if masks.ndim == x.ndim - 2:
        flat = x.flatten(0, 1).double().numpy()
        return torch.from_numpy(imputed(flat, masks.numpy())).to(x.dtype).reshape(x.shape)
    done = [
        torch.from_numpy(imputed(sample.double().numpy(), mask.numpy()))
        for sample, mask in zip(x, masks, strict=True)
    ]
    return torch.stack(done).to(x.dtype)
