import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convarium.models as models
from convarium.errors import OptionError, ShapeError
from convarium.layers import CONVOLUTIONS

# Krizhevsky et al. 2012, section 3.5, by hand: outputs x (inputs / groups x taps + 1).
LAYERS_2012 = [
    *(96 * (3 * 121 + 1), 256 * (48 * 25 + 1), 384 * (256 * 9 + 1), 384 * (192 * 9 + 1)),
    *(256 * (192 * 9 + 1), 4096 * (256 * 36 + 1), 4096 * 4097, 1000 * 4097),
]
LAYERS_2014 = [
    *(64 * (3 * 121 + 1), 192 * (64 * 25 + 1), 384 * (192 * 9 + 1), 256 * (384 * 9 + 1)),
    *(256 * (256 * 9 + 1), 4096 * (256 * 36 + 1), 4096 * 4097, 1000 * 4097),
]
SMALL = {"widths": [8, 12, 8, 6, 10], "dense_width": 16, "num_classes": 5}


def on_meta(name, **options):
    with torch.device("meta"):
        return models.create(name, **options).eval()


def layers_with_weights(model):
    kinds = (*CONVOLUTIONS, nn.Linear)
    return {name: m for name, m in model.named_modules() if isinstance(m, kinds)}


def observed(model, x):
    """The output of every layer, by name."""
    found = {}
    for name, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(
                lambda module, inputs, output, name=name: found.update({name: output})
            )
    model(x)
    return found


@pytest.mark.parametrize(
    ("name", "layers", "total"),
    [("alexnet", LAYERS_2014, 61_100_840), ("alexnet_2012", LAYERS_2012, 60_965_224)],
)
def test_every_layer_has_the_published_number_of_parameters(name, layers, total):
    counts = [
        sum(p.numel() for p in layer.parameters())
        for layer in layers_with_weights(on_meta(name)).values()
    ]
    assert counts == layers
    assert sum(counts) == total


@pytest.mark.parametrize("name", ["alexnet", "alexnet_2012"])
def test_the_maps_of_a_224_image_have_the_sizes_of_figure_2(name):
    model = on_meta(name)
    found = observed(model, torch.empty(1, 3, 224, 224, device="meta"))
    sides = [y.shape[-1] for key, y in found.items() if key.endswith(("conv", "pool"))]
    assert sides == [55, 27, 27, 13, 13, 13, 13, 6, 6]
    if name == "alexnet_2012":
        widths = [y.shape[1] for key, y in found.items() if key.endswith("conv")]
        assert widths == [96, 256, 384, 384, 256]


def test_the_work_at_224_is_the_published_one():
    model = on_meta("alexnet")
    found = observed(model, torch.empty(1, 3, 224, 224, device="meta"))
    macs = sum(
        found[name][0].numel() * layer.weight[0].numel()
        for name, layer in layers_with_weights(model).items()
    )
    assert round(macs / 1e9, 3) == 0.714  # torchvision's figure


