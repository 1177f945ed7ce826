"""torch.compile without a graph break, and strict torch.export: one net per kind of block here,
every variant in the long run.

A strict export captures one graph as the compiler does. So the first kind of each family is
exported, the others are compiled, and the long run does both for all.
"""

import pytest
import torch
from specimens import SPECIMENS
from torch import nn

import convarium.models as models
from convarium.models import registry

TINY = {"depths": [1, 1], "widths": [8, 16]}
FAMILIES = {kind: registry.find(name).family for kind, (name, _, _) in SPECIMENS.items()}
FIRST = {family: kind for kind, family in reversed(FAMILIES.items())}.values()


def kinds(first):
    """The first kind of each family, or the others; the rest in the long run."""
    return [
        kind if (kind in FIRST) == first else pytest.param(kind, marks=pytest.mark.long)
        for kind in SPECIMENS
    ]


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def compiled(model):
    """`model` as one graph: a break is an error."""
    return torch.compile(model, fullgraph=True, backend="eager")


def exported(model, x):
    """The strict export of `model`, for any batch from 2 to 64."""
    batch = torch.export.Dim("batch", min=2, max=64)
    return torch.export.export(model, (x,), dynamic_shapes=({0: batch},), strict=True).module()


def specimen(kind):
    torch.manual_seed(0)
    name, options, size = SPECIMENS[kind]
    return models.create(name, **options).eval(), size


@pytest.mark.parametrize("kind", kinds(first=False))
def test_every_kind_of_block_compiles_without_a_graph_break(kind):
    model, size = specimen(kind)
    x = model.example_input(2, size=size)
    torch.testing.assert_close(compiled(model)(x), model(x))


@pytest.mark.parametrize("kind", kinds(first=True))
def test_every_kind_of_block_exports_strictly_with_any_batch(kind):
    model, size = specimen(kind)
    program = exported(model, model.example_input(2, size=size))
    for n in (2, 3):
        again = model.example_input(n, size=size, seed=n)
        torch.testing.assert_close(program(again), model(again))


@pytest.mark.parametrize("frugal", [False, True])
def test_a_training_step_compiles_and_gives_the_same_gradients(frugal):
    torch.manual_seed(0)
    model = models.create("resnet8", **TINY)
    model.use_gradient_checkpointing(frugal)
    x = model.example_input(2, size=16)
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    results = []
    for run in (model, torch.compile(model, fullgraph=True, backend="aot_eager")):
        model.load_state_dict(state)
        model.zero_grad()
        run(x).square().mean().backward()
        results.append(
            [p.grad.clone() for p in model.parameters()] + [b.clone() for b in model.buffers()]
        )
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


def settled(model, x):
    """In eval mode, with the averages of `x`: fresh ones let 1001 layers overflow."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model.train()(x)
    return model.eval()


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", [variant.name for variant in registry.VARIANTS])
def test_every_variant_compiles_and_exports(name):
    torch.manual_seed(0)
    model = models.create(name)
    x = model.example_input(2, size=64 if model.input_size[0] == 224 else None)
    settled(model, x)
    assert model(x).isfinite().all()
    torch.testing.assert_close(compiled(model)(x), model(x))
    program = exported(model, x)
    for n in (2, 3):
        again = model.example_input(n, size=tuple(x.shape[2:]), seed=n)
        torch.testing.assert_close(program(again), model(again))
