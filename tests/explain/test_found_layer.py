"""The layer that the graph finds: in our families, in foreign nets, and where there is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convarium
from convarium.errors import OptionError
from convarium.explain import grad_cam
from convarium.explain.layers import find_in_graph
from convarium.explain.looking import looking
from convarium.explain.methods import attributed
from convarium.models import catalogue

# The smallest of each family, as small an input as it takes.
FAMILIES = {
    **dict.fromkeys(("convnet", "lenet5", "resnet20_cifar", "resnet8", "speednet"), 32),
    **dict.fromkeys(("plain20_cifar", "wrn_16_8", "densenet_40_12"), 32),
    **dict.fromkeys(("alexnet", "vgg11", "vgg11_bn", "resnet18", "resnetv2_50"), 96),
    **dict.fromkeys(("densenet121", "mobilenet_v1", "mobilenet_v2"), 96),
    **dict.fromkeys(("mobilenet_v3_small", "mnasnet0_5", "efficientnet_b0"), 96),
    **dict.fromkeys(("efficientnet_lite0", "efficientnet_v2_s", "convnext_atto"), 96),
}

SCORING = [row["name"] for row in catalogue.read() if row["input_kind"] != "fields"]


def found(model: nn.Module, x: Tensor, **keywords: object) -> str:
    with looking(model, x, keywords.pop("forward", None)) as look:
        return find_in_graph(look, **keywords).name


@pytest.mark.parametrize("name", FAMILIES)
def test_the_graph_finds_the_layer_that_our_networks_name(name: str) -> None:
    with torch.device("meta"):
        network = convarium.create(name)
    channels = 1 if name == "lenet5" else 3
    x = torch.empty(2, channels, FAMILIES[name], FAMILIES[name], device="meta")
    assert found(network, x) == network.heatmap_layer


@pytest.mark.long
@pytest.mark.parametrize("name", SCORING)
def test_the_graph_finds_the_layer_of_every_network(name: str) -> None:
    with torch.device("meta"):
        network = convarium.create(name)
        x = network.example_input(2)
    expected = "act" if name.startswith("squeezenet") else network.heatmap_layer
    assert found(network, x) == expected


def test_a_network_that_reads_its_last_step_is_explained_along_the_whole_series() -> None:
    """Its last map can mark that step alone; at the input every step counts by what it changes."""
    torch.manual_seed(0)
    x = torch.randn(1, 2, 20, requires_grad=True)
    options = {"in_channels": 2, "channels": [6, 6], "num_classes": 3}
    network = convarium.create("tcn", readout="last", **options).eval()
    heat = attributed(network, x.detach(), method="hires_cam", target=1)
    (slope,) = torch.autograd.grad(network(x)[0, 1], x)
    assert heat.layer == "stem"
    assert torch.allclose(heat.values, (slope * x).sum(1), atol=1e-6)
    assert (heat.values[0, :-1] != 0).sum() > 8
    last = attributed(network, x.detach(), method="hires_cam", layers=("stage2",))
    assert not last.values[0, :-1].any()
    assert attributed(network, x.detach(), method="grad_cam").layer == "stage2"
    mean = convarium.create("tcn", readout="mean", **options).eval()
    assert attributed(mean, x.detach(), method="hires_cam").layer == "stage2"


def test_squeezenets_score_is_a_map_of_classes_itself() -> None:
    """Behind its features comes a 1x1 convolution to classes, which still has positions."""
    network = convarium.create("squeezenet1_1")
    x = torch.randn(1, 3, 64, 64)
    assert (found(network, x), network.heatmap_layer) == ("act", "stage3")
    assert grad_cam(network, x).layer == "stage3"


def basic_block(channels: int) -> nn.Module:
    class Block(nn.Module):
        """As torchvision's: one ReLU that runs twice."""

        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
            self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            out = self.conv2(self.relu(self.conv1(x)))
            return self.relu(out + x)

    return Block()


class ResNetLike(nn.Module):
    """torchvision's way: flatten as a function, an average pool as a module."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3)
        self.layer1 = nn.Sequential(basic_block(8), basic_block(8))
        self.layer2 = nn.Sequential(basic_block(8), basic_block(8))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(self.conv1(x)))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class DenseNetLike(nn.Module):
    """torchvision's way: the last ReLU and the pooling are functions."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.BatchNorm2d(8))
        self.classifier = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.features(x), inplace=True)
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(out, (1, 1)), 1))


