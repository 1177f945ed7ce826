"""`untouched`: whatever happens inside, the model and the random streams are as before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from convarium.errors import OptionError
from convarium.graph import untouched


class Remembering(nn.Module):
    """Keeps a list of its own, as user code does, and overrides `train`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.5)
        self.seen: list[int] = []
        self.switched = 0

    def train(self, mode: bool = True) -> Remembering:
        self.switched = getattr(self, "switched", 0) + 1
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        return self.drop(self.norm(self.conv(x))).mean((2, 3))


def specimen() -> Remembering:
    torch.manual_seed(0)
    model = Remembering()
    model.norm.eval()
    model.conv.bias.requires_grad_(False)  # type: ignore[union-attr]
    model.conv.weight.grad = torch.full_like(model.conv.weight, 7.0)
    model.register_forward_hook(lambda *_: None)
    model.conv.register_forward_pre_hook(lambda *_: None)
    model.norm.weight.register_hook(lambda gradient: gradient)
    return model


def facts(model: nn.Module) -> dict[str, Any]:
    """Everything that can be seen from outside, with identities."""
    found: dict[str, Any] = {"rng": torch.get_rng_state().tolist(), "grad": torch.is_grad_enabled()}
    for name, module in model.named_modules():
        attributes = {
            key: list(value.items()) if isinstance(value, dict) else value
            for key, value in vars(module).items()
        }
        found[name] = (type(module), id(module), repr(attributes))
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        grad = None if tensor.grad is None else (id(tensor.grad), tensor.grad.tolist())
        hooks = repr(tensor._backward_hooks)
        found["tensor " + name] = (id(tensor), tensor.tolist(), tensor.requires_grad, grad, hooks)
    return found


def run_in_training_mode(model: Remembering) -> None:
    model.train()
    model(torch.randn(4, 2, 6, 6)).sum().backward()


def change_modes(model: Remembering) -> None:
    model.eval()
    model.norm.train()


def freeze(model: Remembering) -> None:
    model.requires_grad_(False)
    model.conv.bias.requires_grad_(True)  # type: ignore[union-attr]


def lose_gradients(model: Remembering) -> None:
    model.zero_grad(set_to_none=False)
    model.conv.bias.grad = torch.ones(3)  # type: ignore[union-attr]


def hook_everything(model: Remembering) -> None:
    for module in model.modules():
        module.register_forward_hook(lambda *_: None, with_kwargs=False, always_call=True)
        module.register_forward_hook(lambda *_: None, with_kwargs=True)
        module.register_forward_pre_hook(lambda *_: None, with_kwargs=True, prepend=True)
        module.register_full_backward_hook(lambda *_: None)
        module.register_full_backward_pre_hook(lambda *_: None)
        module.register_state_dict_post_hook(lambda *_: None)
        module.register_state_dict_pre_hook(lambda *_: None)
        module.register_load_state_dict_pre_hook(lambda *_: None)
        module.register_load_state_dict_post_hook(lambda *_: None)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.register_hook(lambda gradient: gradient * 2)
            parameter.register_post_accumulate_grad_hook(lambda _: None)


def write_buffers(model: Remembering) -> None:
    model.norm.running_mean.fill_(float("nan"))  # type: ignore[union-attr]
    model.norm.running_var = torch.zeros(3)
    model.register_buffer("extra", torch.ones(1))


def replace_parts(model: Remembering) -> None:
    model.conv.weight = nn.Parameter(torch.zeros(3, 2, 3, 3))
    model.norm = nn.Identity()  # type: ignore[assignment]
    model.another = nn.Linear(1, 1)
    model.forward = lambda x: x  # type: ignore[method-assign]


def parametrise(model: Remembering) -> None:
    parametrizations.weight_norm(model.conv)


def draw_and_switch(model: Remembering) -> None:
    torch.manual_seed(5)
    torch.set_grad_enabled(False)


DEEDS: list[Callable[[Remembering], None]] = [
    run_in_training_mode,
    change_modes,
    freeze,
    lose_gradients,
    hook_everything,
    write_buffers,
    replace_parts,
    parametrise,
    draw_and_switch,
]


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_behind(deed: Callable[[Remembering], None], fails: bool) -> None:
    model = specimen()
    before = facts(model)
    try:
        with untouched(model):
            deed(model)
            assert facts(model) != before
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert facts(model) == before


def test_tensor_hooks_set_inside_do_not_act_afterwards() -> None:
    model = nn.Linear(2, 1)
    calls: list[str] = []
    with untouched(model):
        model.weight.register_hook(lambda _: calls.append("gradient"))
        model.weight.register_post_accumulate_grad_hook(lambda _: calls.append("accumulated"))
    model(torch.ones(1, 2)).sum().backward()
    assert calls == []


