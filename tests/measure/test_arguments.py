"""Whatever is given wrongly to a function of the room, the answer is one sentence."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convarium import measure
from convarium.errors import ConvariumError
from convarium.measure import arguments

SHAPE = (2, 3, 8, 8)
X = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0))

# What runs a model on a tensor, and what makes the input of a shape.
ON_TENSORS: dict[str, Callable[..., Any]] = {
    "equivariance": measure.equivariance,
    "shift_consistency": measure.shift_consistency,
    "gradient_flow": measure.gradient_flow,
    "jacobian_singular_values": measure.jacobian_singular_values,
    "effective_receptive_field": measure.effective_receptive_field,
}
TIMED: dict[str, Callable[..., Any]] = {
    "latency": lambda model, shape: measure.latency(model, shape, rounds=1, warmup=0),
    "profile": lambda model, shape: measure.profile(model, shape, rounds=1, warmup=0),
}
ON_SHAPES: dict[str, Callable[..., Any]] = TIMED | {
    "cost": measure.cost,
    "output_shape": measure.output_shape,
    "receptive_field": measure.receptive_field,
}
ON_LAYERS: dict[str, Callable[..., Any]] = {
    "conv_matrix": measure.conv_matrix,
    "operator_norm": measure.operator_norm,
    "singular_values": measure.singular_values,
    "largest singular values": lambda layer, shape: measure.singular_values(layer, shape, k=3),
}
ENTRIES = ON_TENSORS | ON_SHAPES


def given(name: str) -> Any:
    """What an entry takes: a shape or a tensor."""
    return SHAPE if name in ON_SHAPES else X


class Classifier(nn.Module):
    """Draws, counts and writes into a buffer each time, and fails where it is told to."""

    def __init__(self, result: str = "logits") -> None:
        super().__init__()
        torch.manual_seed(0)  # so that no drawing has a ReLU that is shut everywhere
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, 5)
        self.register_buffer("seen", torch.zeros(2))
        self.result, self.calls = result, 0

    def forward(self, x: Tensor) -> Any:
        self.calls += 1
        self.seen.add_(1)
        torch.rand(3)
        y = self.head(self.body(x).mean((2, 3)))
        if self.result == "error":
            raise KeyError("a part\nis missing")
        return {"logits": y, "dict": {"y": y}, "tuple": (y, None), "none": None}[self.result]


def prepared(model: nn.Module) -> nn.Module:
    """In training mode but for one layer, with gradients and a hook of the owner's."""
    model.train()
    for parameter in model.parameters():
        if not parameter.is_meta:
            parameter.grad = torch.ones_like(parameter)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    if not isinstance(model, torch.jit.ScriptModule):
        model.register_forward_hook(lambda *_: None)
    return model


def state(model: nn.Module) -> dict[str, Any]:
    """All that may not change."""
    named = [*model.named_parameters(), *model.named_buffers()]
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "modes": [module.training for module in model.modules()],
        "hooks": [[*getattr(m, kind)] for m in model.modules() for kind in kinds],
        "values": {name: None if x.is_meta else x.tolist() for name, x in named},
        "flags": {name: (x.requires_grad, x.device, x.dtype) for name, x in named},
        "grads": {name: None if x.grad is None else x.grad.tolist() for name, x in named},
        "calls": getattr(model, "calls", None),
        "random": torch.get_rng_state().tolist(),
        "threads": torch.get_num_threads(),
        "modes of torch": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    }


def refused(names: Any, call: Callable[..., Any], /, *given: Any, **more: Any) -> str:
    """One sentence of convarium's that names what is wrong, and says what to do."""
    with pytest.raises(ConvariumError) as error:
        call(*given, **more)
    words = str(error.value)
    assert "\n" not in words
    assert len(words) < 500, words
    assert words[-1] in ".?", words
    assert any(name in words for name in ((names,) if isinstance(names, str) else names)), words
    return words


def kind(x: Any) -> str:
    return f"{tuple(x.shape)} {x.dtype}" if isinstance(x, Tensor) else type(x).__name__


