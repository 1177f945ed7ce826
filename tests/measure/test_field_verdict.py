"""The verdict on a field: where it is as large as the input, and what widens it past that."""

from itertools import accumulate

import pytest
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
    assert field.sentence() == "Each position of 0 sees 3 inputs and does not cover the input of 8."


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
