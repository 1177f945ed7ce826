import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convarium.models as models
from convarium.layers import CONVOLUTIONS

# From torchvision 0.28.0: parameters, millions of multiply-adds.
PUBLISHED = {
    "mnasnet0_5": (2_218_512, 104),
    "mnasnet0_75": (3_170_208, 215),
    "mnasnet1_0": (4_383_312, 314),
    "mnasnet1_3": (6_282_256, 526),
}

# The reference code's B1: our name of the row, blocks, kernel, expansion, stride.
B1 = (
    ("stage1.a", 1, 3, 1, 1),
    ("stage2.a", 3, 3, 3, 2),
    ("stage3.a", 3, 5, 3, 2),
    ("stage4.a", 3, 5, 6, 2),
    ("stage4.b", 2, 3, 6, 1),
    ("stage5.a", 4, 5, 6, 2),
    ("stage5.b", 1, 3, 6, 1),
)


def on_meta(name, **options):
    with torch.device("meta"):
        return models.create(name, **options)


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_and_multiply_adds_are_torchvisions(name):
    model, total = on_meta(name).eval(), []

    def add(module, _, y):
        total.append(module.weight.numel() * math.prod(y.shape[2:]))

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(add)
    model(model.example_input(1))
    parameters = sum(p.numel() for p in model.parameters())
    assert (parameters, round(sum(total) / 1e6)) == PUBLISHED[name]


@pytest.mark.parametrize("width", [0.1, 1.0])  # at 0.1, widths meet that differ at 1
def test_the_network_is_b1_computed_by_hand(width):
    torch.manual_seed(0)
    model = models.create("mnasnet1_0", width_multiplier=width, num_classes=5).double().eval()
    for buffer in model.buffers():
        if buffer.is_floating_point():
            nn.init.uniform_(buffer, 0.5, 1.5)
    p = model.state_dict()

    def layer(x, path, **options):
        x = F.conv2d(x, p[f"{path}.conv.weight"], **options)
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(p[f"{path}.norm.{key}"] for key in keys))

    x = model.example_input(2, size=48)
    y = F.relu(layer(x, "stem", stride=2, padding=1))
    for row, depth, k, expansion, stride in B1:
        for i in range(depth):
            s, z, wide = (stride if i == 0 else 1), y, expansion * y.shape[1]
            if expansion > 1:
                z = F.relu(layer(z, f"{row}{i}.expand"))
            z = F.relu(layer(z, f"{row}{i}.depthwise", stride=s, padding=k // 2, groups=wide))
            z = layer(z, f"{row}{i}.project")
            joined = expansion > 1 and s == 1 and z.shape == y.shape
            y = y + z if joined else z
    y = F.relu(layer(y, "final")).mean((2, 3))
    torch.testing.assert_close(model(x), y @ p["head.weight"].T + p["head.bias"])


@pytest.mark.parametrize(
    ("name", "stem", "channels"),
    [("mnasnet0_5", 16, [8, 16, 24, 48, 160]), ("mnasnet1_0", 32, [16, 24, 40, 96, 320])],
)
def test_the_width_leaves_the_last_map_alone(name, stem, channels):
    model = on_meta(name)
    assert model.stem.conv.out_channels == stem
    assert [stage.channels for stage in model.stages] == channels
    assert [stage.reduction for stage in model.stages] == [2, 4, 8, 16, 32]
    assert model.num_features == 1280


def test_weights_start_as_in_torchvision():
    torch.manual_seed(0)
    model = models.create("mnasnet1_0", num_classes=500)
    for name, module in model.named_modules():
        if isinstance(module, CONVOLUTIONS):
            fan_out = module.weight.shape[0] * math.prod(module.kernel_size)
            z = module.weight.detach().double() * math.sqrt(fan_out / 2)
            n = z.numel()
            assert abs(z.mean().item()) < 5 / math.sqrt(n), name
            assert abs(z.var().item() - 1) < 5 * math.sqrt(2 / n), name
            assert module.bias is None
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
            assert module.eps == 1e-5
            assert module.momentum == pytest.approx(1 - 0.9997)
    z = model.head.weight.detach().double() * math.sqrt(500 / 3)
    assert 0.9999 < z.abs().max().item() <= 1 + 1e-6
    assert abs(z.var().item() - 1 / 3) < 0.002
    assert (model.head.bias == 0).all()
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.2]
