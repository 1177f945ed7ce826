import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convarium.models as models
from convarium.errors import OptionError
from convarium.layers import CONVOLUTIONS

# From timm 1.0.31 and torchvision 0.28.0, which count the same for the same width.
PARAMETERS = {0.35: 1_677_128, 1.0: 3_504_872, 1.4: 6_108_776}
DEEP = {"mobilenet_v2_110d": 4_516_520, "mobilenet_v2_120d": 5_831_144}

# Sandler et al. 2018, table 2: expansion t, channels c, blocks n, stride s.
TABLE_2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def on_meta(name="mobilenet_v2", **options):
    with torch.device("meta"):
        return models.create(name, **options)


def count(model):
    return sum(p.numel() for p in model.parameters())


def blocks(model):
    return [block for stage in model.stages for block in model.get_submodule(stage.name).children()]


@pytest.mark.parametrize("width", PARAMETERS)
def test_parameter_counts_are_the_published_ones(width):
    assert count(on_meta(width_multiplier=width)) == PARAMETERS[width]


@pytest.mark.parametrize("name", DEEP)
def test_the_deeper_networks_have_timms_counts(name):
    assert count(on_meta(name)) == DEEP[name]


def test_multiply_adds_are_the_published_ones():
    model, total = on_meta().eval(), []

    def add(module, _, y):
        total.append(module.weight.numel() * math.prod(y.shape[2:]))

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(add)
    model(model.example_input(1))
    assert round(sum(total) / 1e6) == 301


def test_the_blocks_are_those_of_table_2():
    rows = [(t, c, s if k == 0 else 1) for t, c, n, s in TABLE_2 for k in range(n)]
    before = 32
    for block, (t, c, s) in zip(blocks(on_meta()), rows, strict=True):
        conv = block.depthwise.conv
        assert conv.in_channels == conv.groups == t * before
        assert (conv.stride, conv.kernel_size) == ((s, s), (3, 3))
        assert block.project.conv.out_channels == c
        assert isinstance(block.expand, nn.Identity) == (t == 1)
        assert block.residual == (s == 1 and before == c)
        before = c


def test_a_stage_names_its_blocks_by_the_rows_it_holds():
    model = on_meta()
    assert list(dict(model.stage4.named_children())) == ["a0", "a1", "a2", "a3", "b0", "b1", "b2"]
    assert [(stage.channels, stage.reduction) for stage in model.stages] == [
        (16, 2),
        (24, 4),
        (32, 8),
        (96, 16),
        (320, 32),
    ]


def test_a_block_is_computed_as_figure_4_draws_it():
    torch.manual_seed(0)
    block = models.create("mobilenet_v2").double().eval().stage2.a1
    x = 5 * torch.randn(2, 24, 6, 6, dtype=torch.float64)
    p = block.state_dict()
    small = 1 / math.sqrt(1 + 1e-5)  # what a fresh norm does in evaluation
    y = (F.conv2d(x, p["expand.conv.weight"]) * small).clamp(0, 6)
    y = (F.conv2d(y, p["depthwise.conv.weight"], padding=1, groups=144) * small).clamp(0, 6)
    y = F.conv2d(y, p["project.conv.weight"]) * small
    torch.testing.assert_close(block(x), x + y)


def test_a_block_that_halves_the_map_has_no_shortcut_also_when_dilated():
    thin = blocks(on_meta(width_multiplier=0.1, output_stride=8))
    assert [block.residual for block in thin[3:6]] == [False, True, True]  # 8 to 8 channels, s = 2
    assert [block.residual for block in thin[6:8]] == [False, True]
    assert thin[6].depthwise.conv.stride == (1, 1)


def test_the_last_map_grows_but_never_shrinks_below_1280():
    widths = {0.5: 1280, 1.0: 1280, 1.4: 1792}
    for width, features in widths.items():
        assert on_meta(width_multiplier=width).num_features == features
    fixed = on_meta(width_multiplier=1.4, fixed_ends=True)
    assert (fixed.stem.conv.out_channels, fixed.num_features) == (32, 1280)


@pytest.mark.parametrize(("fixed", "depths"), [(False, [2, 3, 4, 9, 6]), (True, [1, 3, 4, 9, 5])])
def test_the_depth_multiplier_rounds_up_and_can_leave_the_ends(fixed, depths):
    model = on_meta(depth_multiplier=1.2, fixed_ends=fixed)
    assert [len(model.get_submodule(stage.name)) for stage in model.stages] == depths


def test_options_without_effect_are_errors():
    with pytest.raises(OptionError, match=r"fixed_ends \(=True\) has no effect without a mult"):
        on_meta(fixed_ends=True)
    with pytest.raises(OptionError, match=r"depth_multiplier \(=0.0\) must be above 0"):
        on_meta(depth_multiplier=0.0)


def test_weights_start_as_in_torchvision():
    torch.manual_seed(0)
    model = models.create("mobilenet_v2")
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
            assert (module.eps, module.momentum) == (1e-5, 0.1)
    z = model.head.weight.detach().double() / 0.01
    assert abs(z.std().item() - 1) < 0.005
    assert abs((z**4).mean().item() - 3) < 0.1
    assert (model.head.bias == 0).all()
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.2]