class VggLike(nn.Module):
    """An adaptive pool to 7 x 7, which makes positions of a single one too."""

    def __init__(self, pools: int) -> None:
        super().__init__()
        parts = [p for _ in range(pools) for p in (nn.Conv2d(3, 3, 3, padding=1), nn.MaxPool2d(2))]
        self.features = nn.Sequential(*parts)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(nn.Linear(147, 8), nn.ReLU(True), nn.Linear(8, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class Functional(nn.Module):
    """Everything but the weights is a function, as in torch's first tutorial."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.conv2 = nn.Conv2d(6, 8, 3)
        self.fc = nn.Linear(8 * 5 * 5, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return F.log_softmax(self.fc(x.view(len(x), -1)), 1)


class Reused(nn.Module):
    """The last convolution runs twice; only the block around it returns one map."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.loop = nn.Sequential()
        self.loop.append(nn.Conv2d(4, 4, 3, padding=1))
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(self.loop(self.loop(x)).mean((2, 3)))


class ChannelsLast(nn.Module):
    """Swin's way: (B, H, W, C) inside, and a turn before the pooling."""

    def __init__(self, turned: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.mix = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)
        self.turn = nn.Identity()
        self.head = nn.Linear(8, 5)
        self.turned = turned

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.mix(self.patches(x).permute(0, 2, 3, 1)))
        if not self.turned:
            return self.head(x.mean((1, 2)))
        return self.head(self.turn(x.permute(0, 3, 1, 2)).mean((2, 3)))


@pytest.mark.parametrize(
    ("network", "layer"),
    [
        (ResNetLike, "layer2"),
        (DenseNetLike, "features"),
        (lambda: VggLike(2), "features"),
        (lambda: VggLike(5), "features.8"),
        (Functional, "conv2"),
        (Reused, "stem"),
        (lambda: ChannelsLast(True), "turn"),
    ],
)
def test_foreign_networks(network: Callable[[], nn.Module], layer: str) -> None:
    side = 28 if network is Functional else 32
    heat = grad_cam(network().eval(), torch.randn(2, 3, side, side))
    assert heat.layer == layer
    assert set(heat.status) <= {"fine", "all negative"}
    assert heat.note == ""


def test_a_map_between_reused_layers_is_named_when_it_has_only_one() -> None:
    model = nn.Sequential(Reused(), nn.Identity())
    assert grad_cam(model, torch.randn(1, 3, 9, 9)).layer == "0.stem"


@pytest.mark.parametrize("pool", [nn.MaxPool1d(2), nn.AvgPool1d(2)])
def test_the_pooling_of_a_series_gives_a_map(pool: nn.Module) -> None:
    network = nn.Sequential(nn.Conv1d(2, 4, 3), pool, nn.Flatten(), nn.Linear(16, 3))
    heat = grad_cam(network, torch.randn(2, 2, 10))
    assert (heat.layer, heat.values.shape) == ("1", (2, 4))


class Parallel(nn.Module):
    """As convolutional nets for sentences: kernels of several lengths side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(4, 6, size) for size in (2, 3))
        self.head = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([conv(x).relu().amax(2) for conv in self.convs], 1))


def test_a_score_with_a_way_around_the_layer_says_so() -> None:
    heat = grad_cam(Parallel(), torch.randn(2, 4, 9))
    assert heat.layer == "convs.1"
    assert heat.note == "Part of the score does not pass convs.1."


class Vision(nn.Module):
    """A transformer on patches, with torch's attention or with its own."""

    def __init__(self, own: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 5)
        self.own = own

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).mT
        if self.own:
            mixed = (tokens @ tokens.mT).softmax(-1) @ tokens
        else:
            mixed = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return self.head(mixed.mean(1))


class Encoder(nn.Module):
    """Convolutions over time, then a transformer whose tokens have the shape of maps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 8, 3)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.conv(x).mT).mean(1))


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.ReLU(), nn.Linear(8, 5)), (2, 3, 4, 4)),
        (nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 5)), (2, 3, 4, 4)),
        (nn.Sequential(nn.Conv2d(3, 4, 4), nn.Flatten(), nn.Linear(4, 5)), (2, 3, 4, 4)),
        (Vision(own=False), (2, 3, 16, 16)),
        (Vision(own=True), (2, 3, 16, 16)),
        (Encoder(), (2, 3, 12)),
        (ChannelsLast(turned=False), (2, 3, 16, 16)),
    ],
)
def test_networks_without_a_last_map_are_told_what_to_do(
    network: nn.Module, shape: tuple[int, ...]
) -> None:
    with pytest.raises(OptionError, match=r"has no map with spatial extent.*input_gradients"):
        grad_cam(network, torch.randn(shape))


class TwoHeads(nn.Module):
    """Two scores from two depths, one in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.early, self.late = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        early = self.early(x)
        return {"early": early.mean((2, 3)), "late": self.late(early).mean((2, 3))}


def test_forward_and_target_decide_what_the_score_is() -> None:
    model, x = TwoHeads(), torch.randn(2, 3, 8, 8)
    for head, layer in (("early", "early"), ("late", "late")):
        by_forward = grad_cam(model, x, target=1, forward=lambda z, key=head: model(z)[key])
        by_target = grad_cam(model, x, target=lambda out, key=head: out[key][:, 1])
        assert by_forward.layer == by_target.layer == layer
        assert torch.equal(by_forward.values, by_target.values)
    by_values = grad_cam(
        model, x, target=lambda out: out["early"][:, int(out["early"].argmax() * 0)]
    )
    assert by_values.layer == "late"
    assert by_values.status == ("not connected",) * 2


def test_a_network_that_decides_by_values_is_asked_for_its_layer() -> None:
    class Deciding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            maps = self.conv(x)
            return (maps if maps.sum() > 0 else -maps).mean((2, 3))

    with pytest.raises(
        OptionError, match=r"cannot be followed.*\(.*decides by.*\); name the layer, for example"
    ):
        grad_cam(Deciding(), torch.randn(1, 3, 8, 8))
    assert grad_cam(Deciding(), torch.randn(1, 3, 8, 8), layer="conv").layer == "conv"
