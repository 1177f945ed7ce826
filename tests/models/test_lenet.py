import pytest
import torch
from torch.nn import functional as F

import convarium.models as models
from convarium.errors import OptionError, ShapeError


def test_lenet5_has_61706_parameters_and_the_layers_of_the_paper():
    model = models.create("lenet5")
    counts = [p.numel() for p in model.parameters()]
    assert sum(counts) == 61_706
    assert counts == [150, 6, 2400, 16, 48_000, 120, 10_080, 84, 840, 10]
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 10)


def test_it_computes_tanh_and_average_pools():
    torch.manual_seed(0)
    model = models.create("lenet5").double()
    p = dict(model.named_parameters())
    x = model.example_input(3)
    y = F.avg_pool2d(torch.tanh(F.conv2d(x, p["stage1.0.conv.weight"], p["stage1.0.conv.bias"])), 2)
    y = F.avg_pool2d(torch.tanh(F.conv2d(y, p["stage2.0.conv.weight"], p["stage2.0.conv.bias"])), 2)
    y = torch.tanh(y.flatten(1) @ p["neck.linear1.weight"].T + p["neck.linear1.bias"])
    y = torch.tanh(y @ p["neck.linear2.weight"].T + p["neck.linear2.bias"])
    torch.testing.assert_close(model.embed(x), y)
    y = y @ p["head.weight"].T + p["head.bias"]
    torch.testing.assert_close(model(x), y)


@pytest.mark.parametrize(("rank", "size"), [(1, 40), (2, (16, 29)), (3, 16), (2, 28)])
def test_other_image_sizes_are_an_option(rank, size):
    sizes = list(size) if isinstance(size, tuple) else size
    model = models.create("lenet5", spatial_dims=rank, image_size=sizes)
    x = model.example_input(2)
    assert tuple(x.shape[2:]) == (size if isinstance(size, tuple) else (size,) * rank)
    assert model(x).shape == (2, 10)


def test_a_size_that_does_not_fit_is_named():
    with pytest.raises(OptionError, match=r"image_size \(=\(8, 8\)\) must be 16 or more"):
        models.create("lenet5", image_size=8)
    with pytest.raises(OptionError, match=r"image_size .* one entry for each of the 2 axes"):
        models.create("lenet5", image_size=[32])
    with pytest.raises(ShapeError, match=r"inputs of size \(32, 32\), not \(28, 28\)"):
        models.create("lenet5")(torch.zeros(1, 1, 28, 28))


def test_weights_start_uniform_within_one_over_root_fan_in():
    torch.manual_seed(0)
    model = models.create("lenet5")
    for name, parameter in model.named_parameters():
        if name.endswith("weight"):
            bound = parameter[0].numel() ** -0.5
            assert 0.9 * bound < parameter.abs().max().item() <= bound, name
            assert abs(parameter.std().item() / bound - 3**-0.5) < 0.06, name
