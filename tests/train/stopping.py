"""A run that is stopped in the middle and goes on, beside one that is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from convarium import data, train
from convarium.train.config import TrainConfig


class StopError(Exception):
    """What a run is stopped by."""


class Stopping:
    """Stops a run at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_start(self, **_) -> None:
        pass

    def on_step(self, step: int, _) -> None:
        if step == self.step:
            raise StopError

    def on_epoch(self, _) -> None:
        pass


def assert_goes_on_with_the_same_bits(
    make: Callable[[], torch.nn.Module],
    parts: data.Parts,
    config: TrainConfig,
    steps: data.Preprocessing,
    folder: Path,
    *,
    at: int,
) -> None:
    """Weights of a run that was stopped at a step equal those of one that was not."""
    whole, begun, again = make(), make(), make()
    train.fit(whole, parts, config, preprocessing=steps, out=folder / "whole")
    rest = {"preprocessing": steps, "out": folder / "stopped"}
    with pytest.raises(StopError):
        train.fit(begun, parts, config, observers=[Stopping(at)], **rest)
    train.fit(again, parts, config, resume=True, **rest)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
