"""ConvNeXt against the paper's sizes, its block computed by hand, and the initial weights."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convarium.models as models
from convarium.errors import OptionError, ShapeError
from convarium.layers import CONVOLUTIONS, DropPath, LayerScale
from convarium.models.convnext import ConvNeXtBlock

# torchvision 0.28 (tiny to large) and timm 1.0.31 (the others).
PUBLISHED = {
    "convnext_atto": 3_695_520,
    "convnext_femto": 5_217_784,
    "convnext_pico": 9_045_672,
    "convnext_nano": 15_593_560,
    "convnext_tiny": 28_589_128,
    "convnext_small": 50_223_688,
    "convnext_base": 88_591_464,
    "convnext_large": 197_767_336,
    "convnext_xlarge": 350_196_968,
}
SMALL = {"depths": [1, 2, 1], "widths": [4, 6, 8], "num_classes": 5}


def on_meta(name, **options):
    with torch.device("meta"):
        return models.create(name, **options)


def small(**options):
    """A small net whose scales and norms are those of a trained one."""
    torch.manual_seed(0)
    model = models.create("convnext_tiny", **{**SMALL, **options}).double().eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.5)
        else:
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return model


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_are_the_published_ones(name):
    assert sum(p.numel() for p in on_meta(name).parameters()) == PUBLISHED[name]


@pytest.mark.parametrize("name", ["convnext_tiny", "convnext_base", "convnext_nano"])
def test_the_weights_are_those_that_the_plan_adds_up_to(name):
    model = on_meta(name)
    depths, widths = model.config["depths"], model.config["widths"]
    total = 3 * 16 * widths[0] + widths[0] + 2 * widths[0]
    for i, (depth, c) in enumerate(zip(depths, widths, strict=True)):
        if i:
            total += 2 * widths[i - 1] + 4 * widths[i - 1] * c + c
        total += depth * (49 * c + c + 2 * c + 4 * c * c + 4 * c + 4 * c * c + c + c)
    total += 2 * widths[-1] + widths[-1] * 1000 + 1000
    assert sum(p.numel() for p in model.parameters()) == total


@pytest.mark.parametrize(
    ("name", "rate"),
    [("tiny", 0.1), ("small", 0.4), ("base", 0.5), ("large", 0.5), ("xlarge", 0.2)],
)
def test_drop_path_rises_to_the_papers_rate(name, rate):
    found = [m.probability for m in on_meta(f"convnext_{name}").modules() if type(m) is DropPath]
    steps = len(found) - 1
    assert found == pytest.approx([rate * i / steps for i in range(steps + 1)])


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_block_is_the_papers_computed_by_hand(rank):
    torch.manual_seed(0)
    options = {"kernel_size": 7, "dilation": 1, "drop_path": 0.0, "norm_eps": 1e-6}
    block = ConvNeXtBlock(rank, 4, layer_scale=0.5, **options).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    p = block.state_dict()
    x = torch.randn(2, 4, *[5] * rank, dtype=torch.float64)
    conv = getattr(F, f"conv{rank}d")
    y = conv(x, p["depthwise.weight"], p["depthwise.bias"], padding=3, groups=4)
    mean = y.mean(1, keepdim=True)
    y = (y - mean) / (y.square().mean(1, keepdim=True) - mean**2 + 1e-6).sqrt()

    def per_channel(name):
        return p[name].view(-1, *[1] * rank)

    def linear(z, name):
        weight = p[f"{name}.weight"].view(*p[f"{name}.weight"].shape, *[1] * rank)
        return conv(z, weight, p[f"{name}.bias"])

    y = linear(y * per_channel("norm.weight") + per_channel("norm.bias"), "expand")
    y = linear(y * 0.5 * (1 + torch.erf(y / math.sqrt(2))), "project")
    torch.testing.assert_close(block(x), x + per_channel("scale.gamma") * y)


def test_the_network_is_patches_stages_mean_norm_and_linear_layer():
    model = small()
    x = model.example_input(2, size=32)
    y = F.conv2d(x, model.stem.conv.weight, model.stem.conv.bias, stride=4)

    def norm(z, layer):
        z = F.layer_norm(z.permute(0, 2, 3, 1), z.shape[1:2], layer.weight, layer.bias, 1e-6)
        return z.permute(0, 3, 1, 2)

    y = norm(y, model.stem.norm)
    maps = []
    for i in (1, 2, 3):
        stage = model.get_submodule(f"stage{i}")
        if i > 1:
            conv = stage.downsample.conv
            y = F.conv2d(norm(y, stage.downsample.norm), conv.weight, conv.bias, stride=2)
        y = stage.blocks(y)
        maps.append(y)
    for a, b in zip(model.features(x), maps, strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(model.forward_features(x), y)
    last = model.neck.norm
    embedded = F.layer_norm(y.mean((2, 3)), (8,), last.weight, last.bias, 1e-6)
    torch.testing.assert_close(model.embed(x), embedded)
    torch.testing.assert_close(model(x), embedded @ model.head.weight.T + model.head.bias)


def test_memory_formats_give_the_same_outputs_and_gradients():
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        model = small().to(memory_format=layout)
        x = model.example_input(2, size=32).to(memory_format=layout)
        y = model(x)
        y.square().sum().backward()
        results.append([y, *(p.grad for p in model.parameters())])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize(("output_stride", "factors"), [(16, [1, 1, 1, 2]), (8, [1, 1, 2, 4])])
def test_dilated_maps_hold_the_strided_ones_at_every_second_or_fourth_place(
    output_stride, factors, rank
):
    options = {"depths": [1, 1, 2, 1], "widths": [4, 6, 8, 6], "spatial_dims": rank}
    strided = small(**options)
    dense = small(output_stride=output_stride, **options)
    dense.load_state_dict(strided.state_dict())  # the same keys and shapes
    assert dense.stages[-1].reduction == output_stride
    x = strided.example_input(1, size=64 if rank == 2 else 256)
    for a, b, factor in zip(strided.features(x), dense.features(x), factors, strict=True):
        torch.testing.assert_close(b[(..., *[slice(None, None, factor)] * rank)], a)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_stem_for_small_images_keeps_every_position(rank):
    model = on_meta("convnext_tiny", stem="cifar", spatial_dims=rank, **SMALL)
    assert model.input_size == (32,) * rank
    x = torch.empty(1, 3, *[10] * rank, device="meta")
    assert [y.shape[2] for y in model.features(x)] == [10, 5, 2]
    assert [stage.reduction for stage in model.stages] == [1, 2, 4]
    assert on_meta("convnext_tiny", **SMALL).input_size == (224, 224)


def test_weights_start_as_the_papers_code_has_them():
    torch.manual_seed(0)
    model = models.create("convnext_atto", num_classes=100)
    for name, module in model.named_modules():
        if isinstance(module, (*CONVOLUTIONS, nn.Linear)):
            z = module.weight.detach().double() / 0.02
            n = z.numel()
            assert abs(z.mean().item()) < 5 / math.sqrt(n), name
            assert abs(z.var().item() - 1) < 5 * math.sqrt(2 / n), name
            assert abs((z**4).mean().item() - 3) < 5 * math.sqrt(96 / n), name
            assert not module.bias.any(), name
        elif isinstance(module, nn.LayerNorm):
            assert module.eps == 1e-6
            assert (module.weight == 1).all()
            assert not module.bias.any()
        elif isinstance(module, LayerScale):
            assert (module.gamma == 1e-6).all()
    model.reset_head(500)
    assert abs(model.head.weight.std().item() / 0.02 - 1) < 0.02
    assert not model.head.bias.any()


def test_in_training_samples_skip_branches_and_dropout_acts_before_the_head():
    model = small(drop_path=0.6, dropout=0.5).train()
    x = model.example_input(32, size=32)
    passed = []
    model.stage3.blocks[0].register_forward_hook(lambda m, i, o: passed.extend([i[0], o]))
    model(x)
    left_out = (passed[0] == passed[1]).flatten(1).all(1)
    assert 10 < left_out.sum() < 28  # 0.6 of 32
    assert model.neck(passed[0]).eq(0).double().mean().item() == pytest.approx(0.5, abs=0.15)
    model.eval()
    assert torch.equal(model(x), model(x))


def test_recomputing_blocks_gives_the_same_gradients():
    gradients = []
    for frugal in (False, True):
        model = small(drop_path=0.5).train()
        model.use_gradient_checkpointing(frugal)
        torch.manual_seed(1)
        model(model.example_input(4, size=32)).square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    for a, b in zip(*gradients, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"depths": [1, 1]}, r"depths .*2 long.* and widths .*4 long"),
        ({"widths": [0, 8, 8, 8]}, r"widths .* must be 1 or more"),
        ({"kernel_size": 0}, r"kernel_size \(=0\)"),
        ({"layer_scale": 0.0}, r"layer_scale \(=0.0\) must be above 0"),
        ({"norm_eps": -1e-6}, r"norm_eps .* must be above 0"),
        ({"drop_path": 1.0}, r"drop_path \(=1.0\)"),
        ({"dropout": -0.1}, r"dropout \(=-0.1\)"),
        ({"stem": "patch"}, r"stem \(='patch'\) must be one of 'imagenet', 'cifar'"),
        ({"output_stride": 8, "stem": "cifar"}, r"output_stride \(=8\) has no effect"),
        ({"zero_gamma": True}, r"ConvNeXt has no option 'zero_gamma'"),
    ],
)
def test_options_without_effect_or_out_of_range_are_errors(options, sentence):
    with pytest.raises(OptionError, match=sentence):
        on_meta("convnext_tiny", **options)


def test_an_image_too_small_for_the_strides_is_an_error_before_training():
    model = on_meta("convnext_tiny", **SMALL)
    with pytest.raises(ShapeError, match="too small for convnext_tiny"):
        models.check_input(model, (3, 8, 8))
