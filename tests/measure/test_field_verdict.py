"""The verdict on a field: where it is as large as the input, and what widens it past that."""

from itertools import accumulate

import pytest
import torch
from hand_made import Forward
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from convarium.measure import receptive_field


def signals(*kernels: int) -> nn.Sequential:
    """Convolutions of these sizes, each with an activation, which widens nothing."""
    layers = [layer for k in kernels for layer in (nn.Conv1d(1, 1, k, padding=k // 2), nn.ReLU())]
    return nn.Sequential(*layers)


@pytest.mark.parametrize(
    ("n", "first", "beyond"),
    [(3, "0", ["2", "4"]), (7, "2", ["4"]), (8, "4", []), (9, "4", []), (10, None, [])],
)
def test_fields_of_3_7_and_9(n, first, beyond):
    field = receptive_field(signals(3, 5, 3), (1, 1, n))
    assert (field.covered_by and field.covered_by.layer) == first
    assert [row.layer for row in field.beyond] == beyond
    told = field.to_json()
    assert (told["covered_by"], told["beyond"]) == (first, beyond)


def test_every_axis_must_be_covered():
    model = nn.Sequential(
        nn.Conv2d(1, 1, (1, 9), padding=(0, 4)),
        nn.Conv2d(1, 1, (5, 1), padding=(2, 0)),
        nn.Conv2d(1, 1, (1, 3), padding=(0, 1)),
        nn.Conv2d(1, 1, 1),
    )
    field = receptive_field(model, (1, 1, 5, 6))
    assert field.covered_by.layer == "1"
    assert [row.layer for row in field.beyond] == ["2"]


def test_a_narrow_branch_beside_a_wide_one_widens_nothing():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide, self.narrow = nn.Conv1d(1, 1, 9, padding=4), nn.Conv1d(1, 1, 3, padding=1)
            self.last = nn.Conv1d(1, 1, 3, padding=1)

        def forward(self, x):
            return self.last(self.wide(x) + self.narrow(x))

    field = receptive_field(Two(), (1, 1, 9))
    assert field.covered_by.layer == "wide"
    assert [row.layer for row in field.beyond] == ["last"]


def test_what_has_no_places_any_more_is_no_layer_of_the_field():
    model = nn.Sequential(
        nn.Conv1d(1, 1, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(1, 2)
    )
    field = receptive_field(model, (1, 1, 8))
    assert field.covered_by is None
    assert field.beyond == ()
    assert field.sentence() == (
        "Each position of 0 sees 3 inputs and does not cover the input of 8; the output sees the "
        "whole input."
    )


steps = st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 3))


@given(st.lists(steps, min_size=1, max_size=5), st.integers(30, 90))
def test_the_verdict_follows_from_the_closed_form(chain, n):
    layers = [nn.Conv1d(1, 1, k, s, d * (k - 1), d) for k, s, d in chain]
    strides = accumulate([1, *(s for _, s, _ in chain[:-1])], lambda a, b: a * b)
    grown = [(k - 1) * d * j for (k, _, d), j in zip(chain, strides, strict=True)]
    sizes = [1 + total for total in accumulate(grown)]
    first = next((i for i, size in enumerate(sizes) if size >= n), None)
    after = [] if first is None else [i for i in range(first + 1, len(chain)) if grown[i]]
    field = receptive_field(nn.Sequential(*layers), (1, 1, n))
    assert (field.covered_by and int(field.covered_by.layer)) == first
    assert [int(row.layer) for row in field.beyond] == after


@pytest.mark.parametrize(
    ("kernels", "words"),
    [
        ((9,), "no later layer widens it"),
        ((9, 3), "1 later layer widens it only past the borders: 2."),
        ((9, 3, 3, 3), "3 later layers widen it only past the borders: 2, 4, 6."),
        ((9, *[3] * 9), "9 later layers widen it only past the borders: 2 ... 18."),
    ],
)
def test_the_sentence_names_few_layers(kernels, words):
    told = receptive_field(signals(*kernels), (1, 1, 9)).sentence()
    assert "covers the input of 9. From 0 on the field is as large as the input" in told
    assert told.endswith(words if words.endswith(".") else f"{words}.")


def vision_transformer() -> nn.Module:
    def forward(self, x):
        y = self.patches(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.first.bias.expand(len(x), 1, -1), y], 1)
        y = self.norm(y + self.attention(y, y, y, need_weights=False)[0])
        return self.head(y[:, 0])

    return Forward(
        forward,
        patches=nn.Conv2d(3, 8, 4, 4),
        first=nn.Linear(1, 8),
        attention=nn.MultiheadAttention(8, 2, batch_first=True),
        norm=nn.LayerNorm(8),
        head=nn.Linear(8, 5),
    )


def mixer() -> nn.Module:
    def forward(self, x):
        y = self.patches(x).flatten(2)
        y = y + self.along(y)
        return self.head(y.mean(2))

    return Forward(
        forward, patches=nn.Conv2d(3, 8, 4, 4), along=nn.Linear(64, 64), head=nn.Linear(8, 5)
    )


def dense() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 9), nn.ReLU(), nn.Linear(9, 5))


