import pytest
import torch
from keeping_length import conv
from torch import nn

import convarium.models as models
from convarium.errors import OptionError
from convarium.measure import receptive_field


def test_it_is_the_network_of_the_papers_figure():
    torch.manual_seed(0)
    model = models.create("fcn", in_channels=2, num_classes=4).double()
    reference = nn.Sequential(
        conv(2, 128, 8), conv(128, 256, 5), conv(256, 128, 3), nn.AdaptiveAvgPool1d(1)
    )
    reference = nn.Sequential(reference, nn.Flatten(), nn.Linear(128, 4)).double()
    weights = reference.state_dict().values()
    model.load_state_dict(dict(zip(model.state_dict(), weights, strict=True)))
    x = model.example_input(3, 50)
    torch.testing.assert_close(model(x), reference(x))
    assert model.features(x)[-1].shape == (3, 128, 50)


def test_its_size_and_field_follow_from_the_kernels():
    model = models.create("fcn", num_classes=3)
    convolutions = 128 * 8 + 128 * 5 * 256 + 256 * 3 * 128
    norms, head = 2 * (128 + 256 + 128), 128 * 3 + 3
    assert sum(p.numel() for p in model.parameters()) == convolutions + norms + head
    field = receptive_field(model, (1, 1, 150))
    assert (field.size, field.start, field.status) == ((8 + 4 + 2,), (-(3 + 2 + 1),), "exact")


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(OptionError, match=r"channels .* and kernel_sizes .* same length"):
        models.create("fcn", channels=[4, 4])
