"""Receptive fields: published numbers, gates, statuses, and what cannot be followed."""

from dataclasses import replace

import pytest
import torch
from hand_made import Forward
from torch import nn

import convarium.models as models
from convarium.errors import OptionError, ShapeError
from convarium.measure import receptive_field

PUBLISHED = {
    "alexnet": 195,
    "vgg16": 212,
    "resnet18": 435,
    "resnet50": 427,
    "mobilenet_v2": 491,
    "densenet121": 2071,
    "convnext_tiny": 1688,
    "mobilenet_v1": 315,
    "efficientnet_b0": 851,
}


def meta(name, **options):
    with torch.device("meta"):
        return models.create(name, **options)


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_are_the_published_ones(name):
    field = receptive_field(meta(name), (1, 3, 224, 224))
    assert field.size == (PUBLISHED[name],) * 2
    assert field.stride == (32, 32)
    assert field.status == "exact"


@pytest.mark.parametrize("stride_in", ["1x1", "3x3"])
def test_the_older_form_of_resnet50_has_the_often_quoted_483(stride_in):
    field = receptive_field(meta("resnet50", stride_in=stride_in), (1, 3, 224, 224))
    assert field.size == ((483, 483) if stride_in == "1x1" else (427, 427))


@pytest.mark.parametrize("name", ["vgg11", "resnet18", "densenet121", "mobilenet_v3_small"])
@pytest.mark.parametrize("rank", [1, 3])
def test_other_ranks_have_the_same_field_along_each_axis(name, rank):
    images = receptive_field(meta(name), (1, 3, 96, 96))
    field = receptive_field(meta(name, spatial_dims=rank), (1, 3, *[96] * rank))
    assert images.size
    assert field.size == images.size[:1] * rank
    assert field.start == images.start[:1] * rank


def test_axes_differ_where_kernels_do():
    model = nn.Sequential(
        nn.Conv2d(3, 4, (3, 7), stride=(2, 1), padding=(0, 3), dilation=(2, 1)),
        nn.MaxPool2d((1, 2)),
    )
    field = receptive_field(model, (5, 3, 30, 40))
    assert (field.size, field.stride, field.start) == ((5, 8), (2, 2), (0, -3))
    assert field.centre == (2.0, 0.5)
    assert field.shape == (5, 4, 13, 20)


def test_every_layer_has_a_row():
    model = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.ReLU(), nn.MaxPool1d(2))
    field = receptive_field(model, (1, 1, 20))
    assert [(row.layer, row.kind, row.size) for row in field.rows] == [
        ("0", "Conv1d", (3,)),
        ("1", "BatchNorm1d", (3,)),
        ("2", "ReLU", (3,)),
        ("3", "MaxPool1d", (4,)),
    ]


def test_a_classifier_is_told_at_its_last_map_and_sees_all_after_it():
    field = receptive_field(meta("resnet18"), (1, 3, 64, 64))
    assert field.layer == "layer4.1.act2"
    assert field.rows[-1].layer == "head"
    assert field.rows[-1].status == "whole input"


GATED = {
    "squeeze-excitation": lambda self, x: x * x.mean((2, 3), keepdim=True).sigmoid(),
    "added context": lambda self, x: x + x.amax((2, 3), keepdim=True),
    "norm by hand": lambda self, x: (
        (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True)
    ),
    "softmax over places": lambda self, x: x.flatten(2).softmax(2).unflatten(2, x.shape[2:]),
}


@pytest.mark.parametrize("gate", GATED)
def test_gates_are_told_apart(gate):
    model = nn.Sequential(nn.Conv2d(4, 4, 5), Forward(GATED[gate]), nn.Conv2d(4, 4, 3))
    field = receptive_field(model, (1, 4, 40, 50))
    assert (field.size, field.size_with_gates) == ((7, 7), (40, 50))
    assert field.status == "exact"
    assert "depends on all" in field.sentence()


@pytest.mark.parametrize(
    "norm", [nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.LayerNorm([4, 20, 20])]
)
def test_statistics_over_places_are_gates(norm):
    field = receptive_field(nn.Sequential(nn.Conv2d(1, 4, 1), norm), (1, 1, 20, 20))
    assert (field.size, field.size_with_gates) == ((1, 1), (20, 20))


@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_is_a_gate_in_training_only(training):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    field = receptive_field(model, (2, 1, 20, 20), training=training)
    assert field.size == (3, 3)
    assert field.size_with_gates == ((20, 20) if training else (3, 3))


def test_a_channel_norm_is_no_gate():
    field = receptive_field(meta("convnext_tiny"), (1, 3, 2048, 2048))
    assert field.size_with_gates == field.size == (1688, 1688)


def test_attention_sees_the_whole_input():
    def attend(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        weights = (tokens @ tokens.transpose(1, 2)).softmax(-1)
        return (weights @ tokens).transpose(1, 2).unflatten(2, x.shape[2:])

    field = receptive_field(nn.Sequential(nn.Conv2d(1, 4, 3), Forward(attend)), (1, 1, 12, 12))
    assert field.rows[-1].status == "whole input"
    assert field.size == (3, 3)


def test_tokens_and_back_are_only_views():
    def blocks(self, x):
        return self.mix(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])

    model = nn.Sequential(nn.Conv2d(1, 4, 4, 4), Forward(blocks, mix=nn.Linear(4, 8)))
    field = receptive_field(model, (1, 1, 24, 32))
    assert (field.shape, field.size, field.stride) == ((1, 8, 6, 8), (4, 4), (4, 4))
    assert field.status == "exact"


