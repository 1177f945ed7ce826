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


def ensemble(**options):
    torch.manual_seed(0)
    small = {"filters": 3, "kernel_sizes": [4, 2], "members": 3, "num_classes": 4}
    return models.create("inception_time_ensemble", **(small | options)).double()


def member(model, m):
    """One member of an ensemble as a network of its own."""
    config = model.config | {"members": 1}
    alone = type(model)(**config).double().train(model.training)
    state = {}
    for name, tensor in model.state_dict().items():
        stage, _, rest = name.partition(".")
        if stage.startswith("stage") and rest.startswith(f"{m}."):
            state[f"{stage}.0{rest[1:]}"] = tensor
    state["head.weight"] = model.head.weight.unflatten(1, (model.config["members"], -1))[:, m]
    state["head.bias"] = model.head.bias
    alone.load_state_dict(state)
    return alone


def test_the_ensemble_averages_the_probabilities_of_its_members():
    model = ensemble().eval()
    x = model.example_input(5, 20)
    found = model(x).exp()
    each = torch.stack([member(model, m)(x).softmax(1) for m in range(3)])
    torch.testing.assert_close(found, each.mean(0))
    embedded = torch.cat([member(model, m).embed(x) for m in range(3)], 1)
    torch.testing.assert_close(model.embed(x), embedded)
    values = ensemble(average="outputs").eval()
    each = torch.stack([member(values, m)(x) for m in range(3)])
    torch.testing.assert_close(values(x), each.mean(0))
    one = ensemble(num_classes=1).eval()
    each = torch.stack([member(one, m)(x) for m in range(3)])
    torch.testing.assert_close(one(x), each.mean(0))


@pytest.mark.parametrize("rows", [2, 7])
@pytest.mark.parametrize("lengths", [None, [3, 20, 12, 9, 20, 17, 5]])
def test_in_training_each_row_is_its_members_alone(rows, lengths):
    model = ensemble().train()
    x = model.example_input(rows, 20)
    mask = None if lengths is None else torch.arange(20) < torch.tensor(lengths[:rows])[:, None]
    alone = [member(model, m) for m in range(min(3, rows))]
    y = model(x, mask)
    for m, one in enumerate(alone):
        expected = one(x[m::3], None if mask is None else mask[m::3])
        torch.testing.assert_close(y[m::3], expected)
    y[0::3].square().sum().backward()
    for m in range(1, min(3, rows)):
        gradients = [p.grad for p in model.stage1[m].parameters()]
        assert not any(g is not None and g.any() for g in gradients)


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
