"""Hooks that tell a recorder which module a model is in."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

from convarium.graph.recorder import Recorder


class Listening:
    """Within it, calls of the network's modules are noted.

    The hooks are torch's for all modules, which run before a module's own. Where a module has hooks
    for the end of its forward, one more is put behind them.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.handles: list[Any] = []
        self.modules: dict[int, tuple[str, tuple[str, bool, bool]]] = {}
        self.hooked: set[int] = set()

    def __enter__(self) -> None:
        for name, module in self.recorder.network.named_modules():
            leaf = all(inside == "parametrizations" for inside, _ in module.named_children())
            library = type(module).__module__.startswith("torch.nn.")
            self.modules[id(module)] = name, (type(module).__name__, leaf, library)
            if module._forward_hooks:
                self.hooked.add(id(module))
                self.handles.append(module.register_forward_hook(self._leave))
        self.handles += [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave_unhooked),
        ]

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()
        self.recorder.watched.clear()  # they refer back to the recorder, which holds weights

    def _enter(self, module: nn.Module, args: Any) -> None:
        if id(module) in self.modules:
            self.recorder.enter(self.modules[id(module)][0], args)

    def _leave(self, module: nn.Module, args: Any, given: Any) -> None:
        self.recorder.leave(self.modules[id(module)][1], given)

    def _leave_unhooked(self, module: nn.Module, args: Any, given: Any) -> None:
        if id(module) in self.modules and id(module) not in self.hooked:
            self._leave(module, args, given)
