"""torch.compile for a network that learns, and its errors in words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import nn

from convarium.errors import ConvariumError


def compiled(network: nn.Module) -> nn.Module:
    """A module with the network's own parameters, whose forward pass torch compiles when it runs.

    The network itself stays as it is. Each is compiled by itself: networks share the code of their
    forward, of which torch otherwise compiles eight and quietly runs the others as they are.
    """
    by_itself: dict[str, Any] = {"isolate_recompiles": True}  # torch's types lack it
    return cast("nn.Module", torch.compile(network, **by_itself))


@contextlib.contextmanager
def compiler_explained() -> Iterator[None]:
    """Inside, an error of torch's compiler becomes one sentence.

    Raises:
        ConvariumError: there is no compiler, or the network cannot be compiled.
    """
    try:
        yield
    except RuntimeError as error:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if "TorchDynamoException" not in kinds:
            raise
        lines = [line for line in str(error).splitlines() if line]
        reason = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1])
        raise ConvariumError(
            f"compile (='on') does not work here: {reason}; use compile='off' (--compile off)."
        ) from error
