import pytest
from torch import nn

from convarium import layers
from convarium.errors import OptionError


def test_a_rank_is_one_integer_looked_up_in_one_place():
    for rank in (1, 2, 3):
        found = layers.torch_layers(rank)
        assert found.conv is getattr(nn, f"Conv{rank}d")
        assert found.batch_norm is getattr(nn, f"BatchNorm{rank}d")
        assert found.instance_norm is getattr(nn, f"InstanceNorm{rank}d")
        assert found.max_pool is getattr(nn, f"MaxPool{rank}d")
        assert found.avg_pool is getattr(nn, f"AvgPool{rank}d")
        assert found.adaptive_avg_pool is getattr(nn, f"AdaptiveAvgPool{rank}d")
        assert found.adaptive_max_pool is getattr(nn, f"AdaptiveMaxPool{rank}d")
        assert found.zero_pad is getattr(nn, f"ZeroPad{rank}d")
        assert found.channel_dropout is getattr(nn, f"Dropout{rank}d")


@pytest.mark.parametrize("rank", [0, 4, "2d", None])
def test_another_rank_is_refused_with_the_allowed_ones(rank):
    with pytest.raises(OptionError, match=r"spatial_dims .* must be 1 .* 2 .* or 3"):
        layers.torch_layers(rank)
