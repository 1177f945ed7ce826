"""Widths, small-image stems and output strides, alone and in the networks that have them."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import convarium.models as models
from convarium.errors import OptionError
from convarium.layers import CONVOLUTIONS, SqueezeExcitation
from convarium.models.scaling import round_to_eight, steps

THIN = {
    "mobilenet_v1": {"width_multiplier": 0.25},
    "mobilenet_v2": {"width_multiplier": 0.2},
    "mobilenet_v3_small": {"width_multiplier": 0.25},
    "mobilenet_v3_large": {"width_multiplier": 0.25},
    "mnasnet0_5": {"width_multiplier": 0.2},
}


def thin(name, **options):
    """A thin network whose norms, gates and statistics are not what they start as."""
    torch.manual_seed(0)
    model = models.create(name, num_classes=7, **THIN[name], **options).double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.uniform_(tensor, -0.3, 0.3)
    return model


@given(st.floats(0.1, 5000))
def test_rounding_gives_a_near_multiple_of_eight_and_loses_less_than_a_tenth(channels):
    rounded = round_to_eight(channels)
    assert rounded % 8 == 0
    assert rounded >= max(8, 0.9 * channels)
    assert rounded <= max(8, channels + 8)
    if abs(rounded - channels) > 4 and channels >= 8:  # then the nearer one is a tenth too small
        assert rounded - 8 < 0.9 * channels


@given(
    st.lists(st.sampled_from([1, 2]), min_size=1, max_size=7),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([8, 16, 32]),
)
def test_strides_and_dilations_multiply_to_what_the_strides_were(strides, start, limit):
    whole = start * math.prod(strides)
    if limit != 32 and whole <= limit:
        with pytest.raises(OptionError, match=rf"output_stride \(={limit}\) has no effect"):
            steps(strides, start, limit)
        return
    places = steps(strides, start, limit)
    published = start
    for place, stride in zip(places, strides, strict=True):
        published *= stride
        assert place.halves == (stride == 2)
        assert place.reduction == min(published, limit)
        assert place.reduction * place.dilation == published
        assert place.at(0) == (place.stride, place.entry)
        assert place.at(1) == place.at(5) == (1, place.dilation)


@pytest.mark.parametrize("limit", [16, 8])
@pytest.mark.parametrize("name", THIN)
def test_every_position_of_the_coarse_map_is_found_in_the_dilated_one(name, limit):
    plain, dilated = thin(name), thin(name, output_stride=limit)
    for module in plain.modules():
        if isinstance(module, SqueezeExcitation):  # it sees the whole map, so it is held constant
            nn.init.zeros_(module.expand.weight)
            nn.init.uniform_(module.expand.bias, -2.0, 2.0)
    dilated.load_state_dict(plain.state_dict())
    assert [stage.reduction for stage in dilated.stages] == [
        min(stage.reduction, limit) for stage in plain.stages
    ]
    x = plain.example_input(1, size=(71, 64))
    step = 32 // limit
    fine, coarse = dilated.forward_features(x), plain.forward_features(x)
    assert fine.shape[2] == math.ceil(71 / limit)
    torch.testing.assert_close(fine[:, :, ::step, ::step], coarse)
    assert coarse.std() > 1e-3


@pytest.mark.parametrize("name", THIN)
def test_the_stem_for_small_images_only_leaves_its_stride_out(name):
    usual, small = thin(name), thin(name, stem="cifar")
    assert small.input_size == (32, 32)
    halves = [stage.reduction // 2 for stage in usual.stages]
    assert [stage.reduction for stage in small.stages] == halves
    assert small.stem.conv.stride == (1, 1)
    assert small.state_dict().keys() == usual.state_dict().keys()
    x = small.example_input(1)
    torch.testing.assert_close(small.stem(x)[:, :, ::2, ::2], usual.stem(x))
    with pytest.raises(OptionError, match=r"output_stride \(=16\) has no effect"):
        thin(name, stem="cifar", output_stride=16)


@pytest.mark.parametrize("name", THIN)
def test_with_tf_same_padding_the_stem_sees_one_position_further_on_even_sizes(name):
    usual, other = thin(name), thin(name, padding="tf_same")
    other.load_state_dict(usual.state_dict())
    x = usual.example_input(1, size=64)
    after = nn.functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]  # all zeros stand behind the image
    found, moved = other.stem(x), usual.stem(after)
    torch.testing.assert_close(found[:, :, 1:, 1:], moved[:, :, 1:, 1:])
    assert not torch.allclose(other(x), usual(x))


@pytest.mark.parametrize("name", THIN)
def test_momentum_and_eps_reach_every_norm(name):
    with torch.device("meta"):
        model = models.create(name, norm_eps=0.25, norm_momentum=0.5)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    convolutions = [m for m in model.modules() if isinstance(m, CONVOLUTIONS) and m.bias is None]
    assert len(norms) == len(convolutions)
    assert {(norm.eps, norm.momentum) for norm in norms} == {(0.25, 0.5)}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"width_multiplier": 0.0}, r"width_multiplier \(=0.0\) must be above 0"),
        (
            {"width_multiplier": math.inf},
            r"width_multiplier \(=inf\) must be above 0 and at most 100",
        ),
        ({"width_multiplier": 1e30}, r"width_multiplier \(=1e\+30\) must be above 0 and at most"),
        ({"width_multiplier": math.nan}, r"width_multiplier \(=nan\) must be above 0"),
        ({"norm_eps": -1e-3}, r"norm_eps \(=-0.001\) must be above 0"),
        ({"norm_momentum": 1.5}, r"norm_momentum \(=1.5\) must be at least 0 and below 1"),
        ({"dropout": 1.0}, r"dropout \(=1.0\) must be at least 0 and below 1"),
        ({"output_stride": 4}, r"output_stride \(=4\) must be one of 32, 16, 8"),
        ({"stem": "cifr"}, r"stem \(='cifr'\) must be one of .*Did you mean 'cifar'"),
        ({"width": 0.5}, r"has no option 'width'"),
    ],
)
@pytest.mark.parametrize("name", THIN)
def test_values_out_of_range_are_named(name, options, sentence):
    with pytest.raises(OptionError, match=sentence):
        models.create(name, **options)


@pytest.mark.parametrize("name", THIN)
def test_dropout_works_in_training_only(name):
    model = thin(name, dropout=0.5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    x = model.example_input(4, size=32)
    vector = model.embed(x)
    assert torch.equal(vector, model.embed(x))
    model.neck.train()
    dropped = model.embed(x)
    kept = dropped != 0
    assert 0.4 < kept[vector != 0].double().mean() < 0.6
    torch.testing.assert_close(dropped[kept], 2 * vector[kept])


def test_an_output_stride_of_32_leaves_every_stride_as_it_is():
    taken = steps([1, 2, 2, 2, 2], start=4, output_stride=32)
    assert [step.reduction for step in taken] == [4, 8, 16, 32, 64]
    assert all(step.dilation == step.entry == 1 for step in taken)