PATCHES = (
    "Each position of patches sees 4 x 4 inputs and does not cover the input of 32 x 32; the "
    "output sees the whole input."
)


@pytest.mark.parametrize(
    ("model", "shape", "wanted"),
    [
        (vision_transformer(), (2, 3, 32, 32), PATCHES),
        (mixer(), (1, 3, 32, 32), PATCHES),
        (
            dense(),
            (1, 3, 32, 32),
            "No layer keeps a map of the input of 32 x 32; the output sees the whole input.",
        ),
        (
            nn.Sequential(nn.Conv1d(1, 4, 9), nn.ReLU(), nn.AdaptiveMaxPool1d(1)),
            (1, 1, 100),
            "Each position of 1 sees 9 inputs and does not cover the input of 100; the output sees "
            "the whole input.",
        ),
        (
            nn.Sequential(nn.Conv1d(1, 4, 9), nn.MaxPool1d(2)),
            (1, 1, 100),
            "Each position of 1 sees 10 inputs and does not cover the input of 100.",
        ),
        (
            Forward(lambda self, x: self.wide(x)[..., :4].mean(2), wide=nn.Conv1d(1, 4, 9)),
            (1, 1, 100),
            "Each position of the result of slice sees 9 inputs and does not cover the input of "
            "100; the output sees 12 inputs.",
        ),
        (
            nn.Identity(),
            (1, 1, 5),
            "Each position of the output sees 1 input and does not cover the input of 5.",
        ),
        (
            nn.Sequential(nn.Conv1d(1, 4, 3), Forward(lambda self, x: x.sort()[0])),
            (1, 1, 9),
            "The field is unknown, since it cannot be followed beyond sort.",
        ),
    ],
)
def test_the_whole_sentence(model, shape, wanted):
    assert receptive_field(model, shape).sentence() == wanted


def test_inputs_that_a_stride_leaves_out_are_not_seen():
    patches = nn.Sequential(nn.Conv2d(1, 4, 4, 4), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
    pooled = nn.Sequential(*patches, nn.AdaptiveAvgPool2d(1))
    told = [receptive_field(pooled, (1, 1, n, n)).sentence() for n in (32, 33)]
    assert [text.partition("; ")[2] for text in told] == [
        "the output sees the whole input.",
        "the output sees 32 x 32 inputs.",
    ]
    gated = nn.Sequential(*patches, nn.InstanceNorm2d(4), nn.Conv2d(4, 4, 3, padding=1))
    assert receptive_field(gated, (1, 1, 33, 32)).size_with_gates == (32, 32)


def test_gates_and_the_output_are_both_told():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.InstanceNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    assert receptive_field(model, (1, 1, 9, 9)).sentence() == (
        "Each position of 1 sees 3 x 3 inputs and does not cover the input of 9 x 9; through gates "
        "or statistics it depends on all of it; the output sees the whole input."
    )


def test_a_bound_is_told_as_one():
    def forward(self, x):
        return torch.cat([self.wide(x), x], 1)[:, -1:]

    model = Forward(forward, wide=nn.Conv1d(1, 1, 9, padding=4))
    told = receptive_field(model, (1, 1, 30)).sentence()
    assert "sees at most 9 inputs and does not cover" in told
    assert "sees at most 9 inputs and may cover" in receptive_field(model, (1, 1, 9)).sentence()
