"""Fields of temporal networks against sums by hand, gradients of layers, and a linear search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from convarium.errors import OptionError
from convarium.measure.temporal import layers_for_receptive_field, temporal_receptive_field

options = st.fixed_dictionaries(
    {
        "kernel_size": st.integers(1, 9),
        "convs_per_layer": st.integers(1, 4),
        "dilation_base": st.integers(1, 5),
    }
)
wider = st.fixed_dictionaries(
    {
        "kernel_size": st.integers(2, 9),
        "convs_per_layer": st.integers(1, 4),
        "dilation_base": st.integers(1, 5),
    }
)


def by_hand(num_layers: int, kernel_size: int, convs_per_layer: int, dilation_base: int) -> int:
    """Every convolution adds its dilation times its taps but one."""
    steps = 1
    for level in range(num_layers):
        for _ in range(convs_per_layer):
            steps += dilation_base**level * (kernel_size - 1)
    return steps


@given(num_layers=st.integers(0, 12), chosen=options)
def test_the_closed_form_is_the_sum_over_convolutions(
    num_layers: int, chosen: dict[str, int]
) -> None:
    assert temporal_receptive_field(num_layers, **chosen) == by_hand(num_layers, **chosen)


@pytest.mark.parametrize(("kernel_size", "convs", "base"), [(3, 2, 2), (2, 1, 3), (4, 2, 1)])
def test_it_is_what_the_gradient_of_a_causal_network_reaches(
    kernel_size: int, convs: int, base: int
) -> None:
    for num_layers in range(4):
        expected = temporal_receptive_field(num_layers, kernel_size, convs, base)
        x = torch.zeros(1, 1, expected + 5, requires_grad=True)
        y = x
        for level in range(num_layers):
            for _ in range(convs):
                conv = nn.Conv1d(1, 1, kernel_size, dilation=base**level, bias=False)
                nn.init.ones_(conv.weight)
                y = conv(nn.functional.pad(y, (base**level * (kernel_size - 1), 0)))
        y[0, 0, -1].backward()
        seen = x.grad[0, 0].flip(0).nonzero()
        assert seen.max() + 1 == expected
        without_holes = base <= convs * (kernel_size - 1) + 1 or num_layers < 2
        assert (len(seen) == expected) == without_holes


def test_the_published_formula_and_the_one_that_circulates() -> None:
    two = [temporal_receptive_field(n, 3) for n in range(9)]
    assert two == [1, 5, 13, 29, 61, 125, 253, 509, 1021]
    one = [temporal_receptive_field(n, 3, convs_per_layer=1) for n in (4, 8)]
    assert one == [31, 511]


@given(num_layers=st.integers(0, 10**6), convs=st.integers(1, 5), base=st.integers(1, 5))
def test_one_tap_sees_one_step(num_layers: int, convs: int, base: int) -> None:
    assert temporal_receptive_field(num_layers, 1, convs, base) == 1


@given(target=st.integers(-5, 3000), chosen=wider)
def test_the_number_of_layers_is_the_first_that_reaches_the_target(
    target: int, chosen: dict[str, int]
) -> None:
    expected = 0
    while by_hand(expected, **chosen) < target:
        expected += 1
    assert layers_for_receptive_field(target, **chosen) == expected


@given(target=st.integers(2, 10**400), chosen=wider.filter(lambda row: row["dilation_base"] > 1))
def test_huge_targets_are_exact(target: int, chosen: dict[str, int]) -> None:
    layers = layers_for_receptive_field(target, **chosen)
    below, reached = (temporal_receptive_field(n, **chosen) for n in (layers - 1, layers))
    assert below < target <= reached


@given(layers=st.integers(1, 3000), chosen=wider)
def test_the_field_of_n_layers_needs_n_and_one_step_more_needs_another(
    layers: int, chosen: dict[str, int]
) -> None:
    field = temporal_receptive_field(layers, **chosen)
    assert layers_for_receptive_field(field, **chosen) == layers
    assert layers_for_receptive_field(field + 1, **chosen) == layers + 1


def test_an_absurd_target_without_growing_dilation_is_one_division() -> None:
    assert layers_for_receptive_field(10**5000 + 1, 3, 2, dilation_base=1) == 10**5000 // 4
    assert layers_for_receptive_field(10**5000, 3, 2, dilation_base=10**5000) == 2


@pytest.mark.parametrize(
    ("target", "layers"),
    [(-3, 0), (0, 0), (1, 0), (2, 1), (5, 1), (6, 2), (13, 2), (61, 4), (62, 5), (1000, 8)],
)
def test_the_edges_of_the_table(target: int, layers: int) -> None:
    assert layers_for_receptive_field(target) == layers
    assert layers_for_receptive_field(1024) == 9


def test_one_tap_and_a_target_above_one_step_is_refused_with_the_reason() -> None:
    assert layers_for_receptive_field(1, kernel_size=1) == 0
    with pytest.raises(OptionError, match=r"kernel_size \(=1\).*sees one step.*2 or more"):
        layers_for_receptive_field(2, kernel_size=1)
    with pytest.raises(OptionError, match="kernel_size"):
        layers_for_receptive_field(10**5000, kernel_size=1)


def test_whole_numbers_of_other_libraries_are_fine() -> None:
    assert temporal_receptive_field(np.int64(4), np.int8(3)) == 61
    assert layers_for_receptive_field(np.int32(61)) == 4


@pytest.mark.parametrize("name", ["num_layers", "kernel_size", "convs_per_layer", "dilation_base"])
@pytest.mark.parametrize("value", [-1, 2.0, True, "3", None])
def test_arguments_of_the_field_that_are_no_counts(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=rf"{name} \(={value!r}\) must be"):
        temporal_receptive_field(**{"num_layers": 2, name: value})


@pytest.mark.parametrize("name", ["kernel_size", "convs_per_layer", "dilation_base"])
@pytest.mark.parametrize("value", [0, -1, 2.0, False, "3", None])
def test_arguments_of_the_search_that_are_no_counts(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=rf"{name} \(={value!r}\) must be"):
        layers_for_receptive_field(1, **{name: value})


@pytest.mark.parametrize("value", [5.0, True, "3", None])
def test_a_target_that_is_no_whole_number(value: Any) -> None:
    with pytest.raises(OptionError, match=rf"target \(={value!r}\) must be a whole number"):
        layers_for_receptive_field(value)
