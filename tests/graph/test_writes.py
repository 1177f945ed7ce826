"""Weights and caches that forward writes into in place are put back, whoever ran forward."""

from __future__ import annotations

import contextlib
import copy
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from convarium import measure
from convarium.errors import ConvariumError
from convarium.graph import paired_timing, trace, untouched
from convarium.graph.writes import watched


def by_data(layer: nn.Conv1d) -> None:
    layer.weight.data.renorm_(2, 0, 0.1)


def without_gradients(layer: nn.Conv1d) -> None:
    with torch.no_grad():
        layer.weight.mul_(3)
        layer.bias[1:] = 7.0


def by_a_list(layer: nn.Conv1d) -> None:
    torch._foreach_mul_([layer.weight.data, layer.bias.data], 2.0)


def into_a_result(layer: nn.Conv1d) -> None:
    torch.mul(layer.weight.detach(), 2, out=layer.weight.data)


def through_a_view(layer: nn.Conv1d) -> None:
    layer.weight.detach().view(-1)[2:5].fill_(1.0)


def with_other_memory(layer: nn.Conv1d) -> None:
    layer.weight.data.zero_()
    layer.weight.data = torch.ones(4, 4, 1)
    layer.weight.data.add_(1)


DEEDS = [by_data, without_gradients, by_a_list, into_a_result, through_a_view, with_other_memory]