def test_tensor_hooks_set_before_still_act_and_can_be_removed() -> None:
    model = nn.Linear(2, 1)
    calls: list[int] = []
    first = model.weight.register_hook(lambda _: calls.append(1))
    with untouched(model):
        first.remove()
        model.weight.register_hook(lambda _: calls.append(2))
    model(torch.ones(1, 2)).sum().backward()
    assert calls == [1]
    first.remove()
    model(torch.ones(1, 2)).sum().backward()
    assert calls == [1]


def test_module_hook_handles_stay_valid() -> None:
    model = nn.Linear(2, 1)
    calls: list[int] = []
    handle = model.register_forward_hook(lambda *_: calls.append(1))
    with untouched(model):
        model.register_forward_hook(lambda *_: calls.append(2))
    model(torch.ones(1, 2))
    handle.remove()
    model(torch.ones(1, 2))
    assert calls == [1]


def test_gradients_gathered_before_are_not_added_to() -> None:
    model = nn.Linear(2, 1)
    model(torch.ones(1, 2)).sum().backward()
    gathered = model.weight.grad
    with untouched(model):
        assert model.weight.grad is None
        model(torch.ones(1, 2)).sum().backward()
    assert model.weight.grad is gathered
    assert torch.equal(gathered, torch.ones(1, 2))


def test_a_backward_pass_begun_before_can_still_be_finished() -> None:
    """Writing into buffers that did not change would spoil it."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).eval()
    loss = model(torch.ones(1, 1, 4, 4)).sum()
    with untouched(model):
        model(torch.zeros(1, 1, 4, 4))
    loss.backward()
    assert model[0].weight.grad is not None


def test_tied_weights_stay_tied_and_buffers_keep_nan() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.BatchNorm1d(2))
    model[1].weight = model[0].weight
    model[2].running_mean.fill_(float("nan"))
    with untouched(model):
        model[2].running_mean.zero_()
    assert model[1].weight is model[0].weight
    assert model[2].running_mean.isnan().all()


def test_works_on_tensors_of_inference_mode_and_inside_it() -> None:
    with torch.inference_mode():
        model = nn.BatchNorm1d(2)
    before = model.running_mean
    with untouched(model), torch.inference_mode():
        model(torch.randn(3, 2))
    assert model.running_mean is before
    assert torch.equal(before, torch.zeros(2))
    normal = nn.BatchNorm1d(2)
    with torch.inference_mode(), untouched(normal):
        normal(torch.randn(3, 2))
    assert torch.equal(normal.running_mean, torch.zeros(2))
    normal(torch.randn(3, 2)).sum().backward()


def test_tensors_that_are_plain_attributes_keep_their_values() -> None:
    model = nn.Identity()
    model.seen = torch.tensor([1.0, 2.0])  # type: ignore[assignment]
    kept = model.seen
    with untouched(model):
        model.seen += 1
        model.seen = torch.zeros(3)  # type: ignore[assignment]
    assert model.seen is kept
    assert kept.tolist() == [1.0, 2.0]


def test_a_backward_pass_goes_on_after_statistics_were_gathered_and_put_back() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    x = torch.rand(4, 1, 6, 6)
    torch.nn.functional.mse_loss(model(x), torch.zeros(4, 2, 4, 4)).backward()
    expected = model[0].weight.grad.clone()  # type: ignore[union-attr]
    model.zero_grad()
    loss = torch.nn.functional.mse_loss(model(x), torch.zeros(4, 2, 4, 4))
    with untouched(model):
        model(2 * x).sum().backward()
    loss.backward()
    assert torch.allclose(model[0].weight.grad, expected)  # type: ignore[arg-type]


def test_a_weight_that_forward_replaces_is_put_back() -> None:
    model = nn.Linear(2, 2)
    before, place = model.weight.detach().clone(), model.weight.data_ptr()
    with untouched(model):
        model.weight.data = torch.zeros(2, 2)
    assert torch.equal(model.weight, before)
    assert model.weight.data_ptr() == place


def test_sparse_buffers_may_stand_by() -> None:
    model = nn.Identity()
    model.register_buffer("adjacency", torch.eye(3).to_sparse())
    with untouched(model):
        found = model(torch.ones(1))
    assert found.tolist() == [1.0]
    assert model.adjacency.to_dense().tolist() == torch.eye(3).tolist()  # type: ignore[operator]


def test_lazy_layers_without_a_shape_are_refused() -> None:
    with (
        pytest.raises(OptionError, match="run one batch through it first"),
        untouched(nn.LazyConv2d(2, 3)),
    ):
        pass
