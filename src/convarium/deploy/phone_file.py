"""Write a network as a file of ExecuTorch for phones, its layers for XNNPACK; one sample a pass."""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from convarium.deploy.onnx_file import card_text, first_cause, silent
from convarium.errors import ConvariumError, OptionError, import_extra

EXTRA: Final = "executorch"


def write_phone(
    network: nn.Module,
    path: Path,
    samples: Tensor,
    *,
    opset: int,
    card: Mapping[str, Any] | None,
    free: Sequence[int],
) -> None:
    """Write `network`, which is in eval mode, to `path`; `opset` is ONNX's and has no meaning here.

    The file has no place for the card, which stands in the manifest.

    Raises:
        OptionError: the card cannot be written, or the size is to be free.
        MissingExtraError: ExecuTorch is not installed.
        ConvariumError: torch cannot follow the network, or ExecuTorch lacks an operation.
    """
    if free:
        raise OptionError("A file of ExecuTorch takes inputs of one size; leave dynamic_size out.")
    if card is not None:
        card_text(card)
    with silent(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exir = import_extra("executorch.exir", EXTRA)
        xnnpack: Any = import_extra(
            "executorch.backends.xnnpack.partition.xnnpack_partitioner", EXTRA
        )
        # ExecuTorch loses weights whose names begin with a digit, such as those of a Sequential
        own = nn.Sequential(OrderedDict(network=copy.deepcopy(network)))
        own.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        one = samples[:1].clone(memory_format=torch.contiguous_format)
        try:
            program = torch.export.export(own, (one,))
            lowered = exir.to_edge_transform_and_lower(
                program, partitioner=[xnnpack.XnnpackPartitioner()]
            )
            path.write_bytes(lowered.to_executorch().buffer)
        except Exception as error:
            raise ConvariumError(
                f"{type(network).__name__} cannot be written for ExecuTorch: {first_cause(error)}"
            ) from error