def rows_first(self, x):
    rows = self.dense(x.flatten(2).permute(2, 0, 1))  # the places first
    return self.mix(rows + rows.mean(0)).permute(1, 2, 0).unflatten(2, x.shape[2:])


MIXED = {
    "samples apart": lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2)),
    "rows of all samples": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3), Forward(lambda self, x: x.movedim(1, -1)), nn.Linear(4, 5), nn.ReLU()
    ),
    "places first": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3),
        Forward(rows_first, dense=nn.Linear(4, 4), mix=nn.Linear(4, 4)),
    ),
    "channels as samples": lambda: nn.Sequential(
        Forward(
            lambda self, x: self.conv(x.flatten(0, 1)[:, None]).unflatten(0, x.shape[:2])[:, :, 0],
            conv=nn.Conv2d(1, 1, 3),
        )
    ),
    "sample by sample": lambda: nn.Sequential(
        Forward(lambda self, x: torch.stack([sample * 2 for sample in x])), nn.Conv2d(2, 4, 3)
    ),
}


@pytest.mark.parametrize("kind", MIXED)
def test_shapes_are_those_of_the_batch_and_fields_those_of_a_sample(kind):
    model, seen = MIXED[kind]().eval(), {}
    for name, module in model.named_modules():
        module.register_forward_hook(lambda m, x, y, name=name: seen.update({name: y.shape}))
    with torch.no_grad():
        model(torch.zeros(4, 2, 8, 9))
    shapes = {name: tuple(shape) for name, shape in seen.items()}
    one = receptive_field(model, (1, 2, 8, 9))
    field = receptive_field(model, (4, 2, 8, 9))
    told = {row.layer: row.shape for row in field.rows if row.layer in shapes}
    assert told
    assert told == {name: shapes[name] for name in told}
    assert (field.size, field.status) == (one.size, one.status)
    if kind != "sample by sample":
        rows = [[replace(row, shape=()) for row in found.rows] for found in (one, field)]
        assert rows[0] == rows[1]


@pytest.mark.parametrize("make", [nn.PixelShuffle, nn.PixelUnshuffle])
def test_pixel_shuffles_are_followed(make):
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), make(2))
    field = receptive_field(model, (1, 1, 8, 8))
    wanted = ((3, 3), (0.5, 0.5)) if make is nn.PixelShuffle else ((4, 4), (2, 2))
    assert (field.size, field.stride) == wanted


def test_a_part_of_uneven_channels_is_a_bound():
    def forward(self, x):
        return torch.cat([self.wide(x), x], 1)[:, -1:]

    field = receptive_field(Forward(forward, wide=nn.Conv1d(1, 1, 9, padding=4)), (1, 1, 30))
    assert (field.size, field.status) == ((9,), "bound")  # the truth is 1


def test_what_has_no_rule_is_named():
    def forward(self, x):
        order = x.argsort(2)
        return self.conv(x.gather(2, order))

    field = receptive_field(Forward(forward, conv=nn.Conv1d(1, 1, 3)), (1, 1, 9))
    assert field.status == "unknown: sort"
    assert field.size == ()
    assert "sort" in field.sentence()


def test_a_write_into_no_box_is_not_guessed():
    def forward(self, x):
        y = self.conv(x)
        y.flatten(2)[..., :11] = 1.0
        return y

    field = receptive_field(Forward(forward, conv=nn.Conv2d(1, 1, 3, padding=1)), (1, 1, 9, 9))
    assert field.status.startswith("unknown: fill_ through another view")


def test_tf_same_padding_is_followed():
    even = receptive_field(meta("efficientnet_lite0"), (1, 3, 224, 224))
    odd = receptive_field(meta("efficientnet_lite0"), (1, 3, 225, 225))
    assert even.size == odd.size
    assert even.rows[0].start != odd.rows[0].start


@pytest.mark.parametrize(
    ("model", "shape", "error"),
    [
        (nn.Conv2d(3, 4, 3), (1, 4, 8, 8), ShapeError),
        (nn.Conv2d(3, 4, 3), (1, 3), ShapeError),
        (nn.Conv2d(3, 4, 3), 224, ShapeError),
        (nn.Linear(3, 4), (1, 3), ShapeError),
        (Forward(lambda self, x: torch.zeros(3)), (1, 3, 8, 8), OptionError),
        (Forward(lambda self, x: None), (1, 3, 8, 8), OptionError),
        (Forward(lambda self, x: x if x.max() > 0 else -x), (1, 3, 8, 8), OptionError),
    ],
)
def test_what_cannot_be_asked_is_told(model, shape, error):
    with pytest.raises(error, match=r"shape|takes|decides|no tensor"):
        receptive_field(model, shape)


def test_a_block_is_told_by_its_last_layer_and_a_position_by_its_box():
    field = receptive_field(meta("resnet18"), (1, 3, 224, 224))
    assert field.at("layer1").size == (43, 43)  # 11 of the stem, and 8 for each of four layers
    assert field.at("layer1.0.conv1").size == (19, 19)
    assert field.at("no.such").size == field.size
    assert field.at("stem.conv").box((0, 10), (224, 224)) == (range(4), range(17, 24))
