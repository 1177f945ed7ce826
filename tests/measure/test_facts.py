"""The facts that the list of networks keeps: closed forms, published numbers, every rank."""

import pytest
import torch
from torch import nn

from convarium.errors import OptionError, ShapeError
from convarium.measure.facts import facts
from convarium.models import catalogue, create

# alexnet, vgg16, mobilenet_v1: Araujo, Norris, Sim 2019, "Computing receptive fields". The others
# follow from their papers' tables by the same formula.
FIELDS = {
    "alexnet": 195,
    "vgg16": 212,
    "resnet18": 435,
    "resnet50": 427,
    "mobilenet_v1": 315,
    "mobilenet_v2": 491,
    "densenet121": 2071,
    "convnext_tiny": 1688,
    "efficientnet_b0": 851,
}


def test_a_chain_by_hand():
    # 8 x 4 x 9 x 2 x 5 outputs of the first, one product each; then 6 x 8 x (1 x 1) x 2 x 5.
    model = nn.Sequential(nn.Conv2d(4, 8, 3, stride=(2, 1)), nn.ReLU(), nn.Conv2d(8, 6, 1))
    assert facts(model, (1, 4, 5, 7)) == {
        "macs": 8 * 4 * 9 * 2 * 5 + 6 * 8 * 2 * 5,
        "field": [3, 3],
        "field_stride": [2, 1],
        "field_with_gates": [3, 3],
    }


def test_macs_grow_with_the_batch_and_the_field_does_not():
    model = create("lenet5")
    one, five = facts(model, (1, 1, 32, 32)), facts(model, (5, 1, 32, 32))
    assert five == one | {"macs": 5 * one["macs"]}


def test_the_module_is_run_once():
    class Counts(nn.Conv1d):
        calls = 0

        def forward(self, x):
            Counts.calls += 1
            return super().forward(x)

    assert facts(Counts(1, 1, 3), (4, 1, 9))["macs"] == 4 * 7 * 3
    assert Counts.calls == 1


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_an_entry_an_axis(rank):
    found = facts(create("resnet8", spatial_dims=rank), (1, 3, *[32] * rank))
    assert found["field"] == [1 + 2 + (2 + 2) + (2 + 4) + (4 + 8)] * rank
    assert found["field_stride"] == [4] * rank


def test_gates_see_the_whole_input():
    with torch.device("meta"):
        found = facts(create("efficientnet_b0"), (1, 3, 1024, 900))
    assert found["field"] == [851, 851]
    assert found["field_with_gates"] == [1024, 900]


def test_what_cannot_be_followed_is_empty():
    class Sorted(nn.Module):
        def forward(self, x):
            return x.gather(2, x.argsort(2))

    found = facts(nn.Sequential(nn.Conv1d(1, 1, 3), Sorted()), (1, 1, 9))
    assert (found["macs"], found["field"], found["field_stride"]) == (21, [], [])


@pytest.mark.parametrize("name", FIELDS)
def test_the_catalogue_keeps_the_published_fields(name):
    assert catalogue.find(name)["field"] == [FIELDS[name]] * 2


@pytest.mark.parametrize(
    ("model", "shape", "error"),
    [
        (nn.Conv1d(3, 1, 3), (1, 2, 9), ShapeError),
        (nn.Conv1d(3, 1, 3), (3,), ShapeError),
        (nn.Linear(9, 1), (1, 9), ShapeError),
        (nn.Conv1d(3, 1, 3), None, ShapeError),
    ],
)
def test_what_does_not_fit_is_refused(model, shape, error):
    with pytest.raises(error, match="shape"):
        facts(model, shape)


def test_what_decides_by_values_is_refused():
    class Decides(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(OptionError, match="decides"):
        facts(Decides(), (1, 1, 9))
