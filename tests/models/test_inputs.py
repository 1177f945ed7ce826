import warnings

import pytest
import torch

import convarium.models as models
from convarium.errors import OptionError, ShapeError


def test_a_last_map_of_one_position_warns_with_the_remedy():
    model = models.create("resnet18")
    with pytest.warns(models.SmallMapWarning, match="resnet18 .* single position .* stem='cifar'"):
        models.check_input(model, (3, 32, 32))


@pytest.mark.parametrize("shape", [(3, 32, 32), (16, 3, 32, 32), [3, 33, 32]])
def test_the_small_image_stem_has_nothing_to_warn_of(shape):
    model = models.create("resnet18", stem="cifar")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        models.check_input(model, shape)
    assert not caught


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"takes \(B, 3, H, W\)"):
        models.check_input(models.create("resnet18"), (1, 28, 28))
    with pytest.raises(ShapeError, match=r"takes \(B, 3, H, W\)"):
        models.check_input(models.create("resnet18"), (28, 28))
    with pytest.raises(ShapeError, match=r"made for inputs of size \(32, 32\), not \(28, 28\)"):
        models.check_input(models.create("lenet5"), (1, 28, 28))
    with pytest.raises(ShapeError, match=r"\(3, 28, 28\) are too small for convnet"):
        models.check_input(models.create("convnet", channels=[4] * 8), (3, 28, 28))


@pytest.mark.parametrize("shape", [(3, 0, 32), (3, -1, 32), (3, 2.5, 32), (0, 3, 32, 32)])
def test_sizes_that_no_input_has_are_refused(shape):
    with pytest.raises(ShapeError, match="whole numbers of 1 or more"):
        models.check_input(models.create("resnet18"), shape)


@pytest.mark.parametrize(
    ("x", "found"),
    [
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), "a tensor of torch.uint8"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.complex64), "a tensor of torch.complex64"),
        ([[0.0]], "a list"),
        (None, "a NoneType"),
    ],
)
@pytest.mark.parametrize("name", ["resnet20_cifar", "lenet5", "squeezenet1_1"])
def test_what_is_no_tensor_of_floats_is_named(name, x, found):
    with pytest.raises(ShapeError, match=rf"{name} takes .* floating-point numbers, not {found}"):
        models.create(name)(x)


@pytest.mark.parametrize("size", [0, -3, (0, 8), (8, 8, 8), (8,)])
def test_an_example_has_a_size_that_the_network_could_take(size):
    with pytest.raises(OptionError, match="size"):
        models.create("resnet20_cifar").example_input(size=size)


def test_checking_leaves_model_and_random_state_alone():
    model = models.create("resnet20_cifar")
    state = torch.get_rng_state()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    models.check_input(model, (3, 32, 32))
    assert model.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
