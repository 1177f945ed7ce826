"""Effective fields: the Gaussian of the paper, exact weights, and nothing left behind."""

import math

import pytest
import torch
from hand_made import Forward, state_of
from torch import nn

import convarium.models as models
from convarium.errors import OptionError, ShapeError
from convarium.measure import effective_receptive_field, receptive_field


def uniform(n, k, rank=1):
    conv = getattr(nn, f"Conv{rank}d")
    network = nn.Sequential(*[conv(1, 1, k, padding=k // 2, bias=False) for _ in range(n)])
    for layer in network:
        nn.init.constant_(layer.weight, 1.0 / k)
    return network.double()


@pytest.mark.parametrize(("n", "k"), [(1, 3), (5, 3), (20, 3), (8, 7)])
def test_uniform_layers_have_the_deviation_of_the_formula(n, k):
    side = n * (k - 1) + 31
    found = effective_receptive_field(uniform(n, k), torch.zeros(1, 1, side).double())
    assert found.deviation[0] == pytest.approx(math.sqrt(n * (k * k - 1) / 12), rel=1e-9)
    assert found.theoretical == n * (k - 1) + 1
    assert found.centre[0] == pytest.approx(side // 2)


def test_many_layers_are_nearly_a_gaussian():
    n, k, side = 60, 3, 201
    found = effective_receptive_field(uniform(n, k), torch.zeros(1, 1, side).double())
    places = torch.arange(side, dtype=torch.float64) - side // 2
    spread = math.sqrt(n * (k * k - 1) / 12)
    gaussian = torch.exp(-0.5 * (places / spread) ** 2)
    torch.testing.assert_close(found.values, gaussian / gaussian.sum(), atol=2e-4, rtol=0)
    within = math.erf(1.959964 / math.sqrt(2))
    assert within == pytest.approx(0.95, abs=1e-6)
    assert found.area_95 == pytest.approx(2 * 1.959964 * spread, abs=2)


def test_the_values_are_the_weights_of_a_single_layer():
    layer = nn.Conv2d(2, 3, 3, bias=False)
    found = effective_receptive_field(layer, torch.randn(4, 2, 9, 9))
    expected = layer.weight.detach().double().sum(0).abs().sum(0)
    kernel = found.values[3:6, 3:6]
    torch.testing.assert_close(kernel, expected / expected.sum(), rtol=1e-5, atol=1e-8)
    assert found.values.sum() == pytest.approx(1.0)
    assert (found.n, found.theoretical, found.position) == (4, 9, (3, 3))


@pytest.mark.parametrize("position", [(0, 0), (3, 5), (6, 6)])
def test_the_values_stand_where_the_position_is(position):
    layer = nn.Conv2d(1, 2, 3, bias=False)
    found = effective_receptive_field(layer, torch.zeros(1, 1, 9, 9), position=position)
    expected = torch.zeros(9, 9, dtype=torch.float64)
    top, left = position
    expected[top : top + 3, left : left + 3] = layer.weight.detach().double().sum((0, 1)).abs()
    torch.testing.assert_close(found.values, expected / expected.sum(), rtol=1e-5, atol=1e-8)
    box = receptive_field(layer, (1, 1, 9, 9)).box(position, (9, 9))
    assert box == (range(top, top + 3), range(left, left + 3))
    assert found.position == position


@pytest.mark.parametrize("position", [(7, 0), (-1, 0), (0,), (0.0, 0), (0, 0, 0)])
def test_a_position_outside_of_the_map_is_refused(position):
    with pytest.raises(OptionError, match="7 x 7"):
        effective_receptive_field(nn.Conv2d(1, 1, 3), torch.zeros(1, 1, 9, 9), position=position)


def test_areas_hold_their_share():
    model = models.create("resnet20_cifar").eval()
    found = effective_receptive_field(model, torch.randn(2, 3, 32, 32))
    heaviest = found.values.flatten().sort(descending=True).values
    for area, share in ((found.area_50, 0.5), (found.area_95, 0.95)):
        assert heaviest[: area - 1].sum() < share <= heaviest[:area].sum() + 1e-9
    assert "95 %" in found.sentence()


def test_a_layer_can_be_named_and_earlier_ones_see_less():
    model = models.create("resnet20_cifar").eval()
    x = torch.randn(2, 3, 32, 32)
    first, last = (effective_receptive_field(model, x, layer=n) for n in ("stem", "layer2"))
    assert first.theoretical == 9
    assert first.deviation[0] < last.deviation[0]


@pytest.mark.parametrize("rank", [1, 3])
def test_other_ranks(rank):
    found = effective_receptive_field(uniform(2, 3, rank), torch.zeros(1, 1, *[9] * rank).double())
    assert found.values.shape == (9,) * rank
    assert found.deviation == pytest.approx((math.sqrt(2 * 8 / 12),) * rank)


def test_frozen_networks_and_inference_mode_give_the_same_and_nothing_stays():
    model = models.create("resnet8").eval().requires_grad_(False)
    x = torch.randn(1, 3, 32, 32)
    expected = effective_receptive_field(model, x)
    with torch.inference_mode():
        found = effective_receptive_field(model, x.clone())
    assert torch.equal(found.values, expected.values)
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())


def test_inputs_of_other_types_are_taken_as_the_weights_are():
    model = models.create("resnet8").eval().double()
    x = torch.randn(1, 3, 32, 32)
    found = effective_receptive_field(model, x)
    assert torch.equal(found.values, effective_receptive_field(model, x.double()).values)
    single = effective_receptive_field(model.float(), x.double())
    assert torch.equal(single.values, effective_receptive_field(model, x).values)


def test_models_and_inputs_of_inference_mode():
    torch.manual_seed(0)
    with torch.inference_mode():
        model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 3)).eval()
        x = torch.randn(2, 1, 9, 9)
    before = state_of(model)
    found = effective_receptive_field(model, x)
    assert state_of(model) == before
    normal = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 3)).eval()
    normal.load_state_dict({key: value.clone() for key, value in model.state_dict().items()})
    assert torch.equal(found.values, effective_receptive_field(normal, x.clone()).values)


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v2", "vgg11", "lenet5"])
def test_the_last_map_is_that_of_the_receptive_field(name):
    model = models.create(name).eval()
    side = 32 if name == "lenet5" else 64
    x = torch.randn(1, model.in_channels, side, side)
    field = receptive_field(model, tuple(x.shape))
    assert effective_receptive_field(model, x).layer == field.layer
    assert field.layer != "final"


