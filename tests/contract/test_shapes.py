"""Any batch, size, number of channels and classes: shapes follow, and the memory order is free."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from specimens import SEQUENCES, SPECIMENS, of_fields

import convarium.models as models

# Convolutions or pools that cut the border off, or one fixed size.
UNPADDED = ("lenet5", "alexnet", "squeezenet")
PADDED = [
    kind
    for kind, (name, _, _) in SPECIMENS.items()
    if not name.startswith(UNPADDED) and not of_fields(name)
]
FIELDS = [kind for kind, (name, _, _) in SPECIMENS.items() if of_fields(name)]


@pytest.mark.parametrize("kind", PADDED)
@settings(max_examples=6)
@given(
    batch=st.integers(1, 3),
    height=st.integers(33, 80),
    width=st.integers(33, 80),
    in_channels=st.integers(1, 5),
    num_classes=st.integers(0, 7),
)
def test_shapes_follow_from_the_stages(kind, batch, height, width, in_channels, num_classes):
    name, options, _ = SPECIMENS[kind]
    shape = {"in_channels": in_channels, "num_classes": num_classes}
    if name == "text_cnn":
        del shape["in_channels"]
    with torch.no_grad():
        model = models.create(name, **(options | shape)).eval()
        sides = (height, width)[: model.spatial_dims]
        x = model.example_input(batch, sides)
        maps, last, y = model.features(x), model.forward_features(x), model(x)
    for stage, found in zip(model.stages, maps, strict=True):
        assert found.shape[:2] == (batch, stage.channels)
        for positions, given_positions in zip(found.shape[2:], sides, strict=True):
            exact = given_positions / stage.reduction
            assert exact - 1 < positions < exact + 1
    assert last.shape[2:] == maps[-1].shape[2:]
    assert y.shape == (batch, num_classes or model.num_features)


@pytest.mark.parametrize("kind", FIELDS)
@settings(max_examples=6)
@given(
    batch=st.integers(1, 3),
    sizes=st.tuples(st.integers(8, 30), st.integers(8, 30)),
    factor=st.tuples(st.integers(1, 5), st.integers(2, 8)),
    more=st.integers(0, 2),
    targets=st.integers(1, 3),
)
def test_sizes_of_fields_follow_from_the_factor(kind, batch, sizes, factor, more, targets):
    name, options, _ = SPECIMENS[kind]
    shape = {"in_channels": targets + more, "out_channels": targets, "factor": list(factor)}
    with torch.no_grad():
        model = models.create(name, **(options | shape)).eval()
        x = model.example_input(batch, sizes)
        maps, y = model.features(x), model(x)
    for stage, found in zip(model.stages, maps, strict=True):
        assert found.shape[:2] == (batch, stage.channels)
        entered = zip(sizes, model.works_at, strict=True)
        for positions, (given_positions, finer) in zip(found.shape[2:], entered, strict=True):
            exact = given_positions * finer / stage.reduction
            assert exact - 1 < positions < exact + 1
    fine = tuple(n * r for n, r in zip(sizes, factor, strict=True))
    assert y.shape == (batch, len(model.parts) * targets, *fine)


@pytest.mark.parametrize("kind", [kind for kind in SPECIMENS if kind not in SEQUENCES])
def test_channels_last_gives_what_contiguous_gives(kind):
    torch.manual_seed(0)
    name, options, size = SPECIMENS[kind]
    model = models.create(name, **options).double().eval()
    x = model.example_input(2, size=size)
    expected = model(x)
    model = model.to(memory_format=torch.channels_last)
    found = model(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected)
