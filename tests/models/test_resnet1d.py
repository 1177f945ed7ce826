import pytest
import torch
from keeping_length import conv
from torch import nn

import convarium.models as models
from convarium.errors import OptionError
from convarium.measure import receptive_field


class Block(nn.Module):
    """Three convolutions and a shortcut, as the published code has them."""

    def __init__(self, before, after):
        super().__init__()
        first, second, third = conv(before, after, 8), conv(after, after, 5), conv(after, after, 3)
        self.branch = nn.Sequential(first, second, third[:3])
        norm = nn.BatchNorm1d(after)
        convolution = [] if before == after else [nn.Conv1d(before, after, 1, bias=False)]
        self.shortcut = nn.Sequential(*convolution, norm)

    def forward(self, x):
        return (self.branch(x) + self.shortcut(x)).relu()


def test_it_is_the_network_of_the_published_code():
    torch.manual_seed(0)
    model = models.create("resnet1d", in_channels=2, num_classes=4).double()
    blocks = nn.Sequential(Block(2, 64), Block(64, 128), Block(128, 128))
    reference = nn.Sequential(blocks, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(128, 4))
    weights = reference.double().state_dict().values()
    model.load_state_dict(dict(zip(model.state_dict(), weights, strict=True)))
    x = model.example_input(3, 50)
    torch.testing.assert_close(model(x), reference(x))


def test_the_field_is_that_of_nine_convolutions():
    field = receptive_field(models.create("resnet1d"), (1, 1, 150))
    assert (field.size, field.status) == ((1 + 3 * (7 + 4 + 2),), "exact")


def test_an_empty_list_is_refused():
    with pytest.raises(OptionError, match=r"widths \(=\[\]\)"):
        models.create("resnet1d", widths=[])
