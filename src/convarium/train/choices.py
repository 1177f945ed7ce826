"""What timing decides: which arithmetic trains fastest here. Decided once, recorded, and reused.

This file does not import torch, so that `convarium train --help` stays quick.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from convarium.train.config import TrainConfig

# What "auto" means where nothing is measured.
DEFAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {"precision": "fp32", "layout": "channels_last", "compile": "off"}
)


def choices_of(config: TrainConfig) -> dict[str, str]:
    """The options that timing may decide, as a configuration has them.

    >>> choices_of(TrainConfig(precision="bf16"))
    {'precision': 'bf16', 'layout': 'auto', 'compile': 'auto'}
    """
    return {name: getattr(config, name) for name in DEFAULTS}


def is_open(config: TrainConfig) -> bool:
    """Whether something is left to decide."""
    return "auto" in choices_of(config).values()


def settled(config: TrainConfig, decided: Mapping[str, Any] = DEFAULTS) -> TrainConfig:
    """The configuration with what was decided in the place of each "auto".

    Args:
        config: how to train.
        decided: options by name, others among them; what is missing or "auto" has its default.

    >>> choices_of(settled(TrainConfig(layout="contiguous"), {"precision": "bf16"}))
    {'precision': 'bf16', 'layout': 'contiguous', 'compile': 'off'}
    """
    fills: dict[str, Any] = {
        name: default if decided.get(name, "auto") == "auto" else decided[name]
        for name, default in DEFAULTS.items()
        if getattr(config, name) == "auto"
    }
    return dataclasses.replace(config, **fills)
