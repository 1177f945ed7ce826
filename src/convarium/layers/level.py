"""How large the averages of positions are, and how long they last: what is fitted beside a map.

    c(s, t) = size (1 + exp(-|s - t| / horizon)) / 2 (1 + season a(s) a(t))

Half of an average lasts for ever and half is forgotten, as what is not known of a climate drifts
and as ways of measuring change. a are the channels that all positions share, such as a season.

References:
    Rasmussen, Williams 2006, "Gaussian processes for machine learning", sections 2.7 (explicit
    basis functions beside a process) and 4.2.1 (the exponential covariance).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Level(NamedTuple):
    """The covariance of what positions give on average, between times.

    Args:
        size: its variance, in that of the noise; 1 / 3 is as much as three samples of zeros.
        horizon: times after which the half that is forgotten is down to 1 / e; None is never.
        season: of the variance, how much again there is of the channels that all positions share.

    Example:
        >>> Level(2.0, 12.0).covariance(torch.tensor([0.0, 12.0]), torch.zeros(2, 0))
        tensor([[2.0000, 1.3679],
                [1.3679, 2.0000]])
    """

    size: float
    horizon: float | None = None
    season: float = 0.5

    def covariance(self, times: Tensor, shared: Tensor) -> Tensor:
        """Between times (B,), whose shared channels are (B, A): (B, B)."""
        alike = shared @ shared.T * (self.season / max(1, shared.shape[1]))
        return self._lasting((times[:, None] - times).abs()) * (1 + alike)

    def expected(self, times: Tensor, shared: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
        """What to expect later: half a horizon after the last time.

        Args:
            times: (B,), rising.
            shared: the shared channels, (B, A).
            left: the inverse covariance of all that is not mapped times what is left, (P, B, C).

        Returns:
            The average (P, 1, C), and the slopes for the shared channels (P, A, C).
        """
        lead = 0.0 if self.horizon is None else self.horizon / 2
        known = self._lasting(times[-1] + lead - times)
        slopes = (shared.T * known) * (self.season / max(1, shared.shape[1]))
        return known.view(1, -1) @ left, slopes @ left

    def _lasting(self, apart: Tensor) -> Tensor:
        """The covariance of what is so far apart, without the season."""
        rest = torch.ones_like(apart)
        if self.horizon is not None:
            rest = (1 + torch.exp(-apart / self.horizon)) / 2
        return self.size * rest
