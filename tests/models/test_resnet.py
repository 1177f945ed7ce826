import math
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convarium.models as models
from convarium.errors import OptionError
from convarium.layers import CONVOLUTIONS

PUBLISHED = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "wide_resnet50_2": 68_883_240,
    "wide_resnet101_2": 126_886_696,
    "resnext50_32x4d": 25_028_904,
    "resnext101_32x8d": 88_791_336,
    "resnext101_64x4d": 83_455_272,
    "resnetv2_50": 25_549_352,
    "resnet20_cifar": 269_722,
    "resnet32_cifar": 464_154,
    "resnet44_cifar": 658_586,
    "resnet56_cifar": 853_018,
    "resnet110_cifar": 1_727_962,
    "plain20_cifar": 269_722,
    "plain110_cifar": 1_727_962,
}


def on_meta(name, **options):
    with torch.device("meta"):
        return models.create(name, **options)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_are_the_published_ones(name):
    assert sum(p.numel() for p in on_meta(name).parameters()) == PUBLISHED[name]


def test_resnet18_with_ten_classes_has_the_known_count():
    assert sum(p.numel() for p in on_meta("resnet18", num_classes=10).parameters()) == 11_181_642


@pytest.mark.parametrize("name", models.list_models("*_cifar"))
def test_the_number_in_the_name_counts_the_weight_layers(name):
    modules = dict(on_meta(name).named_modules())
    layers = [
        key
        for key, module in modules.items()
        if isinstance(module, nn.Conv2d | nn.Linear) and not key.endswith("shortcut")
    ]
    assert len(layers) == int(re.fullmatch(r"[a-z]+(?:v2_)?(\d+)_cifar", name)[1])


def test_the_cifar_net_is_the_papers_computed_by_hand():
    torch.manual_seed(0)
    model = models.create("resnet20_cifar", depths=[1, 1, 1]).double().eval()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.running_mean)
    p = model.state_dict()

    def conv(x, name, stride=1):
        return F.conv2d(x, p[f"{name}.weight"], stride=stride, padding=1)

    def norm(x, name):
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(p[f"{name}.{key}"] for key in keys))

    x = model.example_input(2)
    y = F.relu(norm(conv(x, "stem.conv"), "stem.norm"))
    for i, stride in ((1, 1), (2, 2), (3, 2)):
        name = f"layer{i}.0"
        branch = F.relu(norm(conv(y, f"{name}.conv1", stride), f"{name}.norm1"))
        branch = norm(conv(branch, f"{name}.conv2"), f"{name}.norm2")
        around = y[:, :, ::stride, ::stride]
        zeros = torch.zeros_like(branch)[:, around.shape[1] :]
        y = F.relu(branch + torch.cat([around, zeros], 1))
    y = y.mean((2, 3)) @ p["head.weight"].T + p["head.bias"]
    torch.testing.assert_close(model(x), y)


def test_the_plain_twin_is_the_same_net_without_the_additions():
    torch.manual_seed(0)
    plain = models.create("plain20_cifar", depths=[1, 1, 1]).eval()
    residual = models.create("resnet20_cifar", depths=[1, 1, 1]).eval()
    residual.load_state_dict(plain.state_dict())
    x = plain.example_input(2)
    assert not torch.allclose(plain(x), residual(x))
    y = plain.stem(x)
    for i in (1, 2, 3):
        block = plain.get_submodule(f"layer{i}.0")
        y = F.relu(block.norm2(block.conv2(F.relu(block.norm1(block.conv1(y))))))
    torch.testing.assert_close(plain.forward_features(x), y)


@pytest.mark.parametrize(
    ("stem", "reductions"), [("imagenet", [4, 8, 16]), ("cifar", [1, 2, 4]), ("pool", [2, 4, 8])]
)
def test_the_stem_decides_the_reduction(stem, reductions):
    model = on_meta("resnet8", stem=stem)
    assert [stage.reduction for stage in model.stages] == reductions
    assert model.stem.conv.kernel_size[0] == (7 if stem == "imagenet" else 3)