class Writing(nn.Module):
    """Writes into what it holds before it computes, and fails if it is told to."""

    def __init__(self, deed: Callable[[nn.Conv1d], None], fails: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv1d(4, 4, 1)
        self.table = nn.Embedding(9, 4, max_norm=0.1)
        self.deed, self.fails = deed, fails

    def forward(self, x: Tensor) -> Tensor:
        self.deed(self.layer)
        if self.fails:
            raise ValueError("nothing comes of it")
        return self.layer(x) + self.table(torch.arange(x.shape[-1])).T


def weights(model: nn.Module) -> list[Any]:
    """Identity, place, values and the count of writes of each parameter."""
    return [(id(p), p.data_ptr(), p.tolist(), p._version) for p in model.parameters()]


RUNS: dict[str, Callable[[nn.Module], Any]] = {
    "trace": lambda model: trace(model, (1, 4, 8)),
    "latency": lambda model: measure.latency(model, (1, 4, 8), rounds=3),
    "profile": lambda model: measure.profile(model, (1, 4, 8), rounds=3),
    "gradients": lambda model: measure.gradient_flow(model, torch.ones(1, 4, 8), loss=torch.mean),
    "field": lambda model: measure.effective_receptive_field(model, torch.ones(1, 4, 8)),
    "jacobian": lambda model: measure.jacobian_singular_values(model, torch.ones(1, 4, 8)),
    "shifts": lambda model: measure.shift_consistency(
        nn.Sequential(model, nn.Flatten()), torch.rand(1, 4, 8), n=2, max_shift=1
    ),
    "symmetries": lambda model: measure.equivariance(model, torch.ones(1, 4, 8)),
}


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("deed", DEEDS)
def test_written_weights_are_put_back(deed: Callable[[nn.Conv1d], None], fails: bool) -> None:
    model = Writing(deed, fails)
    before = weights(model)
    try:
        with untouched(model):
            model(torch.ones(1, 4, 8))
            assert weights(model) != before
    except ValueError:
        assert fails
    assert weights(model) == before


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("run", RUNS)
def test_whatever_is_measured_leaves_no_trace(run: str, fails: bool) -> None:
    ran: list[int] = []
    model = Writing(lambda layer: by_data(layer) or ran.append(1), fails)
    before = weights(model)
    with pytest.raises((ValueError, ConvariumError)) if fails else contextlib.nullcontext():
        RUNS[run](model)
    assert ran
    assert weights(model) == before


def test_a_backward_pass_begun_before_goes_on_through_written_weights() -> None:
    layers = nn.Sequential(nn.Conv1d(4, 4, 1), nn.Tanh(), Writing(lambda layer: None))
    x = torch.rand(2, 4, 8)
    layers(x).sum().backward()
    expected = [p.grad.clone() for p in layers.parameters() if p.grad is not None]
    layers.zero_grad()
    loss = layers(x).sum()
    with untouched(layers), torch.no_grad():
        for parameter in layers.parameters():
            parameter.mul_(2)
    loss.backward()
    found = [p.grad for p in layers.parameters() if p.grad is not None]
    assert found
    assert all(map(torch.equal, found, expected))


def test_only_weights_that_are_written_into_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[tuple[int, ...]] = []
    clone = Tensor.clone
    monkeypatch.setattr(Tensor, "clone", lambda self: copied.append(self.shape) or clone(self))
    model = Writing(lambda layer: layer.bias.data.zero_())
    with untouched(model):
        model(torch.ones(1, 4, 8))
        model(torch.ones(1, 4, 8))
    assert copied == [(4,), (9, 4)]


def test_weights_that_share_memory_are_copied_together() -> None:
    both = torch.arange(6.0)
    model = nn.Module()
    model.first, model.second = nn.Parameter(both[:4]), nn.Parameter(both[2:])
    with untouched(model), torch.no_grad():
        model.first.zero_()
    assert model.first.tolist() == [0, 1, 2, 3]
    assert model.second.tolist() == [2, 3, 4, 5]


class Caches(dict[str, Any]):
    """A dictionary of the user's own."""


class Hoarding(nn.Module):
    """Holds tensors in every kind of container, and writes into them."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.fails = fails
        self.running = [torch.zeros(2), torch.ones(2)]
        self.pair = (torch.zeros(1), [torch.ones(1)])
        self.deep: dict[str, Any] = {"a": {"b": [{"c": torch.ones(3)}]}, "d": ()}
        self.order = OrderedDict(first=torch.ones(1), second=[1])
        self.last = deque([torch.ones(1)], maxlen=2)
        self.cache = Caches(steps=0)
        self.around: list[Any] = []
        self.around.append(self.around)
        self.weight = nn.Parameter(torch.ones(2))
        self.tied = [self.weight, nn.Parameter(torch.ones(2))]

    def forward(self, x: Tensor) -> Tensor:
        self.running[0].add_(x.sum())
        self.running[1] = torch.full((2,), 5.0)
        self.pair[0].add_(1)
        self.pair[1].append(x)
        inner = self.deep["a"]["b"]
        inner[0]["c"][1:] = 4.0
        inner.insert(0, x)
        self.deep["e"] = x
        self.order.move_to_end("first")
        self.order["second"].clear()
        self.last.extend([x, x])
        self.cache.update(steps=1, x=x)
        self.around.append(x)
        with torch.no_grad():
            for weight in self.tied:
                weight.mul_(2)
        if self.fails:
            raise ValueError
        return x * self.weight.sum()


def holdings(model: Hoarding) -> str:
    names = ("running", "pair", "deep", "order", "last", "cache", "around", "tied")
    return repr([getattr(model, name) for name in names])


@pytest.mark.parametrize("fails", [False, True])
def test_what_lies_in_containers_is_put_back(fails: bool) -> None:
    model = Hoarding(fails)
    before, held = holdings(model), [model.running, *model.running, model.deep["a"]["b"]]
    for _ in range(2):
        try:
            with untouched(model):
                model(torch.ones(1))
        except ValueError:
            assert fails
    assert holdings(model) == before
    after = [model.running, *model.running, model.deep["a"]["b"]]
    assert [*map(id, after)] == [*map(id, held)]


def test_a_trace_of_a_hoarding_model_leaves_no_tensor_without_memory() -> None:
    model = Hoarding()
    before = holdings(model)
    trace(model, (1, 2))
    assert holdings(model) == before


class Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Passes all on."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def test_the_clock_does_not_run_while_writes_are_looked_for() -> None:
    model = nn.Linear(2, 2)
    seen: list[bool] = []
    with untouched(model):
        assert watched()
        paired_timing({"a": lambda: seen.append(watched())}, rounds=3, warmup=1)
        assert watched()
        with Counted():
            assert not watched()
    assert seen == [True, *[False] * 4]
    assert not watched()
    paired_timing({"a": lambda: seen.append(watched())}, rounds=3, warmup=0)
    assert seen[5:] == [False] * 3


def test_writing_is_looked_for_again_after_a_timing_that_failed() -> None:
    model = nn.Linear(2, 2)
    before = copy.deepcopy(model)
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        if len(calls) > 1:
            raise KeyError

    with untouched(model):
        with pytest.raises(KeyError):
            paired_timing({"a": fail})
        assert watched()
        model.weight.data.zero_()
    assert torch.equal(model.weight, before.weight)


def test_compiled_models_are_timed_compiled_and_watched_as_python() -> None:
    graphs: list[int] = []

    def compiler(graph: Any, given: Any) -> Any:
        graphs.append(len(given))
        return graph.forward

    inner = Writing(by_data)
    before = weights(inner)
    measure.latency(torch.compile(inner.layer, backend=compiler), (1, 4, 8), rounds=3)
    assert len(graphs) == 1
    assert weights(inner) == before
