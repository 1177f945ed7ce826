"""Write a network as a program of `torch.export`, which torch alone runs, without its source."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convarium.deploy.onnx_file import card_text, example_of, first_cause, free_sizes, silent
from convarium.errors import ConvariumError

#: Name of the card among the program's extra files.
CARD_FILE = "convarium.card.json"


def write_program(
    network: nn.Module,
    path: Path,
    samples: Tensor,
    *,
    opset: int,
    card: Mapping[str, Any] | None,
    free: Sequence[int],
) -> None:
    """Write `network`, which is in eval mode, to `path`; `opset` is ONNX's and has no meaning here.

    Raises:
        OptionError: the card cannot be written.
        ConvariumError: torch cannot follow the network.
    """
    extra = {} if card is None else {CARD_FILE: card_text(card)}
    example = example_of(samples)
    with silent(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(network, (example,), dynamic_shapes=(free_sizes(free),))
        except Exception as error:
            raise ConvariumError(
                f"{type(network).__name__} cannot be written as a program: {first_cause(error)}"
            ) from error
        torch.export.save(program, str(path), extra_files=extra)
