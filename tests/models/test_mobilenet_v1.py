import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convarium.models as models
from convarium.layers import CONVOLUTIONS

# Howard et al. 2017, tables 6 and 7: width, side of the image: millions of multiply-adds.
MULTIPLY_ADDS = {
    (1.0, 224): 569,
    (0.75, 224): 325,
    (0.5, 224): 149,
    (0.25, 224): 41,
    (1.0, 192): 418,
}
PARAMETERS = {1.0: 4_231_976, 0.75: 2_585_560, 0.5: 1_331_592, 0.25: 470_072}


def on_meta(**options):
    with torch.device("meta"):
        return models.create("mobilenet_v1", **options)


@pytest.mark.parametrize("width", PARAMETERS)
def test_parameter_counts_are_the_published_ones(width):
    model = on_meta(width_multiplier=width)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[width]


@pytest.mark.parametrize(("width", "size"), MULTIPLY_ADDS)
def test_multiply_adds_are_the_papers(width, size):
    model, total = on_meta(width_multiplier=width).eval(), []

    def add(module, _, y):
        total.append(module.weight.numel() * math.prod(y.shape[2:]))

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(add)
    model(model.example_input(1, size=size))
    assert round(sum(total) / 1e6) == MULTIPLY_ADDS[width, size]


def test_there_are_28_layers_as_the_paper_counts_them():
    layers = [m for m in on_meta().modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 28


def test_a_block_of_256_channels_costs_what_the_formula_says():
    block = on_meta().stage3[1]
    assert sum(p.numel() for p in block.parameters()) == 68_864
    weights = sum(m.weight.numel() for m in block.modules() if isinstance(m, nn.Conv2d))
    assert weights / (256 * 256 * 9) == pytest.approx(1 / 256 + 1 / 9)


def test_the_network_is_the_papers_computed_by_hand():
    torch.manual_seed(0)
    model = models.create("mobilenet_v1", width_multiplier=0.25, num_classes=5).double().eval()
    for buffer in model.buffers():
        if buffer.is_floating_point():
            nn.init.uniform_(buffer, 0.5, 1.5)
    p = model.state_dict()

    def layer(x, name, **options):
        x = F.conv2d(x, p[f"{name}.conv.weight"], **options)
        keys = ("running_mean", "running_var", "weight", "bias")
        x = F.batch_norm(x, *(p[f"{name}.norm.{key}"] for key in keys))
        return x.clamp(0, 6)

    x = model.example_input(2, size=64)
    y = layer(x, "stem", stride=2, padding=1)
    for stage, depth in enumerate((1, 2, 2, 6, 2), start=1):
        for k in range(depth):
            stride = 2 if stage > 1 and k == 0 else 1
            name, groups = f"stage{stage}.{k}", y.shape[1]
            y = layer(y, f"{name}.depthwise", stride=stride, padding=1, groups=groups)
            y = layer(y, f"{name}.pointwise")
    y = y.mean((2, 3)) @ p["head.weight"].T + p["head.bias"]
    torch.testing.assert_close(model(x), y)


def test_widths_are_rounded_down_but_not_below_eight():
    assert [stage.channels for stage in on_meta(width_multiplier=0.1).stages] == [
        8,
        12,
        25,
        51,
        102,
    ]


def test_weights_start_as_in_the_reference_code():
    torch.manual_seed(0)
    model = models.create("mobilenet_v1")
    density = math.exp(-2) / math.sqrt(2 * math.pi)
    variance = 1 - 4 * density / math.erf(math.sqrt(2))  # of a normal cut at two deviations
    for name, module in model.named_modules():
        if isinstance(module, (*CONVOLUTIONS, nn.Linear)):
            z = module.weight.detach().double() / 0.09
            n = z.numel()
            assert z.abs().max() <= 2 + 1e-6, name
            assert abs(z.mean().item()) < 5 * math.sqrt(variance / n), name
            assert abs(z.var().item() / variance - 1) < 5 * math.sqrt(2 / n), name
            assert module.bias is None or (module.bias == 0).all()
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
            assert (module.eps, module.momentum) == (1e-5, 0.1)


def test_dropout_is_the_reference_codes():
    assert [m.p for m in on_meta().modules() if isinstance(m, nn.Dropout)] == [0.001]
