"""Explaining leaves no trace: not in the model, not in gradients, not in random streams."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convarium.errors import ConvariumError
from convarium.explain import Attribution, grad_cam

Method = Callable[..., Attribution]


class Noisy(nn.Module):
    """Draws random numbers, writes into a buffer and keeps notes in every forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.norm = nn.BatchNorm2d(3, momentum=0.5)
        self.head = nn.Linear(3, 2)
        self.register_buffer("calls", torch.zeros(()))
        self.notes: list[float] = []
        self.fails = False

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.notes.append(float(torch.rand(())))
        hidden = self.norm(self.conv(x))
        if self.fails:
            raise RuntimeError("inside the model")
        return self.head(torch.dropout(hidden, 0.5, True).mean((2, 3)))


def specimen() -> Noisy:
    torch.manual_seed(0)
    model = Noisy()
    model.norm.eval()
    model.conv.bias.requires_grad_(False)
    model(torch.randn(2, 1, 6, 6)).sum().backward()
    model.conv.register_forward_hook(lambda *_: None)
    model.norm.register_full_backward_hook(lambda *_: None)
    return model


def facts(model: nn.Module) -> dict[str, Any]:
    found: dict[str, Any] = {"rng": torch.get_rng_state().tolist(), "grad": torch.is_grad_enabled()}
    for name, module in model.named_modules():
        found[name] = repr({key: value for key, value in vars(module).items() if key != "_modules"})
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        grad = None if tensor.grad is None else (id(tensor.grad), tensor.grad.tolist())
        found["tensor " + name] = (id(tensor), tensor.tolist(), tensor.requires_grad, grad)
    return found


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_nothing_changes(training: bool, mode: Any) -> None:
    model = specimen()
    model.training = training
    before = facts(model)
    with mode():
        grad_cam(model, torch.randn(2, 1, 6, 6, generator=torch.Generator()), layer="norm")
    assert facts(model) == before


def test_no_method_leaves_a_trace(method: Method) -> None:
    model = specimen()
    x = torch.randn(2, 1, 6, 6, generator=torch.Generator())
    before = facts(model)
    heat = method(model, x)
    assert heat.values.shape[0] == 2
    assert facts(model) == before


def test_no_method_leaves_a_trace_when_it_raises(method: Method) -> None:
    model = specimen()
    x = torch.ones(2, 1, 6, 6)
    before = facts(model)
    for keywords in ({"target": 9}, {"forward": fail_in_the_forward}, {"layer": "missing"}):
        with pytest.raises((RuntimeError, ConvariumError)):
            method(model, x, **keywords)
        assert facts(model) == before
    model.fails = True
    before = facts(model)
    with pytest.raises((RuntimeError, ConvariumError)):
        method(model, x)
    assert facts(model) == before


def test_a_failure_in_the_middle_leaves_no_trace(method: Method) -> None:
    """The network fails in a later pass, when methods that run it often have begun."""
    model = specimen()
    before = facts(model)
    passes = iter(range(1000))

    def fail_later(x: Tensor) -> Tensor:
        if next(passes) == 1:
            raise RuntimeError("in the second pass")
        return model(x)

    with contextlib.suppress(RuntimeError):
        method(model, torch.ones(2, 1, 6, 6), forward=fail_later)
    assert facts(model) == before


def fail_in_the_forward(x: Tensor) -> Tensor:
    raise RuntimeError("inside the forward")


def fail_in_the_model(model: Noisy) -> None:
    model.fails = True


def fail_in_the_target(logits: Tensor) -> Tensor:
    raise RuntimeError("inside the target")


@pytest.mark.parametrize(
    ("inside_model", "keywords"),
    [
        (True, {"layer": "conv"}),
        (False, {"layer": "conv", "target": fail_in_the_target}),
        (False, {"layer": "conv", "target": 9}),
        (False, {"layer": "missing"}),
    ],
)
def test_nothing_changes_when_the_call_raises(inside_model: bool, keywords: dict[str, Any]) -> None:
    model = specimen()
    model.fails = inside_model
    before = facts(model)
    with pytest.raises((RuntimeError, ConvariumError)):
        grad_cam(model, torch.ones(2, 1, 6, 6), **keywords)
    assert facts(model) == before


def test_no_hooks_left_on_any_module() -> None:
    model = specimen()
    grad_cam(model, torch.ones(1, 1, 6, 6), layer="conv")
    assert [len(module._forward_hooks) for module in model.modules()] == [0, 1, 0, 0]


def test_backward_hooks_of_the_caller_neither_see_nor_change_the_gradient() -> None:
    model = specimen()
    x = torch.ones(1, 1, 6, 6)
    expected = grad_cam(model.eval(), x, target=0, layer="conv").values
    calls: list[int] = []

    def double(module: nn.Module, gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        calls.append(1)
        return tuple(2 * gradient for gradient in gradients)

    for module in model.modules():
        module.register_full_backward_pre_hook(double)
    assert torch.equal(grad_cam(model, x, target=0, layer="conv").values, expected)
    assert calls == []
    model(x.requires_grad_()).sum().backward()
    assert len(calls) == 4


def test_a_training_step_afterwards_is_bit_identical() -> None:
    def step(explain: bool) -> list[Tensor]:
        model = specimen().train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(2):
            if explain:
                grad_cam(model, torch.ones(3, 1, 6, 6), layer="norm")
            optimizer.zero_grad()
            model(torch.randn(4, 1, 6, 6)).square().sum().backward()
            optimizer.step()
        return [*model.parameters(), *model.buffers()]

    with_map, without = step(explain=True), step(explain=False)
    assert all(torch.equal(one, other) for one, other in zip(with_map, without, strict=True))


def test_a_backward_pass_begun_before_can_still_be_finished() -> None:
    model = specimen().eval()
    model.zero_grad()
    x = torch.randn(2, 1, 6, 6)
    loss = model(x).sum()
    grad_cam(model, x, layer="norm")
    loss.backward()
    assert model.conv.weight.grad is not None
