"""ReLUs that overwrite what they are given while a network trains, where nobody else looks at it.

What a norm or a sum gives is used by no gradient, so the ReLU behind it needs no memory of its own:
numbers and gradients are the same bits, and less is written.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence

from torch import nn

from convarium.errors import ConvariumError
from convarium.graph import Graph, trace

_NAMES = ("relu", "hardtanh")  # whose gradients need their results alone
_LAYERS = (nn.ReLU, nn.ReLU6)
_BEFORE = ("native_batch_norm", "add")  # keep their inputs for the gradient, or nothing


class Overwriting:
    """Some of a network's ReLUs, which overwrite their inputs during steps of its training.

    Observers, validation and whoever hooks a layer see the network as it was given.

    Args:
        model: any module; what cannot be traced stays as it is.
        input_shape: of an input, with its batch.
    """

    def __init__(self, model: nn.Module, input_shape: Sequence[int]) -> None:
        self._model = model
        self._layers = overwritable(model, input_shape)

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Inside, they overwrite, unless somebody has a hook in the network by now."""
        layers = [] if _is_watched(self._model) else self._layers
        try:
            for layer in layers:
                layer.inplace = True
            yield
        finally:
            for layer in layers:
                layer.inplace = False


def overwritable(model: nn.Module, input_shape: Sequence[int]) -> list[nn.ReLU | nn.ReLU6]:
    """The ReLUs whose input, in each of their calls, is the new memory of a norm or a sum.

    None, where somebody has a hook in the network and may keep what layers give.

    >>> both = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU(), nn.ReLU())
    >>> [layer is both[1] for layer in overwritable(both, (2, 3))]
    [True]
    """
    modules = [*model.modules()]
    candidates = any(isinstance(module, _LAYERS) and not module.inplace for module in modules)
    if not candidates or _is_watched(model):
        return []
    try:
        graphs = [trace(model, input_shape, training=training) for training in (True, False)]
    except ConvariumError:
        return []
    in_both = set.intersection(*(_names(graph) for graph in graphs))
    layers = [module for name, module in model.named_modules() if name in in_both]
    return [layer for layer in layers if isinstance(layer, _LAYERS) and not layer.inplace]


def _is_watched(model: nn.Module) -> bool:
    """Whether there is a hook in a network, of any kind, or one of torch's that see every layer."""
    everywhere = nn.modules.module._has_any_global_hook()  # type: ignore[no-untyped-call]
    return bool(everywhere) or any(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        for module in model.modules()
    )


def _names(graph: Graph) -> set[str]:
    """Names of the modules whose every ReLU reads what is used once."""
    free = _used_once(graph)
    calls: dict[str, bool] = {}
    for operation in graph.operations:
        if operation.name in _NAMES and not operation.writes:
            good = all(value.memory in free for value in operation.values)
            calls[operation.layer] = good and calls.get(operation.layer, True)
    return {name for name, good in calls.items() if good}


def _used_once(graph: Graph) -> set[int]:
    """Memory that a norm or a sum made and that one operation reads."""
    made = {
        operation.results[0].memory
        for operation in graph.operations
        if operation.name in _BEFORE and not operation.writes and operation.results[0] is not None
    }
    reads = Counter(value.memory for each in graph.operations for value in each.values)
    given = {value.memory for value in graph.outputs}
    return {memory for memory in made if reads[memory] == 1 and memory not in given}
