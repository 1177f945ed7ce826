"""Each promise about shapes, for each variant that ships, at full size, without memory."""

import itertools
import json
import math

import pytest
import torch
from specimens import of_fields, of_one_rank, outputs
from torch import nn

import convarium.models as models
from convarium import layers
from convarium.errors import OptionError
from convarium.models.registry import VARIANTS

UNPADDED = ("lenet5", "alexnet", "squeezenet")  # convolutions or pools that cut the border off

NAMES = [variant.name for variant in VARIANTS]


@pytest.fixture(scope="module", params=VARIANTS, ids=NAMES)
def row(request):
    return request.param


@pytest.fixture(scope="module", autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def model(row):
    with torch.device("meta"):
        return models.create(row.name).eval()


@pytest.fixture(scope="module")
def short(row, model):
    """The network with at most two blocks a stage, where its stages are the same then."""
    if not (fewer := shortened(model.config)):
        return model
    with torch.device("meta"):
        twin = models.create(row.name, **fewer).eval()
    return twin if twin.stages == model.stages else model


@pytest.fixture(scope="module")
def passed(short):
    """What one pass through the network gives, by name."""
    model = short
    x = model.example_input(2)
    found = {"maps": model.features(x)}

    def keep(name):
        return lambda module, inputs, output: found.update({name: output})

    layers = {"heatmap": model.heatmap_layer, "last map": "final", "embedding": "neck"}
    handles = [
        model.get_submodule(layer).register_forward_hook(keep(name))
        for name, layer in layers.items()
    ]
    found["logits"] = model(x)
    for handle in handles:
        handle.remove()
    return found


def shortened(config):
    """At most two blocks a stage: the others repeat the second."""
    short = {"depths": [min(n, 2) for n in config["depths"]]} if "depths" in config else {}
    if config.get("depth_multiplier", 1) > 1:
        short["depth_multiplier"] = 1.0
    return short


def test_the_parameter_count_is_the_rows(row, model):
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == row.parameters


def test_the_row_says_what_it_is_and_where_it_comes_from(row):
    assert row.source
    assert row.summary
    assert len(row.summary) <= 72
    assert row.year is not None or row.source.startswith("our own")


def test_every_stage_is_a_child_with_the_stated_channels_and_reduction(model, passed):
    children = dict(model.named_children())
    for stage, y in zip(model.stages, passed["maps"], strict=True):
        assert stage.name in children
        assert y.shape[:2] == (2, stage.channels)
        entered = getattr(model, "works_at", (1,) * model.spatial_dims)
        for found, given, finer in zip(y.shape[2:], model.input_size, entered, strict=True):
            if model.name.startswith(UNPADDED):
                assert abs(found - given / stage.reduction) <= 4
            else:
                assert found == -(-given * finer // stage.reduction)


def test_features_embedding_and_logits_have_the_stated_shapes(model, passed):
    assert passed["last map"].shape[2:] == passed["maps"][-1].shape[2:]
    if of_fields(model.name):
        fine = tuple(n * r for n, r in zip(model.input_size, model.factor, strict=True))
        assert passed["logits"].shape == (2, len(model.parts) * model.out_channels, *fine)
        return
    if not model.name.startswith("squeezenet"):  # its head comes before its mean
        assert passed["embedding"].shape == (2, model.num_features)
    assert passed["logits"].shape == (2, model.num_classes or model.num_features)
    if model.name.startswith("squeezenet"):  # its last layer reads every position
        assert model.head.in_channels == model.num_features
    elif model.num_classes or not model.name.startswith("temporal_cnn"):  # it has none of its own
        assert isinstance(model.head, nn.Linear)
        assert model.head.in_features == model.num_features


def test_the_heatmap_layer_gives_the_last_map(passed):
    assert passed["heatmap"].shape == passed["last map"].shape
    assert math.prod(passed["heatmap"].shape[2:]) > 1


def test_the_configuration_survives_json_and_builds_the_same_network(row, model):
    config = json.loads(json.dumps(model.config))
    assert config == model.config
    with torch.device("meta"):
        twin = row.cls(**config)
    own, others = model.state_dict(), twin.state_dict()
    assert [(k, v.shape) for k, v in own.items()] == [(k, v.shape) for k, v in others.items()]


@pytest.mark.parametrize("rank", [1, 3])
def test_every_rank_works(row, model, rank):
    options = {"spatial_dims": rank, "in_channels": 3, **outputs(row.name, 3)}
    if of_one_rank(row.name):
        with pytest.raises(OptionError, match=r"spatial_dims \(=3\) must be one of 1"):
            models.create(row.name, spatial_dims=3)
        return
    with torch.device("meta"):
        if of_fields(row.name):
            options["factor"] = 2
        other = models.create(row.name, **options, **shortened(model.config)).eval()
    size = min(model.input_size[0], 64)
    x = torch.empty(1, 3, *[size] * rank, device="meta")
    fine = [2 * size] * rank if of_fields(row.name) else []
    assert other(x).shape == (1, 3, *fine)
    kinds = {type(m).__name__ for m in other.modules() if hasattr(m, "kernel_size")}
    assert all(kind.endswith(f"{rank}d") for kind in kinds)


def test_no_activation_works_in_place(model):
    assert not [name for name, m in model.named_modules() if getattr(m, "inplace", False)]


def test_convolutions_before_a_norm_have_no_bias_but_those_published_with_one(model):
    norms = tuple(layers.NORMS)
    for parent in model.modules():
        children = list(parent.children())
        for conv, norm in itertools.pairwise(children):
            if isinstance(conv, layers.CONVOLUTIONS) and isinstance(norm, norms):
                published = model.name.startswith(("vgg", "temporal_cnn", "text_cnn"))
                expected = published or isinstance(norm, layers.ChannelNorm)
                assert (conv.bias is not None) == expected


def test_without_classes_forward_is_the_embedding(row, model):
    if of_fields(row.name):
        with pytest.raises(OptionError, match="has no option 'num_classes'"):
            models.create(row.name, num_classes=0)
        return
    with torch.device("meta"):
        bare = models.create(row.name, num_classes=0, **shortened(model.config)).eval()
    x = bare.example_input(2)
    assert bare(x).shape == bare.embed(x).shape == (2, bare.num_features)
    assert not [name for name, _ in bare.named_parameters() if name.startswith("head")]
