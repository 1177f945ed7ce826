import numpy as np
import pytest
import torch
from torch import nn

import convarium.models as models
from convarium.errors import ConvariumError, OptionError, UnknownModelError
from convarium.models import registry
from convarium.models.convnet import ConvNet


@pytest.fixture
def restored(monkeypatch):
    monkeypatch.setattr(registry, "_rows", dict(registry._rows))


def test_none_keeps_the_rows_own():
    model = models.create("lenet5")
    config = {key: model.config[key] for key in ("num_classes", "in_channels", "spatial_dims")}
    assert config == {"num_classes": 10, "in_channels": 1, "spatial_dims": 2}
    assert model.name == "lenet5"


def test_given_values_replace_the_rows_own():
    model = models.create("resnet20_cifar", num_classes=3, in_channels=2, spatial_dims=1)
    assert model(torch.randn(2, 2, 40)).shape == (2, 3)
    assert models.create("resnet20_cifar", num_classes=0).num_classes == 0


def test_options_replace_the_rows_keywords():
    model = models.create("resnet8", stem="pool", depths=[1, 2, 1])
    assert [stage.reduction for stage in model.stages] == [2, 4, 8]
    assert len(model.layer2) == 2


def test_an_unknown_name_is_a_lookup_error_with_close_matches():
    with pytest.raises(UnknownModelError, match=r"'resnet5O'. Did you mean 'resnet50'") as caught:
        models.create("resnet5O")
    assert isinstance(caught.value, LookupError)
    assert isinstance(caught.value, ConvariumError)


def test_an_unknown_option_is_a_value_error_with_the_close_match():
    with pytest.raises(OptionError, match=r"'widhts'. Did you mean 'widths'") as caught:
        models.create("resnet18", widhts=[1])
    assert isinstance(caught.value, ValueError)


def test_lists_of_wrong_length_name_both():
    with pytest.raises(OptionError, match=r"depths .*2 long.* and widths .*4 long"):
        models.create("resnet18", depths=[1, 2])
    with pytest.raises(OptionError, match=r"channels .*3 long.* and kernel_sizes .*2 long"):
        models.create("convnet", kernel_sizes=[3, 3])


def test_names_are_listed_by_pattern_from_small_to_large():
    assert models.list_models("resnet[35]?") == ["resnet34", "resnet50"]
    assert models.list_models("nothing*") == []
    names = models.list_models()
    assert {"convnet", "lenet5", "resnet8", "plain110_cifar", "resnetv2_1001_cifar"} <= set(names)
    assert len(names) == len(set(names))


def test_a_registered_row_is_like_the_others(restored):
    row = models.Variant("mynet", ConvNet, {"channels": [4]}, "our own", summary="tiny")
    models.register(row)
    assert "mynet" in models.list_models()
    assert models.create("mynet", num_classes=3).num_features == 4
    assert row.family == "convnet"
    with pytest.raises(TypeError):
        row.keywords["channels"] = [8]


@pytest.mark.parametrize(
    ("name", "cls", "keywords", "sentence"),
    [
        ("lenet5", ConvNet, {}, r"name \(='lenet5'\) is taken by LeNet"),
        ("My Net", ConvNet, {}, r"name \(='My Net'\) must be lower case"),
        ("mynet", nn.Linear, {}, r"cls \(=Linear\) must be a class derived from Network"),
        ("mynet", ConvNet, {"chanels": [4]}, r"no option 'chanels'. Did you mean 'channels'"),
    ],
)
def test_a_row_that_cannot_work_is_refused(restored, name, cls, keywords, sentence):
    with pytest.raises(OptionError, match=sentence):
        models.register(models.Variant(name, cls, keywords, "our own"))
    assert "mynet" not in models.list_models()


def test_whole_numbers_of_any_library_become_plain_ones():
    model = models.create(
        "convnet",
        num_classes=np.int64(3),
        in_channels=torch.tensor(2),
        channels=(np.int32(4), 8),
        kernel_sizes=np.int64(5),
    )
    config = model.config
    numbers = [config["num_classes"], config["in_channels"], *config["channels"]]
    assert [*numbers, config["kernel_sizes"]] == [3, 2, 4, 8, 5]
    assert {type(n) for n in numbers} == {int}
    assert type(model.num_classes) is type(model.in_channels) is int


@pytest.mark.parametrize("name", [5, None, ["lenet5"], b"lenet5"])
def test_a_name_that_is_no_text_is_refused(name):
    with pytest.raises(OptionError, match=r"name \(=.*\) must be a text"):
        models.create(name)


@pytest.mark.parametrize("value", [np.bool_(True), True, 3.0, np.float64(3), "3", [3]])
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(OptionError, match=r"num_classes \(=.*\) must be a whole number"):
        models.create("lenet5", num_classes=value)
