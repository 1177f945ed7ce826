"""A network in 2-D (3-D) whose kernels are one position wide along all but the last axis computes
what the network in 1-D computes."""

import pytest
import torch
from torch import nn

import convarium.models as models
from convarium.layers import CONVOLUTIONS

POOLS = (nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool2d, nn.AvgPool3d)

SPECIMENS = [
    ("convnet", {"channels": [4, 6], "kernel_sizes": [3, 4]}),
    ("convnet", {"channels": [4, 6], "norm": "layer", "activation": "gelu", "pool": "avg"}),
    ("convnet", {"channels": [4, 6], "norm": "group", "dropout": 0.2, "pool": "none"}),
    ("resnet8", {"widths": [4, 6, 8], "stem": "imagenet"}),
    ("resnet8", {"widths": [4, 6, 8], "shortcut": "pad", "stem": "pool"}),
    ("resnet8", {"widths": [4, 6, 8], "shortcut": "none"}),
    ("resnet8", {"widths": [8, 8, 8], "block": "bottleneck", "groups": 2, "width_per_group": 32}),
    ("resnet8", {"widths": [4, 6, 8], "order": "pre"}),
    ("resnet8", {"widths": [8, 8, 8], "order": "pre", "block": "bottleneck"}),
]


def last_axis_only(value, rank, neutral):
    last = value[-1] if isinstance(value, tuple) else value
    return (neutral,) * (rank - 1) + (last,)


def narrow(model, rank):
    """Make every kernel, stride and padding neutral along all axes but the last."""
    for module in model.modules():
        if isinstance(module, (*CONVOLUTIONS, *POOLS)):
            module.kernel_size = last_axis_only(module.kernel_size, rank, 1)
            module.stride = last_axis_only(module.stride, rank, 1)
            module.padding = last_axis_only(module.padding, rank, 0)
        elif isinstance(module, (nn.ZeroPad2d, nn.ZeroPad3d)):
            module.padding = (*module.padding[:2], *[0] * (2 * rank - 2))
        if isinstance(module, CONVOLUTIONS):
            weight = module.weight[(..., *[slice(0, 1)] * (rank - 1), slice(None))]
            module.weight = nn.Parameter(weight.detach())


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize(("name", "options"), SPECIMENS)
def test_a_narrowed_network_computes_what_the_1d_network_computes(name, options, rank):
    torch.manual_seed(0)
    line = models.create(name, spatial_dims=1, **options).double().eval()
    wide = models.create(name, spatial_dims=rank, **options).double().eval()
    for buffer in line.buffers():
        if buffer.is_floating_point():
            nn.init.uniform_(buffer, 0.5, 1.5)
    narrow(wide, rank)
    own = wide.state_dict()
    wide.load_state_dict(
        {key: tensor.reshape(own[key].shape) for key, tensor in line.state_dict().items()}
    )
    x = line.example_input(2, size=37)
    y = x.reshape(2, 3, *[1] * (rank - 1), 37)
    torch.testing.assert_close(wide(y), line(x))
    for a, b in zip(wide.features(y), line.features(x), strict=True):
        torch.testing.assert_close(a.reshape(b.shape), b)
