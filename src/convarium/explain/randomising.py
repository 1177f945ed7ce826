"""A network that forgets: its layers from the top down, and the permutation of their weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convarium import seeds
from convarium.errors import OptionError
from convarium.graph import eager
from convarium.graph.state import set_mode

_Norm = nn.modules.batchnorm._BatchNorm


def layers_from_the_top(
    network: nn.Module, run: Callable[[], None], stages: int
) -> list[list[str]]:
    """Names of the modules with parameters of their own, last run first, in at most `stages` lists.

    The top layer is alone in the first. A module that is not called itself, such as the output
    projection of torch's attention, comes with the module that holds it.

    Raises:
        OptionError: no module with parameters runs.
    """
    called: dict[nn.Module, int] = {}

    def note(module: nn.Module, _: Any) -> None:
        called[module] = len(called) if module not in called else called[module]

    with _listening(network, dict.fromkeys(network.modules(), note)):
        run()
    modules = dict(network.named_modules())

    def moment(name: str) -> int:
        while name and modules[name] not in called:
            name = name.rpartition(".")[0]
        return called.get(modules[name], -1)

    learned = [n for n, m in modules.items() if any(True for _ in m.parameters(recurse=False))]
    ordered = sorted(learned, key=moment, reverse=True)
    if not called or not ordered:
        raise OptionError(
            "model has no layer with parameters that runs; nothing can be randomised."
        )
    top, rest = ordered[:1], ordered[1:]
    parts = np.array_split(np.arange(len(rest)), max(1, min(stages - 1, len(rest))))
    groups = [[rest[i] for i in part] for part in parts if len(part)]
    return [top, *groups] if stages > 1 else [ordered]


def randomise(network: nn.Module, names: Sequence[str], seed: int) -> None:
    """Permute the values of each parameter of these modules; the caller undoes it."""
    modules = dict(network.named_modules())
    with torch.inference_mode():
        for name in names:
            for key, parameter in modules[name].named_parameters(recurse=False):
                order = seeds.permutation(parameter.numel(), seed, "randomise", name, key)
                places = torch.from_numpy(order).to(parameter.device)
                parameter.copy_(parameter.reshape(-1)[places].reshape(parameter.shape))


def measure_norms(network: nn.Module, names: Sequence[str], run: Callable[[], None]) -> None:
    """Batch norms among these modules take their statistics from what they see in one run."""
    modules = dict(network.named_modules())
    norms = [modules[name] for name in names if _measures(modules[name])]
    if norms:
        with _listening(network, dict.fromkeys(norms, _measure)):
            run()


def _measures(module: nn.Module) -> bool:
    return isinstance(module, _Norm) and module.running_mean is not None


def _measure(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Mean and variance of what a norm is about to see, over samples and their own positions."""
    x, *masks = inputs
    numbers = x.float().movedim(1, 0).flatten(1)
    if masks and isinstance(masks[0], Tensor):
        numbers = numbers[:, masks[0].flatten()]
    norm.running_mean.copy_(numbers.mean(1))  # type: ignore[operator]
    norm.running_var.copy_(numbers.var(1, unbiased=False))  # type: ignore[operator]


@contextlib.contextmanager
def _listening(
    network: nn.Module, hooks: dict[nn.Module, Callable[[nn.Module, Any], None]]
) -> Iterator[None]:
    """Eval mode, no gradients, and a function called before each of these modules."""
    set_mode(network, training=False)
    handles = [module.register_forward_pre_hook(hook) for module, hook in hooks.items()]
    try:
        with torch.inference_mode(), eager(network):
            yield
    finally:
        for handle in handles:
            handle.remove()
