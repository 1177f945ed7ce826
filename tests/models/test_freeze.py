"""Freezing by stage: no gradient, no moving averages, no dropout; and back."""

import pytest
import torch

import convarium.models as models
from convarium.errors import OptionError


def network(**options):
    torch.manual_seed(0)
    return models.create("resnet8", widths=[4, 6, 8], num_classes=3, **options)


def trained_step(model):
    model.train()
    x = model.example_input(4, size=8)
    model(x).square().sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad


@pytest.mark.parametrize("until", ["stem", "layer1", "layer3"])
def test_a_step_moves_nothing_that_is_frozen_and_everything_behind_it(until):
    model = network()
    model.freeze(until)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained_step(model)
    names = list(model.in_order())
    frozen = names[: names.index(until) + 1]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == (name.split(".")[0] in frozen), name


def test_a_network_frozen_to_its_end_does_the_same_in_training():
    model = models.create("squeezenet1_1", stem="cifar", num_classes=3)
    model.freeze("neck")
    model.train()
    x = model.example_input(2, size=8)
    assert not any(module.training for child in model.children() for module in child.modules())
    assert torch.equal(model(x), model(x))


def test_unfreeze_and_a_second_freeze_replace_the_first():
    model = network()
    model.freeze("layer3")
    model.freeze("stem")
    assert [p.requires_grad for p in model.layer1.parameters()] == [True] * 6
    assert model.train().layer1.training
    model.unfreeze()
    assert all(p.requires_grad for p in model.parameters())
    assert all(m.training for m in model.train().modules())
    assert not any(m.training for m in model.eval().modules())


def test_frozen_layers_stay_in_evaluation_mode_whatever_is_called():
    model = network().eval()
    model.freeze("layer2")
    assert not model.head.training
    model.train()
    assert model.head.training
    assert not any(m.training for name in model.frozen for m in model.get_submodule(name).modules())
    assert "frozen" not in model.config


def test_an_unknown_child_is_named_with_those_there_are():
    with pytest.raises(OptionError, match=r"until \(='layer9'\) must be one of stem, layer1"):
        network().freeze("layer9")


def test_only_the_trainable_part_is_differentiated():
    model = network()
    model.freeze("layer3")
    model(model.example_input(2, size=8)).sum().backward()
    assert {n for n, p in model.named_parameters() if p.grad is not None} == {
        "head.weight",
        "head.bias",
    }


def test_a_new_head_of_a_frozen_network_is_frozen_too():
    model = network()
    model.freeze("head")
    model.reset_head(5)
    assert not any(p.requires_grad for p in model.parameters())
    model.freeze("layer3")
    model.reset_head(4)
    assert all(p.requires_grad for p in model.head.parameters())
