"""The tables of the theory against torch's own layers, built, counted and differentiated."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from convarium.errors import OptionError, ShapeError
from convarium.measure.theory import (
    Design,
    bottleneck_against_plain,
    connection_cost,
    separable_against_standard,
    stack_against_kernel,
)

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
sizes = st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple)


def agrees(row: Design, network: nn.Module, shape: tuple[int, ...]) -> None:
    """Parameters, weights, multiply-adds and outputs of a network that torch built and ran."""
    weighted = [m for m in network.modules() if isinstance(m, (*CONV.values(), nn.Linear))]
    assert row.weights == sum(module.weight.numel() for module in weighted)
    assert row.parameters == sum(parameter.numel() for parameter in network.parameters())
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        y = network.eval()(torch.zeros(1, *shape))
    assert row.outputs == y.numel()
    assert 2 * row.macs == counter.get_total_flops()


@given(c=st.integers(1, 3), size=sizes, filters=st.integers(1, 4), k=st.sampled_from([1, 3, 5]))
def test_the_three_ways_to_connect(c: int, size: tuple[int, ...], filters: int, k: int) -> None:
    dense, local, shared = connection_cost((7, c, *size), filters=filters, kernel_size=k)
    outputs = filters * math.prod(size)
    agrees(dense, nn.Sequential(nn.Flatten(), nn.Linear(c * math.prod(size), outputs)), (c, *size))
    conv = CONV[len(size)](c, filters, k, padding="same")
    agrees(shared, conv, (c, *size))
    assert local.outputs == outputs
    assert local.weights == local.macs == shared.macs  # no weight is used twice
    assert local.weights == math.prod(size) * shared.weights
    assert dense.field == size
    assert local.field == shared.field == (k,) * len(size)


def test_one_channel_and_one_filter_are_mn_mk_and_k() -> None:
    n, k = 100, 5
    rows = connection_cost((1, 1, n), units=40, filters=1, kernel_size=k)
    assert [row.weights for row in rows] == [n * 40, n * k, k]


def test_a_photograph_to_4096_units() -> None:
    grey, _, _ = connection_cost((1, 1, 224, 224), units=4096)
    colour, _, shared = connection_cost((1, 3, 224, 224), units=4096)
    with torch.device("meta"):
        linear, conv = nn.Linear(3 * 224 * 224, 4096), nn.Conv2d(3, 64, 3)
    assert grey.weights == 205_520_896
    assert colour.weights == linear.weight.numel() == 616_562_688
    assert shared.parameters == sum(p.numel() for p in conv.parameters()) == 1_792
    assert colour.weights // shared.parameters == 344_064


@given(n=st.integers(1, 4), k=st.sampled_from([1, 3, 5]), channels=st.integers(1, 4), size=sizes)
def test_a_stack_and_the_kernel_that_sees_as_much(
    n: int, k: int, channels: int, size: tuple[int, ...]
) -> None:
    stack, large = stack_against_kernel(n, k, channels=channels, size=size)
    conv = CONV[len(size)]

    def same(taps: int) -> nn.Module:
        return conv(channels, channels, taps, padding=taps // 2, bias=False)

    agrees(stack, nn.Sequential(*(same(k) for _ in range(n))), (channels, *size))
    agrees(large, same(large.field[0]), (channels, *size))
    assert stack.field == large.field == (1 + n * (k - 1),) * len(size)


def test_two_3x3_are_18_weights_against_25_and_see_as_much() -> None:
    stack, large = stack_against_kernel()
    assert (stack.weights, large.weights) == (18, 25)
    x = torch.zeros(1, 1, 11, 11, requires_grad=True)
    convs = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(2)))
    for conv in convs:
        nn.init.ones_(conv.weight)
    convs(x)[0, 0, 5, 5].backward()
    rows, columns = x.grad[0, 0].nonzero().T
    assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == stack.field


def plain_torch(rank: int, widths: list[int], kernels: list[int], groups: int = 1) -> nn.Module:
    """Convolutions without bias, each with a batch norm; the first may have groups."""
    layers: list[nn.Module] = []
    for number, (c, filters, k) in enumerate(zip(widths, widths[1:], kernels, strict=False)):
        conv = CONV[rank](c, filters, k, padding="same", bias=False, groups=1 if number else groups)
        layers += [conv, NORM[rank](filters)]
    return nn.Sequential(*layers)


@given(inner=st.integers(1, 4), reduction=st.integers(1, 4), size=sizes)
def test_the_bottleneck_and_the_plain_pair(
    inner: int, reduction: int, size: tuple[int, ...]
) -> None:
    c, rank = inner * reduction, len(size)
    bottleneck, plain = bottleneck_against_plain(c, reduction, size=size)
    agrees(bottleneck, plain_torch(rank, [c, inner, inner, c], [1, 3, 1]), (c, *size))
    agrees(plain, plain_torch(rank, [c, c, c], [3, 3]), (c, *size))
    assert bottleneck.field == (3,) * rank
    assert plain.field == (5,) * rank


def test_the_published_bottleneck() -> None:
    bottleneck, plain = bottleneck_against_plain()
    assert bottleneck.parameters == 70_400
    assert plain.weights == 1_179_648
    assert bottleneck.weights + 2 * 256 == 70_144  # what circulates counts the last norm only


@given(c=st.integers(1, 5), filters=st.integers(1, 5), k=st.sampled_from([1, 3, 5]), size=sizes)
def test_the_separable_and_the_standard_convolution(
    c: int, filters: int, k: int, size: tuple[int, ...]
) -> None:
    separable, standard = separable_against_standard(c, filters, k, size=size)
    rank = len(size)
    agrees(separable, plain_torch(rank, [c, c, filters], [k, 1], groups=c), (c, *size))
    agrees(standard, plain_torch(rank, [c, filters], [k]), (c, *size))
    assert separable.field == standard.field == (k,) * rank


def test_the_published_separable_block() -> None:
    separable, standard = separable_against_standard()
    assert separable.parameters == 68_864
    assert separable.weights + 2 * 256 == 68_352  # what circulates counts one norm of the two
    assert separable.parameters / standard.parameters == pytest.approx(0.117, abs=5e-4)
    assert separable.weights / standard.weights == 1 / 256 + 1 / 9


def test_even_kernels_keep_the_size_too() -> None:
    separable, standard = separable_against_standard(4, 6, 4, size=(7, 7))
    assert (separable.outputs, standard.outputs) == (6 * 49, 6 * 49)
    assert (separable.weights, standard.weights) == (4 * 16 + 24, 4 * 6 * 16)


def test_rows_are_frozen_json_and_leave_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    for row in (*bottleneck_against_plain(), *separable_against_standard()):
        values = json.loads(json.dumps(row.to_json()))
        assert values["parameters"] == values["weights"] + values["others"] == row.parameters
        with pytest.raises(dataclasses.FrozenInstanceError):
            row.weights = 0  # type: ignore[misc]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shape", [(3, 224), (1, 2, 3, 4, 5, 6), (1, 3, 0), (1, 3, 8.0), 224, None])
def test_shapes_that_are_none(shape: Any) -> None:
    with pytest.raises(ShapeError, match=r"input_shape \(=.*must be \(B, C, \*S\)"):
        connection_cost(shape)


@pytest.mark.parametrize("value", [0, -1, 2.0, True])
def test_counts_that_are_none(value: Any) -> None:
    for call, name in [
        (lambda: connection_cost((1, 3, 8), value), "units"),
        (lambda: connection_cost((1, 3, 8), filters=value), "filters"),
        (lambda: connection_cost((1, 3, 8), kernel_size=value), "kernel_size"),
        (lambda: stack_against_kernel(value), "num_layers"),
        (lambda: stack_against_kernel(2, value), "kernel_size"),
        (lambda: stack_against_kernel(channels=value), "channels"),
        (lambda: bottleneck_against_plain(value), "channels"),
        (lambda: bottleneck_against_plain(8, value), "reduction"),
        (lambda: separable_against_standard(value), "in_channels"),
        (lambda: separable_against_standard(8, value), "out_channels"),
        (lambda: separable_against_standard(8, 8, value), "kernel_size"),
    ]:
        with pytest.raises(OptionError, match=rf"{name} \(={value!r}\) must be"):
            call()


@pytest.mark.parametrize("size", [(), (1, 2, 3, 4), (0, 3), 56, (5.0,)])
def test_sizes_of_maps_that_are_none(size: Any) -> None:
    for table in (stack_against_kernel, bottleneck_against_plain, separable_against_standard):
        with pytest.raises(OptionError, match=r"size \(=.*must be 1 to 3 whole numbers"):
            table(size=size)


def test_a_reduction_that_does_not_divide_the_channels() -> None:
    with pytest.raises(OptionError, match=r"reduction \(=3\) must divide channels \(=256\)"):
        bottleneck_against_plain(256, 3)
