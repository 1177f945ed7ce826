import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import convarium.models as models
from convarium.errors import OptionError


@pytest.mark.parametrize(
    ("rank", "channels"), [(1, [64, 128, 256]), (2, [32, 64, 128]), (3, [16, 32, 64])]
)
def test_the_default_channels_follow_the_rank(rank, channels):
    model = models.create("convnet", spatial_dims=rank)
    assert [stage.channels for stage in model.stages] == channels
    assert model.config["channels"] == channels


@given(
    rank=st.integers(1, 3),
    channels=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    data=st.data(),
    norm=st.sampled_from(["batch", "group", "layer", "none"]),
    activation=st.sampled_from(["relu", "gelu", "tanh"]),
    pool=st.sampled_from(["max", "avg", "none"]),
    classes=st.integers(0, 4),
)
def test_any_list_of_channels_and_kernels_gives_maps_of_the_stated_size(
    rank, channels, data, norm, activation, pool, classes
):
    kernels = data.draw(st.lists(st.integers(1, 5), min_size=len(channels), max_size=len(channels)))
    model = models.create(
        "convnet",
        spatial_dims=rank,
        in_channels=2,
        num_classes=classes,
        channels=channels,
        kernel_sizes=kernels,
        norm=norm,
        activation=activation,
        pool=pool,
    ).eval()
    x = model.example_input(2, size=8)
    for stage, y in zip(model.stages, model.features(x), strict=True):
        assert tuple(y.shape) == (2, stage.channels, *[8 // stage.reduction] * rank)
    assert model(x).shape == (2, classes or channels[-1])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"channels": []}, r"channels \(=\[\]\) must have at least one entry"),
        ({"channels": [8, 0]}, r"channels \(=\[8, 0\]\) must be 1 or more"),
        ({"kernel_sizes": 0}, r"kernel_sizes \(=\[0, 0, 0\]\) must be 1 or more"),
        ({"dropout": 1.0}, r"dropout \(=1.0\)"),
        ({"norm": "bach"}, r"norm \(='bach'\) must be one of .* Did you mean 'batch'"),
        ({"pool": "mean"}, r"pool \(='mean'\) must be one of 'max', 'avg', 'none'"),
    ],
)
def test_values_out_of_range_are_named(options, sentence):
    with pytest.raises(OptionError, match=sentence):
        models.create("convnet", **options)


def test_dropout_and_norm_are_where_they_are_asked_for():
    model = models.create("convnet", dropout=0.25, norm="group")
    kinds = [type(m) for m in model.modules()]
    assert kinds.count(nn.GroupNorm) == 3
    assert {m.p for m in model.stage2.modules() if isinstance(m, nn.Dropout)} == {0.25}


def test_a_signal_shorter_than_the_kernel_is_padded():
    model = models.create("convnet", spatial_dims=1, kernel_sizes=9, pool="none").eval()
    assert model(torch.zeros(1, 3, 2)).shape == (1, 10)
