import pytest
import torch
from torch import nn

import convarium.models as models
from convarium.errors import OptionError
from convarium.measure import receptive_field


def plain():
    """The network as its table says it, in torch's own layers."""
    layers, before = [], 6
    for i in range(4):
        width = 64 * 2 ** min(i, 2)
        layers += [nn.Conv1d(before, width, 5, padding=2), nn.BatchNorm1d(width), nn.ReLU()]
        layers += [nn.MaxPool1d(2)] if i < 3 else []
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(before, 128))


def test_it_is_the_network_of_its_table_with_its_size_field_and_output():
    torch.manual_seed(0)
    model, reference = models.create("temporal_cnn").double(), plain().double()
    weights = reference.state_dict().values()
    model.load_state_dict(dict(zip(model.state_dict(), weights, strict=True)))
    x = torch.randn(3, 6, 365, dtype=torch.float64)
    torch.testing.assert_close(model(x), reference(x))
    torch.testing.assert_close(model.eval()(x), reference.eval()(x))
    assert sum(p.numel() for p in model.parameters()) == 569_408
    assert model.float()(torch.randn(16, 6, 365)).shape == (16, 128)
    field = receptive_field(model, (1, 6, 365))
    assert (field.size, field.stride, field.status) == ((68,), (8,), "exact")


def test_with_classes_a_head_follows_the_vector():
    model = models.create("temporal_cnn", num_classes=5, in_channels=3)
    x = model.example_input(2, 30)
    torch.testing.assert_close(model.eval()(x), model.head(model.embed(x)))
    assert model.embed(x).shape == (2, 128)


@pytest.mark.parametrize("length", [1, 3, 7])
def test_a_short_series_counts_as_if_zeros_followed_it(length):
    model = models.create("temporal_cnn").double().eval()
    x = model.example_input(2, length)
    padded = nn.functional.pad(x, (0, 8 - length))
    assert torch.equal(model(x), model(padded))


def test_an_empty_list_of_channels_is_refused():
    with pytest.raises(OptionError, match=r"channels \(=\[\]\)"):
        models.create("temporal_cnn", channels=[])