@pytest.mark.parametrize("name", ON_TENSORS)
@pytest.mark.parametrize(
    "x",
    [
        *(None, "x", 7, [1.0, 2.0], np.zeros(SHAPE, np.float32), torch.tensor(1.0)),
        *(torch.zeros(*sizes, 3, 8, 8) for sizes in [(0,), (2, 0), ()]),
        *(torch.zeros(2, 4, 8, 8), torch.zeros(2, 3, 8), torch.zeros(2, 3, 2, 2)),
        *(X.long(), X.to(torch.complex64), X.to("meta"), X.to_sparse()),
        torch.nested.nested_tensor([X[0], X[1]], layout=torch.jagged),
    ],
    ids=kind,
)
def test_inputs_that_do_not_fit(name: str, x: Any) -> None:
    model = prepared(Classifier())
    before = state(model)
    assert refused(("x (=", "x of shape", "an input of shape"), ON_TENSORS[name], model, x)
    assert state(model) == before


@pytest.mark.parametrize("name", ENTRIES)
def test_a_model_that_fails_in_its_forward(name: str) -> None:
    model = prepared(Classifier("error"))
    before = state(model)
    assert refused("Classifier", ENTRIES[name], model, given(name))
    assert state(model) == before


@pytest.mark.parametrize("name", ON_TENSORS)
@pytest.mark.parametrize("result", ["dict", "tuple", "none"])
def test_outputs_of_other_kinds(name: str, result: str) -> None:
    """A result, or a sentence about what the model returns."""
    model = prepared(Classifier(result))
    before = state(model)
    if name == "equivariance" or (name == "effective_receptive_field" and result != "none"):
        assert ON_TENSORS[name](model, X).to_json()
    else:
        assert refused("model returns", ON_TENSORS[name], model, X)
    assert state(model) == before


@pytest.mark.parametrize("name", ON_TENSORS)
def test_inputs_go_to_the_device_and_type_of_the_weights(name: str) -> None:
    model = prepared(Classifier().double())
    found = ON_TENSORS[name](model, X).to_json()
    assert found == ON_TENSORS[name](model, X.double()).to_json()


@pytest.mark.parametrize("name", [*ON_TENSORS, *TIMED])
def test_a_model_without_values_does_not_run(name: str) -> None:
    with torch.device("meta"):
        model = prepared(Classifier())
    before = state(model)
    assert refused("meta device", ENTRIES[name], model, given(name))
    assert state(model) == before
    half = Classifier()
    half.head.to("meta")
    assert refused("meta device", ENTRIES[name], half, given(name))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ENTRIES)
def test_a_scripted_model_is_measured_or_refused(name: str) -> None:
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5))
    for parameter in plain.parameters():
        parameter.grad = torch.ones_like(parameter)
    model = prepared(torch.jit.script(plain))
    before, call = state(model), ENTRIES[name]
    if name in ("latency", "shift_consistency", "jacobian_singular_values"):
        found = call(model, given(name)).to_json()
        assert name == "latency" or found == call(plain, X).to_json()
        wrong = (2, 4, 8, 8) if name in ON_SHAPES else torch.zeros(2, 4, 8, 8)
        assert refused("(2, 4, 8, 8)", call, model, wrong)
    else:
        assert refused("scripted", call, model, given(name))
    assert state(model) == before


@pytest.mark.parametrize("model", [None, 5, "resnet8", nn.Linear])
def test_what_is_no_model(model: Any) -> None:
    for name, call in ENTRIES.items():
        assert refused("model (=", call, model, given(name))
    for call in ON_LAYERS.values():
        assert refused("layer (=", call, model, (1, 3, 8, 8))


