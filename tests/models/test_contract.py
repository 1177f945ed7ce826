import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import convarium.models as models
from convarium.errors import OptionError, ShapeError
from convarium.models.resnet import ResNet


def small(**keywords) -> ResNet:
    torch.manual_seed(0)
    keywords = {"depths": [1, 1], "widths": [8, 16], "stem": "cifar", "num_classes": 5} | keywords
    return ResNet(**keywords)


def test_options_are_checked_before_anything_is_built():
    with pytest.raises(OptionError, match=r"ResNet has no option 'dephts'. Did you mean 'depths'"):
        ResNet(dephts=[1])
    with pytest.raises(OptionError, match=r"depths \(=2\) must be a list of whole numbers"):
        ResNet(depths=2)


def test_the_keywords_are_the_configuration_and_build_a_twin():
    model = small(dropout=0.25)
    assert model.config["depths"] == [1, 1]
    assert model.config["dropout"] == 0.25
    twin = type(model)(**model.config)
    assert twin.config == model.config
    assert twin.state_dict().keys() == model.state_dict().keys()


def test_copies_and_pickles_keep_the_configuration():
    model = small()
    model.name = "mine"
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert (twin.config, twin.name, twin.stages) == (model.config, "mine", model.stages)
        twin.config["dropout"] = 0.5
        assert model.config["dropout"] == 0.0


def test_reset_head_replaces_only_the_last_linear_layer():
    model = small().double().eval()
    x = model.example_input(3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    vector = model.embed(x)
    model.reset_head(7)
    assert model(x).shape == (3, 7)
    assert (model.num_classes, model.config["num_classes"]) == (7, 7)
    assert model.head.weight.dtype == torch.float64
    assert not model.head.training
    assert torch.equal(model.embed(x), vector)
    for name, tensor in model.state_dict().items():
        if not name.startswith("head."):
            assert torch.equal(tensor, before[name])
    bound = 1 / model.num_features**0.5
    assert bound * 0.8 < model.head.weight.abs().max().item() <= bound


def test_without_classes_forward_is_embed():
    model = small(num_classes=0).eval()
    x = model.example_input(2)
    assert isinstance(model.head, nn.Identity)
    assert torch.equal(model(x), model.embed(x))
    model.reset_head(3)
    assert model(x).shape == (2, 3)
    model.reset_head(0)
    assert torch.equal(model(x), model.embed(x))
    with pytest.raises(OptionError, match=r"num_classes \(=-1\)"):
        model.reset_head(-1)


def test_an_input_of_the_wrong_rank_or_channels_is_named():
    model = small()
    model.name = "tiny"
    with pytest.raises(ShapeError, match=r"tiny takes \(B, 3, H, W\), not \(1, 1, 8, 8\)"):
        model(torch.zeros(1, 1, 8, 8))
    for call in (model, model.features, model.forward_features, model.embed):
        with pytest.raises(ShapeError, match=r"not \(3, 8, 8\)"):
            call(torch.zeros(3, 8, 8))


def test_a_mask_that_would_be_ignored_is_refused():
    with pytest.raises(OptionError, match=r"takes no mask"):
        small()(torch.zeros(1, 3, 8, 8), mask=torch.ones(1, 8, 8))


def test_example_inputs_repeat_and_leave_the_random_state_alone():
    model = small().double()
    state = torch.get_rng_state()
    a, b = model.example_input(2, size=9), model.example_input(2, size=(9, 9))
    assert torch.equal(a, b)
    assert a.shape == (2, 3, 9, 9)
    assert a.dtype == torch.float64
    assert not torch.equal(a, model.example_input(2, size=9, seed=1))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("name", ["convnet", "lenet5", "resnet20_cifar", "resnetv2_110_cifar"])
def test_gradient_checkpointing_does_something_and_changes_no_gradient(name):
    options = {"depths": [2, 1, 1]} if name.startswith("resnet") else {}
    torch.manual_seed(0)
    plain = models.create(name, **options)
    frugal = copy.deepcopy(plain)
    frugal.use_gradient_checkpointing()
    calls = []
    first = frugal.get_submodule(frugal.stages[0].name)[0]
    first.register_forward_pre_hook(lambda *_: calls.append(1))
    x = plain.example_input(2)
    for model in (plain, frugal):
        model(x).square().sum().backward()
    assert len(calls) == 2  # once forward, once more for the gradient
    pairs = zip(plain.named_parameters(), frugal.named_parameters(), strict=True)
    assert all(torch.equal(a.grad, b.grad) for (_, a), (_, b) in pairs)
    buffers = zip(plain.buffers(), frugal.buffers(), strict=True)
    assert all(torch.equal(a, b) for a, b in buffers)
    frugal.use_gradient_checkpointing(False)
    frugal(x).sum().backward()
    assert len(calls) == 3


def test_a_new_head_takes_whole_numbers_of_any_library_and_nothing_else():
    model = small()
    model.reset_head(np.int64(3))
    assert type(model.config["num_classes"]) is type(model.num_classes) is int
    for wrong in ("3", 3.0, True, None, [3]):
        with pytest.raises(OptionError, match=r"num_classes \(=.*\) must be a whole number"):
            model.reset_head(wrong)
    assert model.num_classes == 3


@pytest.mark.parametrize(
    ("name", "options", "size", "sizes"),
    [
        ("resnet8", {}, 37, [37, 19, 10]),
        ("resnet8", {"stem": "pool"}, 37, [18, 9, 5]),
        ("resnet18", {}, 225, [57, 29, 15, 8]),
        ("convnet", {}, 37, [18, 9, 9]),
        ("lenet5", {"image_size": 33}, 33, [14, 5]),
    ],
)
def test_strides_round_an_odd_size_up_and_pools_down(name, options, size, sizes):
    with torch.device("meta"):
        model = models.create(name, **options)
    maps = model.features(torch.empty(1, model.in_channels, size, size, device="meta"))
    assert [tuple(y.shape[2:]) for y in maps] == [(n, n) for n in sizes]


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(
    ("name", "options", "smallest"),
    [
        ("convnet", {}, 4),
        ("alexnet", {}, 63),
        ("alexnet", {"stem": "cifar"}, 15),
        ("vgg11", {}, 32),
        ("resnet18", {}, 1),
        ("resnet8", {"stem": "pool"}, 2),
        ("densenet121", {}, 29),
        ("densenet_40_12", {}, 4),
        ("squeezenet1_0", {}, 21),
        ("squeezenet1_1", {}, 17),
        ("squeezenet1_0", {"depths": [1, 1, 1, 1], "stem": "cifar"}, 8),
        ("mobilenet_v2", {}, 1),
        ("convnext_tiny", {}, 32),
        ("convnext_tiny", {"output_stride": 8}, 8),
    ],
)
def test_inputs_too_small_for_the_strides_are_refused_before_any_work(
    name, options, smallest, rank
):
    with torch.device("meta"):
        model = models.create(name, spatial_dims=rank, **options).eval()
        model(torch.empty(1, 3, *[smallest] * rank))
        small = torch.empty(1, 3, *[smallest] * (rank - 1), smallest - 1)
    for call in (model, model.features, model.embed):
        with pytest.raises(ShapeError, match=f"too small for {name}; .* {smallest} positions or"):
            call(small)
    model.smallest_input = 0  # without the check, torch says so in the middle of the work
    with pytest.raises(RuntimeError):
        model(small)
