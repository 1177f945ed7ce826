"""The stem whitens, the stages hand on, and a network that has its start keeps it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import convarium.models as models
from convarium.errors import OptionError, ShapeError
from convarium.models.speednet import patches


def related(rank, channels, side, samples=40):
    """Inputs whose neighbours and channels go together."""
    drawn = torch.Generator().manual_seed(rank)
    x = torch.randn(samples, channels, *[side] * rank, generator=drawn)
    return x + x.roll(1, -1) + 2 * x.flip(1)


@pytest.mark.parametrize(("rank", "side"), [(1, 64), (2, 16), (3, 8)])
def test_the_stem_makes_patches_uncorrelated(rank, side):
    model = models.create("speednet", spatial_dims=rank, in_channels=2, patch=3)
    x = related(rank, 2, side)
    model.start_from(x)
    inside = (slice(None), slice(None), *[slice(1, -1)] * rank)
    y = model.stem.conv(x)[inside].movedim(1, 0).flatten(1).double()
    half = len(y) // 2
    moments = y @ y.T / y.shape[1]
    rows = patches(x, 3)
    v = torch.linalg.eigvalsh(rows.T @ rows / len(rows)).flip(0)
    expected = torch.diag(v / (v + 5e-4))
    assert torch.allclose(moments[:half, :half], expected, atol=1e-4)
    strongest = model.stem.conv.weight[:half].flatten(1)
    assert (strongest.gather(1, strongest.abs().argmax(1, keepdim=True)) > 0).all()
    assert torch.allclose(y[half:], -y[:half])


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(3, 5))
def test_patches_are_those_of_torch(samples, channels, side, length):
    x = torch.randn(samples, channels, length, length)
    expected = torch.nn.functional.unfold(x, side).transpose(1, 2).flatten(0, 1).double()
    assert torch.equal(patches(x, side), expected)


def test_the_first_filters_hand_on_what_comes_in():
    model = models.create("speednet", in_channels=3)
    assert 2 * 3 * model.config["patch"] ** 2 <= model.stages[0].channels
    for stage in model.stages:
        block = model.get_submodule(stage.name)[0]
        for conv in (block.conv1, block.conv2):
            x = torch.randn(2, conv.in_channels, 6, 6)
            n = min(conv.in_channels, conv.out_channels)
            assert torch.allclose(conv(x)[:, :n], x[:, :n], atol=1e-6)


def test_a_start_is_made_once_and_kept_with_the_weights():
    model = models.create("speednet", in_channels=1)
    assert model.start_samples > 0
    model.start_from(related(2, 1, 8))
    twin = models.create("speednet", in_channels=1)
    twin.load_state_dict(model.state_dict())
    assert model.start_samples == twin.start_samples == 0
    assert torch.equal(model.stem.conv.weight, twin.stem.conv.weight)


def test_an_even_patch_and_inputs_that_never_change():
    model = models.create("speednet", in_channels=1, patch=4).eval()
    model.start_from(torch.ones(4, 1, 8, 8))
    assert model.stem.conv[-1].weight.isfinite().all()
    assert model(torch.ones(2, 1, 8, 8)).isfinite().all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(OptionError, match=r"widths \(=\[\]\)"):
        models.create("speednet", widths=[])
    with pytest.raises(OptionError, match=r"patch \(=0\)"):
        models.create("speednet", patch=0)
    with pytest.raises(ShapeError, match="8 positions"):
        models.create("speednet").start_from(torch.ones(1, 3, 4, 4))
