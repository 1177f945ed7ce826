"""Which layer is read: by name, by module, by default, through wrappers, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.debugging_hooks import noop_hook

from convarium import explain
from convarium.errors import OptionError, ShapeError
from convarium.explain import grad_cam


class Small(nn.Module):
    heatmap_layer = "body.2"

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3))
        self.act = nn.ReLU()
        self.unused = nn.Conv2d(1, 1, 1)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.act(self.body(x))).mean((2, 3)))


X = torch.linspace(-1, 1, 128).reshape(2, 1, 8, 8)


def test_default_name_and_module_are_the_same_layer() -> None:
    model = Small()
    default = grad_cam(model, X)
    assert default.layer == "body.2"
    for layer in ("body.2", model.body[2]):
        assert torch.equal(grad_cam(model, X, layer=layer).values, default.values)


def test_an_unknown_layer_gets_close_matches() -> None:
    with pytest.raises(OptionError, match=r"'bodi.2'\) is not in the model. Did you mean 'body.2'"):
        grad_cam(Small(), X, layer="bodi.2")
    with pytest.raises(OptionError, match="is not a submodule of the model"):
        grad_cam(Small(), X, layer=nn.Conv2d(1, 1, 1))


def test_a_layer_that_runs_twice_is_refused() -> None:
    with pytest.raises(OptionError, match="runs more than once"):
        grad_cam(Small(), X, layer="act")


def test_a_network_of_one_reused_convolution_is_told_so() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1)
            self.head = nn.Linear(1, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.conv(self.conv(x)).mean((2, 3)))

    with pytest.raises(OptionError, match=r"\(conv is reused\)") as found:
        grad_cam(Loop(), X)
    assert "for example" not in str(found.value)  # conv is no way out
    with pytest.raises(OptionError, match="is reused: it runs more than once"):
        grad_cam(Loop(), X, layer="conv")


def test_a_layer_that_does_not_run_is_refused() -> None:
    with pytest.raises(OptionError, match="does not run in the forward pass"):
        grad_cam(Small(), X, layer="unused")


def test_a_layer_that_returns_a_tuple_is_refused() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.lstm(x.mT)[0][:, -1]

    with pytest.raises(OptionError, match=r"'lstm'\) returns a tuple"):
        grad_cam(Recurrent(), torch.ones(2, 3, 5), layer="lstm")


def test_a_layer_of_another_rank_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(2), nn.Flatten(), nn.Linear(72, 2))
    with pytest.raises(ShapeError, match=r"returns shape \(2, 2, 36\).*with 2 spatial axes"):
        grad_cam(network, X, layer="1")


def test_wrapped_models_use_the_original() -> None:
    model = Small()
    expected = grad_cam(model, X).values
    for wrapped in (nn.DataParallel(model), torch.compile(model, backend="eager")):
        heat = grad_cam(wrapped, X)
        assert heat.layer == "body.2"
        assert torch.equal(heat.values, expected)
    by_prefix = grad_cam(nn.DataParallel(model), X, layer="module.body.2")
    assert torch.equal(by_prefix.values, expected)


@pytest.fixture
def group() -> Iterator[None]:
    """A process group of one without any thread.

    One of gloo's keeps the result of the last step; where the wrapped network outlives the group,
    its reducer waits for gloo's thread, which waits for Python to free that: for ever.
    """
    torch.distributed.init_process_group("fake", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("group")
def test_distributed_models_use_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Small()
    model.unused.requires_grad_(False)
    wrapped = nn.parallel.DistributedDataParallel(model)
    wrapped.register_comm_hook(None, noop_hook)  # the mean over one
    assert torch.equal(grad_cam(wrapped, X).values, grad_cam(model, X).values)
    with monkeypatch.context() as patch:  # it would wait for the buffers of the other processes
        patch.delattr(nn.parallel.DistributedDataParallel, "forward")
        called = grad_cam(wrapped, X, forward=lambda x: wrapped(x))
    assert torch.equal(called.values, grad_cam(model, X).values)
    for _ in range(2):  # its own backward passes still find their end
        wrapped(X).sum().backward()
    plain = Small()
    (2 * plain(X).sum()).backward()
    torch.testing.assert_close(model.head.weight.grad, plain.head.weight.grad)


def test_parts_compiled_one_by_one_are_read_too() -> None:
    model = Small()
    expected = grad_cam(model, X).values
    model.body = torch.compile(model.body, backend="eager")
    model.head.compile(backend="eager")
    for layer in ("body.2", "body._orig_mod.2", None):
        heat = grad_cam(model, X, layer=layer)
        assert heat.layer == "body.2"
        assert torch.equal(heat.values, expected)
    assert type(model.body).__name__ == "OptimizedModule"


class Aside(nn.Module):
    """A convolution runs whose maps nobody uses, another one's are used by steps alone."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 4, 3)
        self.aux = nn.Conv2d(1, 4, 3)
        self.steps = nn.Conv2d(1, 4, 3)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.aux(x)
        maps = self.body(x) + (self.steps(x) > 0)
        return self.head(maps.mean((2, 3)))


def test_a_layer_off_the_path_to_the_score_is_said_by_every_method(
    layer_method: Callable[..., explain.Attribution],
) -> None:
    torch.manual_seed(0)
    network, x = Aside(), torch.randn(2, 1, 6, 6)
    heat = layer_method(network, x, layer="aux")
    assert heat.status == ("not connected",) * 2
    assert "The score is not computed from aux" in heat.note
    assert not heat.values.any()
    assert set(layer_method(network, x, layer="body").status) <= {"fine", "all negative"}


@pytest.mark.parametrize("name", ["score_cam", "ablation_cam", "eigen_cam"])
def test_without_gradients_a_layer_that_counts_by_steps_is_connected(name: str) -> None:
    torch.manual_seed(0)
    heat = getattr(explain, name)(Aside(), torch.randn(2, 1, 6, 6), layer="steps")
    assert set(heat.status) <= {"fine", "all negative"}
    assert heat.note == ""
