"""Mixup and CutMix: each sample is mixed with its neighbour in the batch.

The order of a training batch is a random permutation, so a neighbour is a random partner. The
partner of place i is i XOR 1; the last place of an odd batch keeps to itself, with share 1. The
share and the box are drawn once for a global batch, from (seed, "mix", epoch, step): whoever holds
a slice with even bounds can mix it alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from convarium import seeds
from convarium.data.batch import Mix
from convarium.options import check_options, option


@dataclass(frozen=True)
class MixDraw:
    """What is mixed in one global batch.

    Args:
        share: what a sample keeps of itself, in [0, 1].
        box: of CutMix, the partner's part along each axis: (start, stop) pairs; None for mixup.
    """

    share: float
    box: tuple[tuple[int, int], ...] | None


@dataclass(frozen=True, kw_only=True)
class Mixtures:
    """Whether samples of a batch are mixed with one another; nothing is unless it is set.

    Args:
        mixup: alpha of the Beta distribution that shares are drawn from.
        cutmix: likewise; with both, each batch takes one of them with probability 1/2.

    Raises:
        OptionError: an alpha that is not above 0.
    """

    mixup: float | None = option(None, above=0)
    cutmix: float | None = option(None, above=0)

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def mixes(self) -> bool:
        """Whether samples of a batch are mixed with one another."""
        return self.mixup is not None or self.cutmix is not None

    def draw_mix(
        self, sides: tuple[int, ...], *, seed: int, epoch: int, step: int
    ) -> MixDraw | None:
        """What is mixed in a global batch; None where nothing is."""
        if not self.mixes:
            return None
        return draw_mix(self.mixup, self.cutmix, sides, seed=seed, epoch=epoch, step=step)

    def mixture_lines(self) -> list[str]:
        """What is mixed, in words."""
        named = {"mixup": self.mixup, "CutMix": self.cutmix}
        beta = "share from Beta({0:g},\N{NO-BREAK SPACE}{0:g})"
        return [f"{name}, {beta.format(alpha)}" for name, alpha in named.items() if alpha]


def draw_mix(
    mixup: float | None,
    cutmix: float | None,
    sides: tuple[int, ...],
    *,
    seed: int,
    epoch: int,
    step: int,
) -> MixDraw:
    """The share and the box of one global batch.

    With both set, each batch takes one of them with probability 1/2. CutMix takes a box of
    sqrt(1 - share) of each side (of d axes the d-th root) around a point drawn evenly, cut off at
    the edges; its share is then what is left outside the box.

    Args:
        mixup: alpha of Beta(alpha, alpha), or None.
        cutmix: likewise; one of them is set.
        sides: lengths of the input's axes.
        seed: of the run.
        epoch: number of the epoch.
        step: number of the batch in the epoch.
    """
    generator = np.random.Generator(np.random.PCG64(seeds.derive(seed, "mix", epoch, step)))
    coin = generator.random()
    if mixup is not None and (cutmix is None or coin < 0.5):
        return MixDraw(float(generator.beta(mixup, mixup)), None)
    alpha = 1.0 if cutmix is None else cutmix
    share = float(generator.beta(alpha, alpha))
    part = (1 - share) ** (1 / len(sides))
    box = []
    for side in sides:
        cut, middle = int(side * part), int(generator.integers(side))
        box.append((max(0, middle - cut // 2), min(side, middle - cut // 2 + cut)))
    inside = math.prod(stop - start for start, stop in box)
    return MixDraw(1 - inside / math.prod(sides), tuple(box))


def mix(inputs: Tensor, target: Tensor, draw: MixDraw) -> tuple[Tensor, Mix]:
    """The mixed inputs, and the partners' targets with the shares; `inputs` stay as they were.

    Mixup: s x + (1 - s) x'. CutMix: x outside the box, x' inside.

    Args:
        inputs: float `(n, C, *S)`, from an even place of the global batch on.
        target: `(n, ...)`, on the same device.
        draw: of `draw_mix`.

    References:
        Zhang et al. (2018), "mixup", arXiv:1710.09412, equation 1; Yun et al. (2019), "CutMix",
        arXiv:1905.04899, equations 1 and 2.
    """
    device = inputs.device
    partner = torch.arange(len(inputs), device=device).bitwise_xor_(1)
    share = torch.full((len(inputs),), draw.share, dtype=torch.float32, device=device)
    if len(inputs) % 2:
        partner[-1], share[-1] = len(inputs) - 1, 1.0
    if draw.box is None:
        own = share.view(-1, *[1] * (inputs.ndim - 1))
        mixed = inputs * own + inputs.index_select(0, partner) * (1 - own)
    else:
        box = [slice(start, stop) for start, stop in draw.box]
        mixed = inputs.clone()
        mixed[:, :, *box] = inputs[:, :, *box].index_select(0, partner)
    return mixed, Mix(target.index_select(0, partner), share)
