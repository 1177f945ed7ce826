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
    "resnetv2_101": 44_541_480,
    "resnetv2_200": 64_666_152,
    "resnext101_32x4d": 44_177_704,
    "resnetblur50": 25_557_032,
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


@pytest.mark.parametrize(("depth", "factor"), [(16, 8), (40, 4), (28, 10)])
def test_wide_nets_have_the_weights_that_their_table_adds_up_to(depth, factor):
    n, widths, total = (depth - 4) // 6, [16 * factor, 32 * factor, 64 * factor], 9 * 3 * 16
    before = 16
    for width in widths:
        for i in range(n):
            total += 2 * before + 9 * before * width + 2 * width + 9 * width * width
            total += before * width if i == 0 else 0  # the projection
            before = width
    total += 2 * before + before * 10 + 10
    model = on_meta(f"wrn_{depth}_{factor}")
    assert sum(p.numel() for p in model.parameters()) == total
    assert sum(isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) for m in model.modules()) == (
        depth - 3  # and the linear layer, and three projections that the paper counts
    )


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
        ({"drop_path": 1.0}, r"drop_path \(=1.0\)"),
        ({"drop_path": 0.1, "shortcut": "none"}, r"drop_path \(=0.1\) needs a shortcut"),
        ({"stem_width": 0}, r"stem_width \(=0\) must be 1 or more"),
        ({"downsample": "blur", "output_stride": 8}, r"downsample \(='blur'\) needs a stride"),
        (
            {"downsample": "blur", "stem": "cifar", "depths": [1], "widths": [8]},
            r"downsample \(='blur'\) needs a stride",
        ),
        ({"output_stride": 8, "stem": "cifar"}, r"output_stride \(=8\) has no effect"),
        ({"output_stride": 4}, r"output_stride \(=4\) must be one of 32, 16, 8"),
        ({"downsample": "pool"}, r"downsample \(='pool'\) must be one of 'stride', 'blur'"),
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


FORMS = {
    "basic": {},
    "pad": {"shortcut": "pad"},
    "same widths": {"widths": [8, 8, 8, 8]},
    "bottleneck": {"block": "bottleneck"},
    "2015": {"block": "bottleneck", "stride_in": "1x1"},
    "pre": {"order": "pre"},
    "pre bottleneck": {"order": "pre", "block": "bottleneck"},
}


def shuffled(model):
    """Running statistics and scales as after a training, in double precision."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.ndim == 1:
            nn.init.uniform_(tensor, 0.5, 1.5)
    return model.double().eval()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("output_stride", "factors"), [(16, [1, 1, 1, 2]), (8, [1, 1, 2, 4])])
def test_dilated_maps_hold_the_strided_ones_at_every_second_or_fourth_place(
    form, output_stride, factors
):
    torch.manual_seed(0)
    options = {"depths": [2, 2, 2, 2], "widths": [8, 8, 16, 16], "num_classes": 3, **FORMS[form]}
    strided = shuffled(models.create("resnet18", **options))
    dense = models.create("resnet18", output_stride=output_stride, **options).double().eval()
    dense.load_state_dict(strided.state_dict())  # the same keys and shapes
    assert dense.stages[-1].reduction == output_stride
    x = strided.example_input(1, size=(64, 71))
    for a, b, factor in zip(strided.features(x), dense.features(x), factors, strict=True):
        torch.testing.assert_close(b[..., ::factor, ::factor], a)


def test_dilation_is_where_the_published_networks_for_segmentation_have_it():
    model = on_meta("resnet50", output_stride=8)
    found = [
        [(block.conv2.stride[0], block.conv2.dilation[0]) for block in getattr(model, f"layer{i}")]
        for i in (1, 2, 3, 4)
    ]
    assert found[0] == [(1, 1)] * 3
    assert found[1] == [(2, 1)] + [(1, 1)] * 3
    assert found[2] == [(1, 1)] + [(1, 2)] * 5
    assert found[3] == [(1, 2)] + [(1, 4)] * 2


def test_drop_path_rises_in_equal_steps_and_evaluation_knows_nothing_of_it():
    torch.manual_seed(0)
    model = models.create("resnet18", widths=[4, 4, 4, 4], drop_path=0.35)
    found = [
        0.0 if block.drop_path is None else block.drop_path.probability
        for i in (1, 2, 3, 4)
        for block in getattr(model, f"layer{i}")
    ]
    assert found == pytest.approx([0.05 * i for i in range(8)])
    plain = models.create("resnet18", widths=[4, 4, 4, 4])
    plain.load_state_dict(model.state_dict())
    x = model.example_input(2, size=64)
    assert torch.equal(model.eval()(x), plain.eval()(x))
    assert not torch.equal(model.train()(x), plain.train()(x))


def blurred(x):
    taps = torch.tensor([1.0, 2.0, 1.0], dtype=x.dtype) / 4
    kernel = torch.outer(taps, taps).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), kernel, stride=2, groups=x.shape[1])


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_blur_pools_take_the_strides_of_pool_and_branches_computed_by_hand(block):
    torch.manual_seed(0)
    options = {"depths": [1, 1], "widths": [8, 8], "block": block, "num_classes": 3}
    model = shuffled(models.create("resnet18", downsample="blur", **options))
    plain = models.create("resnet18", **options)
    assert list(model.state_dict()) == list(plain.state_dict())
    x = model.example_input(2, size=32)
    stem, unit = model.stem, model.layer2[0]
    y = F.relu(stem.norm(F.conv2d(x, stem.conv.weight, stride=2, padding=3)))
    y = model.layer1(blurred(F.max_pool2d(y, 3, stride=1, padding=1)))
    around = unit.shortcut[1](F.conv2d(y, unit.shortcut[0].weight, stride=2))
    if block == "basic":
        z = F.relu(unit.norm1(F.conv2d(y, unit.conv1.weight, padding=1)))
        z = unit.norm2(F.conv2d(blurred(z), unit.conv2.weight, padding=1))
    else:
        z = F.relu(unit.norm1(F.conv2d(y, unit.conv1.weight)))
        z = F.relu(unit.norm2(F.conv2d(z, unit.conv2.weight, padding=1)))
        z = unit.norm3(F.conv2d(blurred(z), unit.conv3.weight))
    torch.testing.assert_close(model.forward_features(x), F.relu(z + around))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("stem", ["imagenet", "pool", "cifar"])
def test_blurred_nets_have_the_sizes_of_strided_ones(rank, stem):
    options = {"widths": [4, 4, 4], "depths": [1, 1, 1], "stem": stem, "spatial_dims": rank}
    strided, blurry = (on_meta("resnet18", downsample=d, **options) for d in ("stride", "blur"))
    x = torch.empty(1, 3, *[32] * rank, device="meta")
    shapes = [[y.shape for y in model.eval().features(x)] for model in (strided, blurry)]
    assert shapes[0] == shapes[1]