NO_SHAPES = [
    *(None, 5, "abc", (), [], (0, 3, 8, 8), (2, 3, -8, 8), (2, 3, 8.0, 8), (True, 3, 8, 8)),
    *({1, 3, 8}, {2: 3}, torch.rand(2, 3, 8, 8), torch.ones((), dtype=int), [(2, 3, 8, 8), 5]),
]
WRONG_SHAPES = [(2, 4, 8, 8), (2, 3, 8, 8, 8), (1, 3, 2, 2)]
HUGE_SHAPES = [(2**40, 3, 2**20, 8), (2**62, 3, 8, 8), (10**5000, 3, 8, 8), (1, 3, 2**26, 2**26)]


@pytest.mark.parametrize("shape", NO_SHAPES + WRONG_SHAPES + HUGE_SHAPES, ids=kind)
def test_shapes_that_do_not_fit(shape: Any) -> None:
    model, names = prepared(Classifier()), ("input_shape (=", "an input of shape")
    before = state(model)
    for call in ON_SHAPES.values():
        assert refused(names, call, model, shape)
    assert state(model) == before
    for call in ON_LAYERS.values() if shape not in HUGE_SHAPES else ():
        assert refused(names, call, nn.Conv2d(3, 4, 3), shape)
    if shape not in WRONG_SHAPES:
        assert refused("shape", measure.choose, input_shape=shape, pattern="resnet8", cache=False)
        assert refused("shape", measure.compare_families, shape, names=["resnet8"], cache=False)


def test_more_than_memory_holds_is_said() -> None:
    """A few terabytes; a batch does not matter for the map of one layer."""
    huge, layer = (1, 3, 2**19, 2**19), nn.Conv2d(3, 4, 3)
    for call in TIMED.values():
        assert refused("memory", call, layer, huge)
    assert refused("memory", measure.latency, layer, (1, 3, 8, 8), batch_sizes=[1, 2**33])
    for call in ON_LAYERS.values():
        assert refused(("memory", "input_shape"), call, layer, huge)
    around = nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")
    assert refused("memory", measure.singular_values, around, huge)
    assert measure.operator_norm(layer, (2**62, 3, 8, 8)) == measure.operator_norm(layer, SHAPE)


