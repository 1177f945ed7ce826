"""From a series to the input of a network, as steps that a card can carry.

read_series -> resample -> fill -> normalize -> pad
float32 (C, T)   at the card's rate   without gaps   mean 0, std 1   (B, C, T) and a mask (B, T)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convarium.data.normalising import check_moments
from convarium.data.preprocessing import Preprocessing
from convarium.data.series.filling import filled
from convarium.data.series.series import Floats, Series, check_readable
from convarium.data.series.sound import resampled
from convarium.errors import DataError
from convarium.options import check_options, option

_MOST = 2**24  # numbers of a batch in evaluation
_PAD = {"op": "pad", "to": "longest", "padding": 0, "mask": True}


@dataclass(frozen=True, kw_only=True)
class SeriesOptions:
    """How series are prepared.

    Args:
        normalise: "training" (mean and deviation of each channel over the training part),
            "series" (over the series itself, so that its level and size are lost), or "none".
        missing: "fill" (straight lines between the values that are there), or "mark" (besides, a
            channel for each channel that is 1 where a value was missing).

    Raises:
        OptionError: another value.
    """

    normalise: str = option(
        "training",
        "mean 0 and deviation 1 of each channel: over the training part, or of each series",
        choices=("training", "series", "none"),
    )
    missing: str = option(
        "fill",
        "values that are missing: filled in by lines, or also marked in channels of their own",
        choices=("fill", "mark"),
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class SeriesPreprocessing(Preprocessing):
    """The steps from a series to a network's input, and the class names.

    A batch is padded with zeros to its longest series, and a mask says what is real. Series may be
    longer than those of the training part.

    Args:
        input_shape: channels of the network's input, and time steps of the longest training
            series, `(C, T)`; with marks, C is twice the channels of a series.
        mean: of each channel, where the training part normalises; else empty.
        std: likewise.
        classes: class names, in the order of the class numbers.
        options: how series are prepared.
        channels: names of the channels of a series; none where they have none.
        rate: steps a second, to which series that say theirs are resampled; None leaves them.

    Raises:
        DataError: another shape, or numbers that do not fit it.
    """

    input_shape: tuple[int, ...] = (1, 1)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()
    resize: None = field(default=None, init=False, repr=False)
    interpolation: Literal["bilinear"] = field(default="bilinear", init=False, repr=False)
    options: SeriesOptions = field(default_factory=SeriesOptions)
    channels: tuple[str, ...] = ()
    rate: float | None = None

    kind: ClassVar[str] = "series"
    input_kind: ClassVar[str] = "maps"
    pixel_type: ClassVar[torch.dtype] = torch.float32

    def __post_init__(self) -> None:
        if len(self.input_shape) != 2 or min(self.input_shape) < 1:
            raise DataError(f"input_shape (={self.input_shape}) must be (C, T), each 1 or more.")
        if self.options.normalise == "training":
            check_moments(self.own_channels, self.mean, self.std)

    @property
    def own_channels(self) -> int:
        """Channels of a series, without marks."""
        return self.input_shape[0] - self.marks

    @property
    def marks(self) -> int:
        """Channels that mark missing values, behind those of the series."""
        return self.input_shape[0] // 2 if self.options.missing == "mark" else 0

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The ordered steps as they stand in the card."""
        read = {"op": "read_series", "channels": self.own_channels, "names": list(self.channels)}
        found: list[dict[str, Any]] = [read]
        if self.rate is not None:
            found.append({"op": "resample", "rate": self.rate})
        found.append({"op": "fill", "missing": self.options.missing, "between": "linear"})
        moments = {"mean": list(self.mean), "std": list(self.std)} if self.mean else {}
        found.append({"op": "normalize", "by": self.options.normalise, **moments})
        return [*found, dict(_PAD)]

    def apply(self, image: Series | NDArray[Any]) -> Tensor:
        """The prepared series, not yet padded.

        Shape:
            image: a series `(C, T)`. Returns: float32 `(C, T)`, with marks `(2 C, T)`; T is another
            one where the series is resampled.

        Raises:
            DataError: no series, other channels, or no value; the text is the reason alone.
        """
        if not isinstance(image, Series):
            raise DataError("no series, where the network takes series")
        if image.channels != self.own_channels:
            raise DataError(
                f"it has {image.channels} channels, and the network takes {self.own_channels}"
            )
        check_readable(image)
        gaps = np.isnan(image.values)
        whole = Series(filled(image.values), image.rate)
        absent: NDArray[np.bool_] = np.asarray(gaps.all(axis=1))
        if absent.any():
            whole = Series(np.where(absent[:, None], np.float32(0), whole.values), whole.rate)
        values = self._normalised(resampled(whole, self.rate).values)
        values[absent] = 0
        if self.marks:
            values = np.concatenate([values, _marked(gaps, values.shape[1])])
        return torch.from_numpy(np.ascontiguousarray(values, np.float32))

    def _normalised(self, values: Floats) -> NDArray[np.float64]:
        exact = values.astype(np.float64)
        if self.options.normalise == "none":
            return exact
        if self.options.normalise == "training":
            mean, std = (np.array(each)[:, None] for each in (self.mean, self.std))
        else:
            mean, std = exact.mean(1, keepdims=True), exact.std(1, keepdims=True)
            std[std <= 1e-12 * np.abs(mean)] = 1
            std[std == 0] = 1
        found: NDArray[np.float64] = (exact - mean) / std
        return found

    def finish(self, pixels: Tensor) -> Tensor:
        """The numbers as they are."""
        return pixels

    @property
    def most_at_once(self) -> int:
        """Series of a batch in evaluation, at most."""
        return max(1, _MOST // (self.input_shape[0] * self.input_shape[1]))

    @property
    def network_options(self) -> dict[str, int]:
        """Channels, and one axis."""
        return {"in_channels": self.input_shape[0], "spatial_dims": 1}

    def example(self, count: int = 1) -> Tensor:
        """Series of the largest length of the training part, all zeros, `(count, C, T)`."""
        return torch.zeros(count, *self.input_shape)

    def together(self, samples: Sequence[Tensor]) -> Tensor:
        """Several series in one tensor, cut to the shortest, so that no mask is needed."""
        shortest = min(each.shape[-1] for each in samples)
        return torch.stack([each[:, :shortest] for each in samples])

    def padded(self, samples: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Several series with zeros behind them, and the mask; None where all are equally long.

        Shape:
            `(C, T_i)` each -> `(B, C, T)`, bool `(B, T)`
        """
        lengths = torch.tensor([each.shape[1] for each in samples])
        if not len(samples) or bool((lengths == lengths[0]).all()):
            empty = torch.empty(0, *self.input_shape)
            return (torch.stack([*samples]) if len(samples) else empty), None
        rows = nn.utils.rnn.pad_sequence([each.T for each in samples], batch_first=True)
        mask = torch.arange(rows.shape[1]) < lengths.unsqueeze(1)
        return rows.transpose(1, 2).contiguous(), mask

    def same_pixels(self, other: Preprocessing) -> bool:
        """Whether `apply` of the other gives the same numbers; classes may differ."""
        if not isinstance(other, SeriesPreprocessing):
            return False
        return dataclasses.replace(self, classes=()) == dataclasses.replace(other, classes=())

    @classmethod
    def from_steps(
        cls, steps: Mapping[str, Any], shape: tuple[int, ...], classes: tuple[str, ...]
    ) -> SeriesPreprocessing:
        """The preprocessing of a card's entries, as `Preprocessing.from_steps` has them."""
        moments = steps["normalize"]
        return cls(
            shape,
            tuple(map(float, moments.get("mean", ()))),
            tuple(map(float, moments.get("std", ()))),
            classes=classes,
            options=SeriesOptions(normalise=moments["by"], missing=steps["fill"]["missing"]),
            channels=tuple(steps["read_series"]["names"]),
            rate=steps["resample"]["rate"] if "resample" in steps else None,
        )


def _marked(gaps: NDArray[np.bool_], length: int) -> NDArray[np.float64]:
    """1 where a value was missing, at another length too."""
    nearest = (np.arange(length) * gaps.shape[1] / length).astype(np.int64)
    return gaps[:, nearest].astype(np.float64)
