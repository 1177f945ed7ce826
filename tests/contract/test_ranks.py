"""A network in 2-D (3-D) whose kernels are one position wide along all but the last axis computes
what the network in 1-D computes with the centre rows of its weights."""

import pytest
import torch
from specimens import SPECIMENS, of_fields, of_one_rank, outputs
from torch import nn

import convarium.models as models
from convarium.layers import CONVOLUTIONS
from convarium.models.registry import VARIANTS

POOLS = (nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool2d, nn.AvgPool3d)
ADAPTIVE = (nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)


def along_the_last(value, rank, neutral):
    last = value[-1] if isinstance(value, tuple) else value
    return (neutral,) * (rank - 1) + (last,)


def narrow(model, rank):
    """Make every kernel, stride, pool and padding neutral along all axes but the last."""
    for module in model.modules():
        if isinstance(module, (*CONVOLUTIONS, *POOLS)):
            module.stride = along_the_last(module.stride, rank, 1)
            module.padding = along_the_last(module.padding, rank, 0)
            module.kernel_size = along_the_last(module.kernel_size, rank, 1)
        elif isinstance(module, ADAPTIVE):
            module.output_size = along_the_last(module.output_size, rank, 1)
        elif isinstance(module, (nn.ZeroPad2d, nn.ZeroPad3d)):
            module.padding = (*module.padding[:2], *[0] * (2 * rank - 2))
        if isinstance(module, CONVOLUTIONS):
            centre = [slice(n // 2, n // 2 + 1) for n in module.weight.shape[2:-1]]
            module.weight = nn.Parameter(module.weight.detach()[(..., *centre, slice(None))])


def narrow_dense(wide, line, rank):
    """Take the centre rows of the linear layers that read every position."""
    modules = dict(line.named_modules())
    for name, module in wide.named_modules():
        if not isinstance(module, nn.Linear) or module.in_features == modules[name].in_features:
            continue
        ratio = module.in_features // modules[name].in_features
        side = round(ratio ** (1 / (rank - 1)))
        weight = module.weight.detach().unflatten(1, (-1, *[side] * rank))
        centre = weight[(slice(None), slice(None), *[side // 2] * (rank - 1))]
        module.weight = nn.Parameter(centre.flatten(1))


def line_and_narrowed(name, options, rank):
    """Both networks, with the same weights and statistics that matter."""
    torch.manual_seed(0)
    more = {**outputs(name, 5), **({"in_channels": 5} if of_fields(name) else {})}
    line = models.create(name, spatial_dims=1, **more, **options).double().eval()
    if of_fields(name):
        more["factor"] = [1] * (rank - 1) + line.config["factor"]
    wide = models.create(name, spatial_dims=rank, **(options | more)).double().eval()
    for key, tensor in wide.named_buffers():
        if key.endswith(("running_mean", "running_var")):
            nn.init.uniform_(tensor, 0.5, 1.5)
    narrow(wide, rank)
    narrow_dense(wide, line, rank)
    own = line.state_dict()
    state = {key: tensor.reshape(own[key].shape) for key, tensor in wide.state_dict().items()}
    line.load_state_dict(state)
    return line, wide


def assert_equal(name, options, rank, size):
    line, wide = line_and_narrowed(name, options, rank)
    x = line.example_input(2, size=size)
    y = x.reshape(2, line.in_channels, *[1] * (rank - 1), size)
    with torch.no_grad():
        expected = line(x)
        torch.testing.assert_close(wide(y).reshape(expected.shape), expected)
        for a, b in zip(wide.features(y), line.features(x), strict=True):
            torch.testing.assert_close(a.reshape(b.shape), b)


# lenet5 is made for one size along every axis.
KINDS = [k for k, (name, _, _) in SPECIMENS.items() if k != "lenet5" and not of_one_rank(name)]
NAMES = [v.name for v in VARIANTS if v.name != "lenet5" and not of_one_rank(v.name)]


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_narrowed_network_computes_what_the_1d_network_computes(kind, rank):
    name, options, size = SPECIMENS[kind]
    assert_equal(name, options, rank, size)


SAME_AT_EVERY_RANK = {"convnet": {"channels": [8, 16, 24]}}  # its own widths differ by rank


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_every_variant_narrowed_computes_what_its_1d_form_computes(name):
    assert_equal(name, SAME_AT_EVERY_RANK.get(name, {}), 2, 71)
