"""Temperature scaling: one number that makes a network's probabilities honest.

outputs / T --softmax or sigmoid--> probabilities

T > 0 minimises the negative log likelihood of validation samples, which is convex in 1/T. It does
not change the order of the outputs, so no label changes.

References:
    Guo et al. (2017), "On Calibration of Modern Neural Networks", arXiv:1706.04599, equation 9.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from convarium.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor

_COLDEST, _HOTTEST = 0.01, 100.0
_STEPS = 60
_NEAR = 1e-9
_ROWS = 4096


@dataclass(frozen=True)
class Calibration:
    """What temperature scaling did on the samples that it was fitted to.

    Args:
        temperature: what outputs are divided by; 1 where nothing can be fitted.
        ece_before: expected calibration error of the outputs as they are.
        ece_after: likewise, of the outputs divided by the temperature.
        n: number of samples.
    """

    temperature: float
    ece_before: float
    ece_after: float
    n: int

    def to_card(self) -> dict[str, Any]:
        """The entry `calibration` of a card."""
        return asdict(self)


def temperature_of(card: Mapping[str, Any]) -> float:
    """The temperature that a card carries; 1 where it has none.

    Raises:
        OptionError: it is no number above 0.

    >>> temperature_of({}), temperature_of({"calibration": {"temperature": 1.5}})
    (1.0, 1.5)
    """
    entry = card.get("calibration", {})
    value = entry.get("temperature", 1.0) if isinstance(entry, Mapping) else entry
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise OptionError(f"The card's temperature (={value!r}) must be a number above 0.")
    return float(value)


def softmax_temperature(outputs: Tensor, target: Tensor) -> float:
    """The temperature with the smallest cross-entropy, for one class a sample.

    With b = 1/T: slope(b) = sum_i(sum_c p_c z_c - z_y), curvature(b) = sum_i(sum_c p_c z_c^2 -
    (sum_c p_c z_c)^2). Where every sample is named rightly the cross-entropy has no minimum (it
    falls with T towards 0), and where the outputs say nothing it grows with them: T stays 1 in the
    first case and at most 100 in the second.

    Shape:
        outputs: `(N, K)`, before the softmax. target: int64 `(N,)`.
    """
    z = outputs - outputs.gather(1, target[:, None])
    if len(z) == 0 or bool((z <= 0).all()):
        return 1.0

    def slopes(part: Tensor, inverse: float) -> tuple[float, float]:
        exact = part.double()
        p = (inverse * exact).softmax(1)
        mean = (p * exact).sum(1)
        variance = (p * exact * exact).sum(1) - mean * mean
        return float(mean.sum()), float(variance.sum())

    return 1 / _root(partial(_summed, slopes, _blocks(z)))


def sigmoid_temperature(outputs: Tensor, target: Tensor) -> float:
    """The temperature with the smallest binary cross-entropy, over all labels of all samples.

    With signs s = 2 t - 1 and b = 1/T: slope(b) = -sum(s z (1 - q)), q = sigmoid(b s z); curvature
    sum(z^2 q (1 - q)). T stays 1 where every label is decided rightly.

    Shape:
        outputs: `(N, K)`, before the sigmoid. target: `(N, K)`, 0 or 1.
    """
    margin = outputs * (2 * target - 1)
    if margin.numel() == 0 or bool((margin >= 0).all()):
        return 1.0

    def slopes(part: Tensor, inverse: float) -> tuple[float, float]:
        exact = part.double()
        wrong = (-inverse * exact).sigmoid()
        return float((-exact * wrong).sum()), float((exact**2 * wrong * (1 - wrong)).sum())

    return 1 / _root(partial(_summed, slopes, _blocks(margin)))


def _blocks(rows: Tensor) -> list[Tensor]:
    return [rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS)]


def _summed(
    slopes: Callable[[Tensor, float], tuple[float, float]], parts: Sequence[Tensor], inverse: float
) -> tuple[float, float]:
    """Slope and curvature over all parts, a part at a time, so that little is held in doubles."""
    found = [slopes(part, inverse) for part in parts]
    return sum(slope for slope, _ in found), sum(curvature for _, curvature in found)


def _root(slopes: Callable[[float], tuple[float, float]]) -> float:
    """Where a rising slope is zero, between 1/100 and 100: Newton's steps inside a bracket."""
    low, high = 1 / _HOTTEST, 1 / _COLDEST
    if slopes(low)[0] >= 0:
        return low
    if slopes(high)[0] <= 0:
        return high
    place = 1.0
    for _ in range(_STEPS):
        slope, curvature = slopes(place)
        low, high = (low, place) if slope > 0 else (place, high)
        step = place - slope / curvature if curvature > 0 else low
        step = step if low < step < high else math.sqrt(low * high)
        if abs(step - place) <= _NEAR * place:
            return step
        place = step
    return place
