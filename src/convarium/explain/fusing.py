"""Maps of several layers as one: the detail of early layers, the meaning of late ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from convarium.errors import OptionError
from convarium.explain.attribution import SILENT, Attribution, at_input, describe


def fuse(
    attributions: Iterable[Attribution], size: Sequence[int] | int | None = None
) -> Attribution:
    """The mean of several heatmaps of the same batch, such as of several layers.

    Each map is brought to one size linearly and divided by its largest absolute value, sample by
    sample, so that each has the same say. Maps whose status says that they mean nothing are left
    out, sample by sample.

    Args:
        attributions: of the same samples and targets.
        size: spatial size of the result; None: the input's.

    Raises:
        OptionError: there is none, or they belong to different samples or targets.

    >>> from convarium.explain import layer_cam
    >>> network = torch.nn.Sequential(
    ...     torch.nn.Conv2d(1, 4, 3), torch.nn.Conv2d(4, 4, 3, stride=2),
    ...     torch.nn.Flatten(), torch.nn.Linear(16, 2),
    ... )
    >>> x = torch.ones(1, 1, 8, 8)
    >>> fuse([layer_cam(network, x, layer=layer) for layer in ("0", "1")]).layer
    '0 + 1'

    References:
        Jiang et al. (2021), "LayerCAM", IEEE Transactions on Image Processing 30, joins layers by
        their maximum.
    """
    heats = _listed(attributions)
    first = heats[0]
    for other in heats[1:]:
        same = (other.target, other.input_size) == (first.target, first.input_size)
        if not same or len(other.values) != len(first.values):
            raise OptionError("attributions must belong to the same samples, targets and inputs.")
    sides = first.input_size if size is None else _sides(size, first)
    total = torch.zeros(len(first.values), *sides, device=first.values.device)
    count = torch.zeros(len(first.values), device=total.device)
    for heat in heats:
        speaks = torch.tensor([word not in SILENT for word in heat.status], device=total.device)
        maps = at_input(heat, sides).to(total.device).nan_to_num()
        highest = maps.abs().flatten(1).amax(1)
        share = torch.where(speaks & (highest > 0), 1 / highest, 0)
        total += maps * share.reshape(-1, *[1] * len(sides))
        count += speaks
    values = total / count.clamp(min=1).reshape(-1, *[1] * len(sides))
    return Attribution(
        values=values,
        layer=" + ".join(heat.layer for heat in heats),
        target=first.target,
        logit=first.logit,
        status=_status(heats, values),
        input_size=first.input_size,
        method="fuse",
        note=" ".join(dict.fromkeys(heat.note for heat in heats if heat.note)),
    )


def _listed(attributions: Any) -> list[Attribution]:
    """At least one heatmap."""
    iterable = isinstance(attributions, Iterable)
    heats = list(attributions) if iterable else []
    if heats and all(isinstance(heat, Attribution) for heat in heats):
        return heats
    kind = "[]" if iterable and not heats else type((heats or [attributions])[0]).__name__
    raise OptionError(f"attributions (={kind}) must be a list of at least one Attribution.")


def _sides(size: Sequence[int] | int, heat: Attribution) -> tuple[int, ...]:
    return tuple(heat.display(size).shape[1:])


def _status(attributions: Sequence[Attribution], values: torch.Tensor) -> tuple[str, ...]:
    """Of the mean; where no map says anything, that of the first."""
    words = describe(values, values, (2,), attributions[0].logit)
    return tuple(
        attributions[0].status[row]
        if all(heat.status[row] in SILENT for heat in attributions)
        else words[row]
        for row in range(len(words))
    )