def test_v1_5_strides_in_the_3x3_and_the_2015_form_in_the_first_1x1():
    late, early = on_meta("resnet50"), on_meta("resnet50", stride_in="1x1")
    for i in (2, 3, 4):
        a, b = (m.get_submodule(f"layer{i}.0") for m in (late, early))
        assert (a.conv1.stride, a.conv2.stride) == ((1, 1), (2, 2))
        assert (b.conv1.stride, b.conv2.stride) == ((2, 2), (1, 1))


def test_pre_activation_nets_end_their_features_after_norm_and_relu():
    torch.manual_seed(0)
    model = models.create("resnetv2_50", depths=[1, 1, 1, 1]).eval()
    x = model.example_input(1, size=64)
    last = model.features(x)[-1]
    features = model.forward_features(x)
    torch.testing.assert_close(features, F.relu(model.final.norm(last)))
    assert model.heatmap_layer == "final"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"groups": 2}, r"groups \(=2\) has no effect on basic blocks"),
        ({"width_per_group": 128}, r"width_per_group \(=128\) has no effect"),
        ({"stride_in": "1x1"}, r"stride_in \(='1x1'\) has no effect on basic blocks"),
        ({"zero_gamma": True, "order": "pre"}, r"zero_gamma .* use order='post'"),
        ({"zero_gamma": True, "shortcut": "none"}, r"zero_gamma .* needs .* a shortcut"),
        ({"zero_gamma": True, "norm": "none"}, r"zero_gamma .* needs a norm"),
        ({"depths": [1, 1]}, r"depths .*2 long.* and widths .*4 long"),
        ({"widths": [8, 8, 8, -8]}, r"widths .* must be 1 or more"),
        ({"dropout": -0.1}, r"dropout \(=-0.1\)"),
    ],
)
def test_options_without_effect_or_out_of_range_are_errors(options, sentence):
    with pytest.raises(OptionError, match=sentence):
        models.create("resnet18", **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"block": "bottleneck", "groups": 4, "width_per_group": 16},
        {"order": "pre"},
        {"order": "pre", "block": "bottleneck"},
    ],
)
def test_weights_start_as_the_papers_say(options):
    torch.manual_seed(0)
    model = models.create("resnet8", **options)
    for name, module in model.named_modules():
        if isinstance(module, CONVOLUTIONS):
            fan_out = module.weight.shape[0] * math.prod(module.kernel_size)
            z = module.weight.detach().double() * math.sqrt(fan_out / 2)
            n = z.numel()
            assert abs(z.mean().item()) < 5 / math.sqrt(n), name
            assert abs(z.var().item() - 1) < 5 * math.sqrt(2 / n), name
            assert abs((z**4).mean().item() - 3) < 5 * math.sqrt(96 / n), name
            assert module.bias is None
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
            assert module.momentum == 0.1
        elif isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            for tensor in (module.weight, module.bias):
                assert tensor.abs().max().item() <= bound
            assert abs(module.weight.std().item() / bound - 3**-0.5) < 0.03


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_with_zero_gamma_every_block_starts_as_its_shortcut(block):
    torch.manual_seed(0)
    model = models.create("resnet18", block=block, zero_gamma=True, stem="cifar").eval()
    x = torch.randn(2, model.stages[1].channels, 4, 4)
    assert torch.equal(model.layer2[1](x), F.relu(x))


def test_a_layer_without_channels_names_both_options():
    options = {"block": "bottleneck", "depths": [1, 1], "widths": [16, 32]}
    with pytest.raises(OptionError, match=r"widths \(=\[16, 32\]\) and width_per_group \(=2\)"):
        models.create("resnet18", width_per_group=2, **options)
    models.create("resnet18", width_per_group=4, **options)
