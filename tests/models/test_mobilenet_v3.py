import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convarium.models as models
from convarium.layers import CONVOLUTIONS

# From torchvision 0.28.0: name, width: parameters.
PARAMETERS = {
    ("mobilenet_v3_large", 1.0): 5_483_032,
    ("mobilenet_v3_large", 0.75): 3_377_576,
    ("mobilenet_v3_small", 1.0): 2_542_856,
    ("mobilenet_v3_small", 0.5): 917_264,
}
MULTIPLY_ADDS = {"mobilenet_v3_large": 217, "mobilenet_v3_small": 57}

# Howard et al. 2019, tables 1 and 2: kernel, expanded, out, gate, non-linearity, stride.
TABLES = {
    "mobilenet_v3_large": """
        3 16 16 - RE 1, 3 64 24 - RE 2, 3 72 24 - RE 1, 5 72 40 SE RE 2, 5 120 40 SE RE 1,
        5 120 40 SE RE 1, 3 240 80 - HS 2, 3 200 80 - HS 1, 3 184 80 - HS 1, 3 184 80 - HS 1,
        3 480 112 SE HS 1, 3 672 112 SE HS 1, 5 672 160 SE HS 2, 5 960 160 SE HS 1,
        5 960 160 SE HS 1""",
    "mobilenet_v3_small": """
        3 16 16 SE RE 2, 3 72 24 - RE 2, 3 88 24 - RE 1, 5 96 40 SE HS 2, 5 240 40 SE HS 1,
        5 240 40 SE HS 1, 5 120 48 SE HS 1, 5 144 48 SE HS 1, 5 288 96 SE HS 2,
        5 576 96 SE HS 1, 5 576 96 SE HS 1""",
}


def on_meta(name, **options):
    with torch.device("meta"):
        return models.create(name, **options)


def rows(name):
    for row in TABLES[name].split(","):
        k, wide, out, gate, act, stride = row.split()
        yield int(k), int(wide), int(out), gate == "SE", act, int(stride)


def paths(model):
    return [
        f"{stage.name}.{k}"
        for stage in model.stages
        for k in range(len(model.get_submodule(stage.name)))
    ]


@pytest.mark.parametrize(("name", "width"), PARAMETERS)
def test_parameter_counts_are_torchvisions(name, width):
    model = on_meta(name, width_multiplier=width)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name, width]


@pytest.mark.parametrize("name", MULTIPLY_ADDS)
def test_multiply_adds_are_torchvisions(name):
    model, total = on_meta(name).eval(), []

    def add(module, _, y):
        total.append(module.weight.numel() * math.prod(y.shape[2:]))

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(add)
    model(model.example_input(1))
    assert round(sum(total) / 1e6) == MULTIPLY_ADDS[name]


def hardswish(x):
    return x * (x + 3).clamp(0, 6) / 6


@pytest.mark.parametrize("name", TABLES)
def test_the_network_is_the_papers_computed_by_hand(name):
    torch.manual_seed(0)
    model = models.create(name, num_classes=5).double().eval()
    for buffer in model.buffers():
        if buffer.is_floating_point():
            nn.init.uniform_(buffer, 0.5, 1.5)
    p = model.state_dict()

    def layer(x, path, **options):
        x = F.conv2d(x, p[f"{path}.conv.weight"], **options)
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(p[f"{path}.norm.{key}"] for key in keys), eps=1e-3)

    def dense(x, path):
        return x @ p[f"{path}.weight"].flatten(1).T + p[f"{path}.bias"]

    x = model.example_input(2, size=48)
    y = hardswish(layer(x, "stem", stride=2, padding=1))
    for path, row in zip(paths(model), rows(name), strict=True):
        k, wide, out, gate, act, stride = row
        f, z = (F.relu if act == "RE" else hardswish), y
        if wide != y.shape[1]:
            z = f(layer(z, f"{path}.expand"))
        z = f(layer(z, f"{path}.depthwise", stride=stride, padding=k // 2, groups=wide))
        if gate:
            s = dense(F.relu(dense(z.mean((2, 3)), f"{path}.gate.reduce")), f"{path}.gate.expand")
            z = z * ((s + 3).clamp(0, 6) / 6)[..., None, None]
        z = layer(z, f"{path}.project")
        y = y + z if stride == 1 and out == y.shape[1] else z
        assert y.shape[1] == out
    y = hardswish(layer(y, "final")).mean((2, 3))
    y = dense(hardswish(dense(y, "neck.linear")), "head")
    torch.testing.assert_close(model(x), y)


@pytest.mark.parametrize(
    ("name", "stages", "vector"),
    [
        ("mobilenet_v3_large", [(16, 2), (24, 4), (40, 8), (112, 16), (160, 32)], 1280),
        ("mobilenet_v3_small", [(16, 4), (24, 8), (48, 16), (96, 32)], 1024),
    ],
)
def test_one_stage_per_resolution_and_an_embedding_behind_the_mean(name, stages, vector):
    model = on_meta(name)
    assert [(stage.channels, stage.reduction) for stage in model.stages] == stages
    x = model.example_input(2, size=64)
    assert model.eval().forward_features(x).shape == (2, 6 * stages[-1][0], 2, 2)
    assert model.embed(x).shape == (2, vector)
    assert model.head.in_features == vector


@pytest.mark.parametrize("name", TABLES)
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
            assert (module.eps, module.momentum) == (1e-3, 0.01)
        elif isinstance(module, nn.Linear):
            assert abs(module.weight.std().item() / 0.01 - 1) < 0.005, path
            assert (module.bias == 0).all()
    assert max(m.p for m in model.modules() if isinstance(m, nn.Dropout)) == 0.2


def test_timms_names_of_both_sizes_find_their_places():
    theirs = {
        "mobilenet_v3_large": {
            "blocks.3.3.conv_pwl.weight": "stage4.3.project.conv.weight",
            "blocks.4.0.se.conv_reduce.bias": "stage4.4.gate.reduce.bias",
            "blocks.5.2.bn3.bias": "stage5.2.project.norm.bias",
            "blocks.6.0.conv.weight": "final.conv.weight",
            "blocks.6.0.bn1.weight": "final.norm.weight",
        },
        "mobilenet_v3_small": {
            "blocks.0.0.se.conv_expand.weight": "stage1.0.gate.expand.weight",
            "blocks.3.1.conv_dw.weight": "stage3.4.depthwise.conv.weight",
            "blocks.4.2.bn1.bias": "stage4.2.expand.norm.bias",
            "blocks.5.0.bn1.weight": "final.norm.weight",
            "conv_head.weight": "neck.linear.weight",
        },
    }
    for name, pairs in theirs.items():
        model = models.create(name)
        own = model.state_dict()
        state = {key: torch.rand_like(own[place]) for key, place in pairs.items()}
        report = models.load_published(model, state, "timm", partial=True)
        assert set(report.used) == set(pairs)
        for key, place in pairs.items():
            assert torch.equal(model.state_dict()[place], state[key])