COUNTS, NUMBERS = (0, -1, "a", 1.5, True), ("a", None, 0, -1, math.nan, True)
OPTIONS: dict[str, tuple[Callable[..., Any], dict[str, tuple[Any, ...]]]] = {
    "latency": (
        functools.partial(measure.latency, nn.Identity(), SHAPE),
        {
            "batch_sizes": (4, "4", (), (0,), (1.5,), torch.zeros(3, 3), {1, 2}),
            "seconds": NUMBERS,
            "rounds": (*COUNTS, None),
            "warmup": (-1, "a", None),
            "threads": COUNTS,
        },
    ),
    "profile": (
        functools.partial(measure.profile, nn.Identity(), SHAPE),
        {"seconds": NUMBERS, "rounds": COUNTS, "warmup": (-1, "a"), "threads": COUNTS},
    ),
    "equivariance": (
        functools.partial(measure.equivariance, nn.Conv2d(3, 4, 3), X),
        {
            "transform": (5, None, ["flip"], "turn"),
            "border": (5, [], "most"),
            "layers": (5, "", [], [5], [["a"]], "head", ["nothing"]),
            "amount": ("a", 9, 1.5, (1, 2, 3), torch.rand(3, 3)),
        },
    ),
    "shift_consistency": (
        functools.partial(measure.shift_consistency, nn.Flatten(), X),
        {
            "max_shift": (*COUNTS, 8),
            "n": (*COUNTS, 2**70),
            "shifts": (5, [], "rol"),
            "seed": (-1, "a", None),
            "batch_size": (*COUNTS, None),
        },
    ),
    "gradient_flow": (
        functools.partial(measure.gradient_flow, Classifier(), X),
        {
            "target": (
                "a",
                [1],
                [9, 9],
                torch.zeros(7),
                object(),
                torch.zeros(2, dtype=X.cfloat().dtype),
            ),
            "loss": (5, "mse", lambda y, _: None, lambda y, _: 1 / 0),
        },
    ),
    "jacobian_singular_values": (
        functools.partial(measure.jacobian_singular_values, nn.Flatten(), X),
        {"k": (*COUNTS, 10**9), "layer": (5, ["a"], "a"), "seed": ("a", [], None)},
    ),
    "effective_receptive_field": (
        functools.partial(measure.effective_receptive_field, nn.Conv2d(3, 4, 3), X),
        {"layer": (5, ["a"], "nothing")},
    ),
    "compare_families": (
        functools.partial(measure.compare_families, cache=False),
        {
            "names": ("resnet8", 5, [], [5], [["resnet8"]]),
            "num_classes": ("a", -1, 1.5),
            "threads": COUNTS,
            "cache": (5, None, ""),
        },
    ),
    "choose": (
        functools.partial(measure.choose, input_shape=SHAPE),
        {
            "pattern": (5, None, ["resnet8"]),
            "target": (5, None, ["server"]),
            "task": (5, ["images"]),
            "cache": (5, None, ""),
            "n": (*COUNTS, None),
            "num_classes": (-1, "a"),
            "max_ms": ("a", -1, math.nan),
        },
    ),
    "singular_values": (
        functools.partial(measure.singular_values, nn.Conv2d(3, 4, 3), SHAPE),
        {"k": (*COUNTS, 10**9)},
    ),
    "at_batch": (measure.cost(nn.Identity(), SHAPE).at_batch, {"batch": (*COUNTS, None)}),
    "largest_batch": (measure.cost(nn.Identity(), SHAPE).largest_batch, {"memory": ("a", -1)}),
    "pareto_front": (
        measure.pareto_front,
        {"points": (5, [1.0, 2.0], [(1.0, "a")], [(1.0, 2.0, 3.0)], [(1.0, None)])},
    ),
    "temporal_receptive_field": (
        measure.temporal_receptive_field,
        {"num_layers": (10**12, 10**5000)},
    ),
    "bottleneck_against_plain": (
        measure.bottleneck_against_plain,
        {"channels": (2**40, *COUNTS), "reduction": COUNTS, "size": (None, "ab", 5)},
    ),
    "separable_against_standard": (
        measure.separable_against_standard,
        {"in_channels": (2**40,), "out_channels": (2**40,), "kernel_size": (2**40, "a")},
    ),
    "compound_scaling": (measure.compound_scaling, {"phi": ("a", None, math.inf, [1.0, 2.0])}),
}


@pytest.mark.parametrize(("name", "option"), [(n, o) for n, (_, os) in OPTIONS.items() for o in os])
def test_options_that_are_not_allowed(name: str, option: str) -> None:
    call, options = OPTIONS[name]
    for value in options[option]:
        assert refused(option, call, **{option: value})


@pytest.mark.parametrize("call", [measure.convolve, measure.cross_correlate])
def test_sums_over_what_is_no_tensor(call: Any) -> None:
    ones = torch.ones(3)
    for wrong in (None, [1.0, 2.0], np.ones(2), ones.to("meta"), ones.to_sparse()):
        assert refused("x (=", call, wrong, ones)
        assert refused("kernel (=", call, ones, wrong)
    assert refused("float8", call, ones.to(torch.float8_e4m3fn), ones)
    assert refused("x ()", call, torch.tensor(1.0), torch.tensor(1.0))
    for mode in (["full"], None, "ful"):
        assert refused("mode (=", call, ones, ones, mode=mode)


def test_numbers_and_sizes() -> None:
    assert arguments.whole(0, n=np.int64(3)) == 3
    assert type(arguments.whole(0, n=torch.tensor(3))) is int
    assert arguments.sizes((np.int8(1), 2)) == arguments.sizes(iter([1, 2])) == (1, 2)
    for none in (iter([1, True]), {1, 2}, "12", b"12", {1: 2}, 3, None, [[1]]):
        assert arguments.sizes(none) == ()
    assert "\n" not in arguments.shown(np.zeros((9, 9)))
    assert arguments.real(np.float32(0.5)) == arguments.real(torch.tensor(0.5)) == 0.5
    assert all(math.isnan(arguments.real(none)) for none in ("3", True, None, [1, 2], 10**400))
