import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convarium.models as models
from convarium.errors import OptionError, ShapeError
from convarium.layers import CONVOLUTIONS

# Iandola et al. 2016, table 1: conv1, fire2 to fire9, conv10, "# parameters before pruning".
TABLE_1 = [
    *(14_208, 11_920, 12_432, 45_344, 49_440, 104_880, 111_024, 188_992, 197_184, 513_000),
]
# Parameters, and multiply-adds (10^9, at 224), as torchvision states them.
PUBLISHED = {"squeezenet1_0": (1_248_424, 0.819), "squeezenet1_1": (1_235_496, 0.349)}
SMALL = {"base_width": 16, "width_step": 8, "stem_width": 8, "depths": [2, 1], "num_classes": 5}


def on_meta(name, **options):
    with torch.device("meta"):
        return models.create(name, **options).eval()


def outputs(model, size):
    """The output of every layer without children, by name."""
    found = {}
    for key, layer in model.named_modules():
        if not list(layer.children()):
            layer.register_forward_hook(
                lambda layer, inputs, output, key=key: found.update({key: output})
            )
    model(torch.empty(1, 3, size, size, device="meta"))
    return found


def fires(model):
    return [m for m in model.modules() if type(m).__name__ == "Fire"]


def noisy(model):
    """The same network with weights and biases that show in the output."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def test_every_row_of_table_1_has_the_published_number_of_parameters():
    model = on_meta("squeezenet1_0")
    parts = [model.stem, *fires(model), model.head]
    assert [sum(p.numel() for p in part.parameters()) for part in parts] == TABLE_1
    assert sum(TABLE_1) == 1_248_424


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_work_are_the_published_ones(name):
    model = on_meta(name)
    found = outputs(model, 224)
    macs = sum(
        found[key].numel() * layer.weight[0].numel()
        for key, layer in model.named_modules()
        if isinstance(layer, CONVOLUTIONS)
    )
    assert (sum(p.numel() for p in model.parameters()), round(macs / 1e9, 3)) == PUBLISHED[name]


@pytest.mark.parametrize(
    ("name", "sides"), [("squeezenet1_0", [109, 54, 27, 13]), ("squeezenet1_1", [111, 55, 27, 13])]
)
def test_the_last_window_of_a_pool_may_reach_over_the_edge(name, sides):
    found = outputs(on_meta(name), 224)
    pools = [y.shape[-1] for key, y in found.items() if y.ndim == 4 and "neck" not in key]
    assert sorted(set(pools), reverse=True) == sides


@pytest.mark.parametrize("ratio", [0.25, 0.5])
@pytest.mark.parametrize("share", [0.25, 0.75])
def test_widths_follow_section_5_1(ratio, share):
    model = on_meta(
        "squeezenet1_0",
        base_width=64,
        width_step=32,
        width_every=3,
        squeeze_ratio=ratio,
        share_3x3=share,
    )
    for i, fire in enumerate(fires(model)):
        width = 64 + 32 * (i // 3)
        assert fire.squeeze.out_channels == width * ratio
        assert fire.expand3.out_channels == width * share
        assert fire.expand1.out_channels == width * (1 - share)


def test_the_network_is_the_papers_computed_by_hand():
    model = noisy(models.create("squeezenet1_0", **SMALL).double().eval())
    p = model.state_dict()

    def conv(x, key, **options):
        return F.relu(F.conv2d(x, p[f"{key}.weight"], p[f"{key}.bias"], **options))

    def fire(x, key):
        x = conv(x, f"{key}.squeeze")
        return torch.cat([conv(x, f"{key}.expand1"), conv(x, f"{key}.expand3", padding=1)], 1)

    def pool(x):
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    x = model.example_input(2, size=48)
    y = pool(conv(x, "stem.conv", stride=2))
    y = fire(fire(y, "stage1.0"), "stage1.1")
    y = fire(pool(y), "stage2.1")
    torch.testing.assert_close(model.forward_features(x), y)
    torch.testing.assert_close(model.embed(x), y.mean((2, 3)))
    logits = conv(y, "head").mean((2, 3))
    assert logits.std() > 0.01
    torch.testing.assert_close(model(x), logits)


def test_the_head_judges_every_position_before_the_mean():
    model = noisy(models.create("squeezenet1_1", **SMALL).double().eval())
    x = model.example_input(1, size=64)
    maps = model.forward_features(x)
    judged = F.relu(
        torch.einsum("kf,bfhw->bkhw", model.head.weight[:, :, 0, 0], maps)
        + model.head.bias.view(1, -1, 1, 1)
    )
    torch.testing.assert_close(model(x), judged.mean((2, 3)))
    late = F.relu(model.embed(x) @ model.head.weight[:, :, 0, 0].T + model.head.bias)
    assert not torch.allclose(model(x), late)  # the order matters


def test_dropout_acts_on_the_map_in_front_of_the_head():
    torch.manual_seed(0)
    model = models.create("squeezenet1_0", **SMALL, dropout=0.5)
    x = model.example_input(2, size=48)
    map_, seen = model.eval().forward_features(x), []
    model.head.register_forward_hook(lambda head, inputs, output: seen.append(inputs[0]))
    model(x)
    model.train()(x)
    assert torch.equal(seen[0], map_)
    kept = seen[1] != 0
    torch.testing.assert_close(seen[1][kept], 2 * map_[kept])
    positive = map_ > 0
    assert abs(kept[positive].float().mean().item() - 0.5) < 0.1


def test_reset_head_replaces_only_the_last_convolution():
    torch.manual_seed(0)
    model = models.create("squeezenet1_0", **SMALL).double().eval()
    before = {k: t.clone() for k, t in model.state_dict().items() if not k.startswith("head")}
    x = model.example_input(2, size=48)
    embedded = model.embed(x)
    model.reset_head(300)
    assert model.head.weight.dtype == torch.float64
    assert not model.head.training
    assert model.config["num_classes"] == model.num_classes == 300
    assert model(x).shape == (2, 300)
    z = model.head.weight.detach() / 0.01
    assert abs(z.var().item() - 1) < 5 * math.sqrt(2 / z.numel())
    assert (model.head.bias == 0).all()
    model.reset_head(0)
    assert torch.equal(model(x), embedded)
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)
    for wrong in (-1, 2.5):
        with pytest.raises(OptionError, match="num_classes"):
            model.reset_head(wrong)
    assert torch.equal(model(x), embedded)


def test_weights_start_as_in_the_published_code():
    torch.manual_seed(0)
    model = models.create("squeezenet1_0", num_classes=100)
    for name, layer in model.named_modules():
        if not isinstance(layer, CONVOLUTIONS):
            continue
        assert (layer.bias == 0).all(), name
        weight, fan_in = layer.weight.detach().double(), layer.weight[0].numel()
        n = weight.numel()
        if name == "head":
            z, fourth = weight / 0.01, 3.0
        else:  # uniform with variance 2 / fan_in
            z, fourth = weight / math.sqrt(2 / fan_in), 1.8
            assert z.abs().max().item() <= math.sqrt(3) * (1 + 1e-6), name
        assert abs(z.mean().item()) < 5 / math.sqrt(n), name
        assert abs(z.var().item() - 1) < 5 * math.sqrt(2 / n), name
        assert abs((z**4).mean().item() - fourth) < 5 * math.sqrt(96 / n), name


@pytest.mark.parametrize(
    ("name", "stem", "smallest"),
    [
        ("squeezenet1_0", "imagenet", 21),
        ("squeezenet1_1", "imagenet", 17),
        ("squeezenet1_0", "cifar", 4),
    ],
)
def test_inputs_too_small_are_refused(name, stem, smallest):
    # A pool needs 2 positions, two pools 4, three 8; the first convolution 2 * 7 + its kernel.
    model = models.create(name, stem=stem, num_classes=3).eval()
    assert model(model.example_input(1, size=smallest)).shape == (1, 3)
    with pytest.raises(ShapeError, match=rf"needs {smallest} positions or more"):
        model(model.example_input(1, size=smallest - 1))
    with pytest.raises(ShapeError, match=f"too small for {name}; resize them, or .* a stem"):
        models.check_input(model, (3, smallest - 1, smallest - 1))


def test_the_cifar_stem_keeps_all_positions():
    model = on_meta("squeezenet1_1", stem="cifar")
    assert model.input_size == (32, 32)
    maps = model.features(torch.empty(1, 3, 32, 32, device="meta"))
    assert [y.shape[-1] for y in maps] == [32, 16, 8]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"depths": [3, 0]}, r"depths .* must be 1 or more"),
        ({"stem_kernel": 4}, r"stem_kernel \(=4\) must be odd"),
        ({"stem_kernel": 0}, r"stem_kernel \(=0\) must be 1 or more"),
        ({"width_every": 0}, r"width_every \(=0\) must be 1 or more"),
        ({"width_step": -8}, r"width_step \(=-8\) must be 0 or more"),
        ({"squeeze_ratio": 0.001}, r"squeeze_ratio \(=0.001\) .* of width 128 without channels"),
        ({"squeeze_ratio": float("nan")}, r"squeeze_ratio \(=nan\) .* shares between 0 and 1"),
        ({"squeeze_ratio": float("inf")}, r"squeeze_ratio \(=inf\) .* shares between 0 and 1"),
        ({"share_3x3": float("nan")}, r"share_3x3 \(=nan\) .* shares between 0 and 1"),
        ({"squeeze_ratio": 2.0}, r"squeeze_ratio \(=2.0\) .* shares between 0 and 1"),
        ({"share_3x3": 1.0}, r"share_3x3 \(=1.0\) .* without channels"),
        ({"dropout": 1.5}, r"dropout \(=1.5\)"),
        ({"num_classes": -1}, r"num_classes \(=-1\) must be 0 or more"),
    ],
)
def test_wrong_options_are_errors(options, sentence):
    with pytest.raises(OptionError, match=sentence):
        models.create("squeezenet1_0", **options)