def response_norm(a, n=5, k=2.0, alpha=1e-4, beta=0.75):
    """Krizhevsky et al. 2012, section 3.3, as it is written there."""
    b = torch.empty_like(a)
    last = a.shape[1] - 1
    for i in range(last + 1):
        neighbours = a[:, max(0, i - n // 2) : min(last, i + n // 2) + 1]
        b[:, i] = a[:, i] / (k + alpha * neighbours.square().sum(1)) ** beta
    return b


def test_the_network_of_2012_is_the_papers_computed_by_hand():
    torch.manual_seed(0)
    model = models.create("alexnet_2012", **SMALL).double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    p = model.state_dict()

    def conv(x, key, cards, **options):
        parts = (t.chunk(cards) for t in (p[f"{key}.conv.weight"], p[f"{key}.conv.bias"]))
        return F.relu(
            torch.cat(
                [
                    F.conv2d(half, weight, bias, **options)
                    for half, weight, bias in zip(x.chunk(cards, 1), *parts, strict=True)
                ],
                1,
            )
        )

    def pool(x):
        return F.max_pool2d(x, 3, 2)

    x = 100 * model.example_input(2, size=224)  # large, so that the response norm matters
    y = conv(x, "stage1.0", 1, stride=4, padding=2)
    assert (response_norm(y) - y / 2**0.75).abs().max() > 0.1 * y.abs().max()
    y = pool(response_norm(y))
    y = pool(response_norm(conv(y, "stage2.0", 2, padding=2)))
    y = conv(y, "stage3.0", 1, padding=1)
    y = conv(y, "stage3.1", 2, padding=1)
    y = pool(conv(y, "stage3.2", 2, padding=1))
    torch.testing.assert_close(model.forward_features(x), y)
    y = y.flatten(1)
    for name in ("linear1", "linear2"):
        y = F.relu(y @ p[f"neck.{name}.weight"].T + p[f"neck.{name}.bias"])
    torch.testing.assert_close(model.embed(x), y)
    torch.testing.assert_close(model(x), y @ p["head.weight"].T + p["head.bias"])


@pytest.mark.parametrize("name", ["alexnet", "alexnet_2012"])
def test_dropout_stands_where_each_network_has_it(name):
    torch.manual_seed(0)
    model = models.create(name, dense_width=400).double().train()
    with torch.no_grad():
        for layer in (model.neck.linear1, model.neck.linear2):
            layer.weight.fill_(1 / layer.in_features)  # a mean: 1 for ones that all arrive
            layer.bias.zero_()
    found = {}
    for key in ("act1", "act2"):
        model.neck.get_submodule(key).register_forward_hook(
            lambda module, inputs, output, key=key: found.update({key: output})
        )
    y = model.neck(torch.ones(1, 256, 6, 6).double())
    ones = torch.ones(1, 400).double()
    whole = torch.allclose(found["act1"], ones)
    assert whole == (name == "alexnet_2012")  # in 2014 the inputs are dropped
    assert not torch.allclose(found["act2"], ones)
    shares = (y == 0).float().mean().item()
    assert abs(shares - (0.5 if name == "alexnet_2012" else 0.0)) < 0.15


def test_the_tower_of_2014_starts_uniform_as_torchvision_has_it():
    torch.manual_seed(0)
    model = models.create("alexnet", dense_width=64)
    for name, layer in layers_with_weights(model).items():
        bound = layer.weight[0].numel() ** -0.5
        for tensor in (layer.weight, layer.bias):
            assert tensor.abs().max().item() <= bound, name
        spread = layer.weight.std().item() / bound
        assert abs(spread - 3**-0.5) < 0.02, name


def test_the_network_of_2012_starts_as_its_paper_says():
    torch.manual_seed(0)
    model = models.create("alexnet_2012", dense_width=64)
    model.reset_head(50)
    ones = {"stage2.0.conv", "stage3.1.conv", "stage3.2.conv", "neck.linear1", "neck.linear2"}
    for name, layer in layers_with_weights(model).items():
        z = layer.weight.detach().double() / 0.01
        n = z.numel()
        assert abs(z.mean().item()) < 5 / math.sqrt(n), name
        assert abs(z.var().item() - 1) < 5 * math.sqrt(2 / n), name
        assert abs((z**4).mean().item() - 3) < 5 * math.sqrt(96 / n), name
        assert (layer.bias == (1.0 if name in ones else 0.0)).all(), name


@pytest.mark.parametrize(("stem", "smallest"), [("imagenet", 63), ("cifar", 15)])
@pytest.mark.parametrize("rank", [1, 2])
def test_inputs_too_small_are_refused_with_a_remedy(stem, smallest, rank):
    # Three pools of 3 with stride 2 need 15 positions; a stride of 4 before them, 4 * 14 + 7.
    model = models.create("alexnet", spatial_dims=rank, stem=stem, **SMALL).eval()
    assert model(model.example_input(1, size=smallest)).shape == (1, 5)
    with pytest.raises(ShapeError, match=rf"needs {smallest} positions or more"):
        model(model.example_input(1, size=smallest - 1))
    with pytest.raises(ShapeError, match=r"too small for alexnet; resize them, or .* a stem"):
        models.check_input(model, (3, *[smallest - 1] * rank))


def test_the_cifar_stem_keeps_more_of_small_images():
    model = on_meta("alexnet", stem="cifar", **SMALL)
    assert model.input_size == (32, 32)
    assert [stage.reduction for stage in model.stages] == [2, 4, 8]
    maps = model.features(torch.empty(1, 3, 32, 32, device="meta"))
    assert [y.shape[-1] for y in maps] == [15, 7, 3]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"widths": [8, 8]}, r"widths \(=\[8, 8\]\) must have five entries"),
        ({"widths": [8, 8, 8, 8, 0]}, r"widths .* must be 1 or more"),
        ({"groups": 5}, r"widths .* must be divisible by groups \(=5\)"),
        ({"pooled_size": 0}, r"pooled_size \(=0\) must be 1 or more"),
        ({"dense_width": 0}, r"dense_width \(=0\) must be 1 or more"),
        ({"dropout": 1.0}, r"dropout \(=1.0\)"),
        ({"stem": "cifa"}, r"stem \(='cifa'\) .* Did you mean 'cifar'"),
    ],
)
def test_wrong_options_are_errors(options, sentence):
    with pytest.raises(OptionError, match=sentence):
        models.create("alexnet", **options)


def test_the_network_of_2012_needs_even_widths_and_has_no_groups_to_choose():
    with pytest.raises(OptionError, match=r"divisible by groups \(=2\)"):
        models.create("alexnet_2012", widths=[8, 7, 8, 8, 8])
    with pytest.raises(OptionError, match="no option 'groups'"):
        models.create("alexnet_2012", groups=2)
