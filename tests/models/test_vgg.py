import math
import re
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convarium.models as models
from convarium.errors import DataError, OptionError, ShapeError
from convarium.layers import CONVOLUTIONS

# Parameters and multiply-adds (10^9, at 224) as torchvision states them.
PUBLISHED = {
    "vgg11": (132_863_336, 7.609),
    "vgg13": (133_047_848, 11.308),
    "vgg16": (138_357_544, 15.470),
    "vgg19": (143_667_240, 19.632),
    "vgg11_bn": (132_868_840, 7.609),
    "vgg13_bn": (133_053_736, 11.308),
    "vgg16_bn": (138_365_992, 15.470),
    "vgg19_bn": (143_678_248, 19.632),
}
SMALL = {"depths": [2, 1], "widths": [6, 8], "pooled_size": 3, "dense_width": 16, "num_classes": 5}


def on_meta(name, **options):
    with torch.device("meta"):
        return models.create(name, **options).eval()


def layers_with_weights(model):
    kinds = (*CONVOLUTIONS, nn.Linear)
    return {name: m for name, m in model.named_modules() if isinstance(m, kinds)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_work_are_the_published_ones(name):
    model = on_meta(name)
    outputs = {}
    for key, layer in layers_with_weights(model).items():
        layer.register_forward_hook(
            lambda layer, inputs, output, key=key: outputs.update({key: output})
        )
    model(torch.empty(1, 3, 224, 224, device="meta"))
    macs = sum(
        outputs[key].numel() * layer.weight[0].numel()
        for key, layer in layers_with_weights(model).items()
    )
    parameters = sum(p.numel() for p in model.parameters())
    assert (parameters, round(macs / 1e9, 3)) == PUBLISHED[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_number_in_the_name_counts_the_weight_layers(name):
    layers = layers_with_weights(on_meta(name)).values()
    assert len(layers) == int(re.match(r"vgg(\d+)", name)[1])
    assert {m.kernel_size for m in layers if isinstance(m, nn.Conv2d)} == {(3, 3)}
    assert all(m.bias is not None for m in layers)


@pytest.mark.parametrize("name", ["vgg11", "vgg11_bn"])
def test_the_network_is_the_papers_computed_by_hand(name):
    torch.manual_seed(0)
    model = models.create(name, **SMALL).double().eval()
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.5 if key.endswith("running_var") else -0.5, 1.0)
    p = model.state_dict()

    def conv(x, stage, i):
        y = F.conv2d(x, p[f"{stage}.conv{i}.weight"], p[f"{stage}.conv{i}.bias"], padding=1)
        if name.endswith("_bn"):
            keys = ("running_mean", "running_var", "weight", "bias")
            y = F.batch_norm(y, *(p[f"{stage}.norm{i}.{key}"] for key in keys))
        return F.relu(y)

    x = model.example_input(2, size=12)
    y = F.max_pool2d(conv(conv(x, "stage1.0", 1), "stage1.0", 2), 2)
    torch.testing.assert_close(model.features(x)[0], y)
    y = F.max_pool2d(conv(y, "stage2.0", 1), 2)
    torch.testing.assert_close(model.forward_features(x), y)
    y = y.flatten(1)  # 12 / 4 = 3 positions a side, which is what the dense layers read
    for layer in ("linear1", "linear2"):
        y = F.relu(y @ p[f"neck.{layer}.weight"].T + p[f"neck.{layer}.bias"])
    torch.testing.assert_close(model.embed(x), y)
    torch.testing.assert_close(model(x), y @ p["head.weight"].T + p["head.bias"])


def test_two_3x3_see_a_5x5_field_and_three_see_7x7():
    for depth, side in ((1, 3), (2, 5), (3, 7)):
        model = models.create("vgg11", depths=[depth], widths=[4], in_channels=1, dense_width=4)
        convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
        for layer in convolutions:
            nn.init.ones_(layer.weight)
        x = torch.ones(1, 1, 15, 15, requires_grad=True)
        y = x
        for layer in convolutions:
            y = layer(y)
        y[0, 0, 7, 7].backward()
        seen = x.grad[0, 0].nonzero()
        assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [side, side]
        assert len(seen) == side**2


@pytest.mark.parametrize("name", ["vgg11", "vgg11_bn"])
def test_dropout_acts_on_what_leaves_the_hidden_dense_layers(name):
    torch.manual_seed(0)
    model = models.create(name, widths=[4] * 5, dense_width=400).train()
    for layer in (model.neck.linear1, model.neck.linear2):
        nn.init.zeros_(layer.weight)
        nn.init.ones_(layer.bias)
    y = model.neck(torch.ones(1, 4, 7, 7))
    assert y.unique().tolist() == [0.0, 2.0]
    assert abs((y == 0).float().mean().item() - 0.5) < 0.15


def test_weights_start_by_hes_rule_and_small_in_dense_layers():
    torch.manual_seed(0)
    model = models.create("vgg11_bn", widths=[32, 64, 64, 64, 64], dense_width=64)
    model.reset_head(40)
    for name, layer in layers_with_weights(model).items():
        he = isinstance(layer, nn.Conv2d)
        std = math.sqrt(2 / (layer.out_channels * 9)) if he else 0.01
        z = layer.weight.detach().double() / std
        n = z.numel()
        assert abs(z.mean().item()) < 5 / math.sqrt(n), name
        assert abs(z.var().item() - 1) < 5 * math.sqrt(2 / n), name
        assert abs((z**4).mean().item() - 3) < 5 * math.sqrt(96 / n), name
        assert (layer.bias == 0).all(), name
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert (norm.weight == 1).all()
            assert (norm.bias == 0).all()
            assert (norm.eps, norm.momentum) == (1e-5, 0.1)


def numbered(depths, widths, norm, in_channels=3):
    """The features as torchvision and timm number them: one list of layers for all stages."""
    layers = []
    for (before, width), depth in zip(pairwise([in_channels, *widths]), depths, strict=True):
        for i in range(depth):
            layers += [nn.Conv2d(width if i else before, width, 3, padding=1)]
            layers += [nn.BatchNorm2d(width)] if norm else []
            layers += [nn.ReLU()]
        layers += [nn.MaxPool2d(2)]
    return nn.Sequential(*layers)


@pytest.mark.parametrize("depths", [[1, 1, 2], [2, 2, 3]])
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("source", ["torchvision", "timm"])
def test_published_names_are_read_for_every_depth(depths, norm, source):
    torch.manual_seed(0)
    widths, side = [4, 6, 8], 2
    features = numbered(depths, widths, norm)
    if source == "torchvision":
        first, last = nn.Linear(8 * side**2, 10), nn.Linear(10, 3)
        dense = [nn.Flatten(), first, nn.ReLU(), nn.Linear(10, 10), nn.ReLU(), nn.Flatten(), last]
        places = {1: "classifier.0", 3: "classifier.3", 6: "classifier.6"}
    else:  # dense layers as convolutions over the whole map
        first, last = nn.Conv2d(8, 10, side), nn.Linear(10, 3)
        dense = [nn.Identity(), first, nn.ReLU(), nn.Conv2d(10, 10, 1), nn.ReLU(), nn.Flatten()]
        dense += [last]
        places = {1: "pre_logits.fc1", 3: "pre_logits.fc2", 6: "head.fc"}
    theirs = nn.Sequential(features, *dense).eval()
    state = {f"features.{key}": tensor for key, tensor in features.state_dict().items()}
    for place, name in places.items():
        for key, tensor in dense[place].state_dict().items():
            state[f"{name}.{key}"] = tensor
    model = models.create(
        "vgg11",
        depths=depths,
        widths=widths,
        norm="batch" if norm else "none",
        pooled_size=side,
        dense_width=10,
        num_classes=3,
    ).eval()
    report = models.load_published(model, state)
    assert (report.source, report.unused, report.missing) == (source, (), ())
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(model(x), theirs(x))


def test_weights_of_another_depth_do_not_fit():
    state = {
        f"features.{k}": t for k, t in numbered([1, 1], [6, 8], norm=False).state_dict().items()
    }
    with pytest.raises(DataError, match="does not fit vgg11 as torchvision names it"):
        models.load_published(models.create("vgg11", **SMALL), state, "torchvision")


def test_inputs_must_have_two_positions_for_every_halving():
    model = models.create("vgg11", widths=[4] * 5, dense_width=8).eval()
    assert model(model.example_input(1, size=32)).shape == (1, 1000)
    with pytest.raises(ShapeError, match="needs 32 positions or more"):
        model(model.example_input(1, size=31))
    with pytest.raises(ShapeError, match=r"\(3, 31, 31\) are too small for vgg11; resize them"):
        models.check_input(model, (3, 31, 31))
    fewer = models.create("vgg11", **SMALL).eval()
    assert fewer(fewer.example_input(1, size=4)).shape == (1, 5)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"depths": [1, 1]}, r"depths .*2 long.* and widths .*5 long"),
        ({"depths": [1, 0, 1, 1, 1]}, r"depths .* must be 1 or more"),
        ({"pooled_size": 0}, r"pooled_size \(=0\) must be 1 or more"),
        ({"dense_width": -1}, r"dense_width \(=-1\) must be 1 or more"),
        ({"dropout": -0.5}, r"dropout \(=-0.5\)"),
        ({"norm": "bach"}, r"norm \(='bach'\) .* Did you mean 'batch'"),
    ],
)
def test_wrong_options_are_errors(options, sentence):
    with pytest.raises(OptionError, match=sentence):
        models.create("vgg11", **options)