def test_the_last_map_may_be_that_of_an_earlier_call():
    def forward(self, x):
        return self.act(self.head(self.act(self.conv(x)).mean(2)))

    model = Forward(forward, conv=nn.Conv1d(1, 4, 5), act=nn.Softplus(), head=nn.Linear(4, 3))
    found = effective_receptive_field(model, torch.randn(2, 1, 20))
    assert found.layer == receptive_field(model, (2, 1, 20)).layer == "act"
    assert found.theoretical == 5


def test_a_function_at_the_end_of_a_block_is_told_by_the_block_s_name():
    block = Forward(
        lambda self, x: torch.relu(self.conv(x) + x), conv=nn.Conv1d(2, 2, 3, padding=1)
    )
    model = nn.Sequential(block, nn.Identity(), nn.Flatten(), nn.Linear(40, 2))
    found = effective_receptive_field(model, torch.rand(8, 2, 20))
    assert found.layer == receptive_field(model, (8, 2, 20)).layer == "0:relu"


def test_the_theoretical_places_are_those_of_the_measured_position():
    model = Forward(lambda self, x: x.cumsum(2))
    found = effective_receptive_field(model, torch.rand(1, 1, 20))
    assert found.position == (10,)
    assert found.theoretical == int((found.values > 0).sum()) == 11


@pytest.mark.parametrize("last", ["nearest", "bilinear", "transposed"])
def test_of_a_map_finer_than_the_input_the_box_is_where_the_weight_is(last):
    torch.manual_seed(0)
    first = nn.Conv2d(1, 2, 5, padding=2)
    if last == "transposed":
        finer = nn.ConvTranspose2d(2, 1, 6, stride=4, padding=1)
    else:
        finer = nn.Sequential(nn.Upsample(scale_factor=4, mode=last), nn.Conv2d(2, 1, 1))
    model, x = nn.Sequential(first, finer), torch.randn(1, 1, 20, 20)
    for k in (0, 1, 2, 5, 39, 40, 41, 42, 43, 79):
        found = effective_receptive_field(model, x, position=(k, 79 - k))
        places = found.values.nonzero()
        ends = zip(places.amin(0).tolist(), places.amax(0).tolist(), strict=True)
        assert found.box == tuple(range(low, high + 1) for low, high in ends)
        assert found.theoretical == len(places)


def test_the_first_input_of_a_finer_map_is_rounded_down():
    model = nn.Sequential(nn.Conv2d(1, 1, 13, padding=6), nn.Upsample(scale_factor=2))
    field = receptive_field(model, (1, 1, 32, 32))
    assert field.box((1, 1), (32, 32)) == (range(7), range(7))


def test_of_tokens_it_is_that_of_their_vectors():
    torch.manual_seed(0)
    options = {"vocabulary": 30, "embedding_dim": 4, "filters": 6, "kernel_sizes": [3, 5]}
    model = models.create("text_cnn", embedding="two_channel", **options).eval()
    ids = model.example_input(6, 15)
    found = effective_receptive_field(model, ids)
    assert found.theoretical == int((found.values > 0).sum()) == 5
    assert (found.values.shape, found.position) == ((15,), (7,))
    assert found.values[5:10].sum().item() == pytest.approx(1)
    vectors = model.stem(ids).detach().requires_grad_()
    model.stage1(vectors, ids != 0)[:, :, 7].sum().backward()
    expected = vectors.grad.double().abs().sum(1).mean(0)
    torch.testing.assert_close(found.values, expected / expected.sum())
    assert not any(m._forward_hooks for m in model.modules())
    assert all(p.requires_grad for p in model.stem.learnt.parameters())


def test_what_cannot_be_asked_is_told():
    model = models.create("resnet8")
    x = torch.randn(1, 3, 32, 32)
    with pytest.raises(OptionError, match="no layer"):
        effective_receptive_field(model, x, layer="layer9")
    with pytest.raises(OptionError, match="no map"):
        effective_receptive_field(model, x, layer="head")
    with pytest.raises(ShapeError, match="floating"):
        effective_receptive_field(model, torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(ShapeError, match="at least one sample"):
        effective_receptive_field(model, torch.zeros(0, 3, 32, 32))
    with pytest.raises(OptionError, match="meta device"):
        effective_receptive_field(nn.Conv1d(1, 1, 3, device="meta"), torch.zeros(1, 1, 9))
    dead = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1))
    nn.init.zeros_(dead[0].weight)
    with pytest.raises(OptionError, match="every gradient is 0"):
        effective_receptive_field(dead, torch.randn(1, 1, 5, 5))
    assert not any(m._forward_hooks for m in dead.modules())
