import math

import pytest
import torch
from keeping_length import conv
from torch import nn

import convarium.models as models
from convarium.errors import OptionError
from convarium.measure import receptive_field


class Module(nn.Module):
    """An inception module as the published code has it."""

    def __init__(self, before):
        super().__init__()
        read = 32 if before > 1 else before
        self.bottleneck = nn.Conv1d(before, 32, 1, bias=False) if before > 1 else nn.Identity()
        self.convs = nn.ModuleList(conv(read, 32, size)[:2] for size in (40, 20, 10))
        self.pool = nn.MaxPool1d(3, 1, padding=1)
        self.behind = nn.Conv1d(before, 32, 1, bias=False)
        self.norm = nn.BatchNorm1d(128)

    def forward(self, x):
        z = self.bottleneck(x)
        branches = [layer(z) for layer in self.convs] + [self.behind(self.pool(x))]
        return self.norm(torch.cat(branches, 1)).relu()


class Published(nn.Module):
    """Six modules, a shortcut after the third and the sixth."""

    def __init__(self, before, classes):
        super().__init__()
        self.groups = nn.ModuleList()
        for width in (before, 128):
            group = nn.Module()
            group.branch = nn.Sequential(Module(width), Module(128), Module(128))
            group.shortcut = nn.Sequential(
                nn.Conv1d(width, 128, 1, bias=False), nn.BatchNorm1d(128)
            )
            self.groups.append(group)
        self.head = nn.Linear(128, classes)

    def forward(self, x):
        for group in self.groups:
            x = (group.branch(x) + group.shortcut(x)).relu()
        return self.head(x.mean(2))


@pytest.mark.parametrize("channels", [1, 6])
def test_it_is_the_network_of_the_published_code(channels):
    torch.manual_seed(0)
    model = models.create("inception_time", in_channels=channels, num_classes=4).double()
    reference = Published(channels, 4).double()
    weights = reference.state_dict().values()
    model.load_state_dict(dict(zip(model.state_dict(), weights, strict=True)))
    x = model.example_input(3, 60)
    torch.testing.assert_close(model(x), reference(x))
    torch.testing.assert_close(model.eval()(x), reference.eval()(x))


def test_its_field_is_that_of_six_long_kernels():
    field = receptive_field(models.create("inception_time"), (1, 1, 150))
    assert (field.size, field.start, field.status) == ((1 + 6 * 39,), (-6 * 19,), "exact")


def test_outputs_of_an_ensemble_are_logarithms_of_probabilities():
    model = models.create("inception_time_ensemble", num_classes=3).eval()
    y = model(model.example_input(2, 50))
    torch.testing.assert_close(y.logsumexp(1), torch.zeros(2), atol=1e-5, rtol=0)
    assert math.isclose(model.num_features, 640)


def test_depths_that_are_no_multiple_of_three_end_without_a_shortcut():
    model = models.create("inception_time", depth=4, filters=2)
    assert [stage.name for stage in model.stages] == ["stage1", "stage2"]
    assert model.stage1[0].shortcut is not None
    assert model.stage2[0].shortcut is None


def test_members_below_one_are_refused():
    with pytest.raises(OptionError, match=r"members \(=0\) must be 1 or more"):
        models.create("inception_time", members=0)
