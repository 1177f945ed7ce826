"""The view of learning: its numbers are those of torch, of closed forms and of the experiment."""

from __future__ import annotations

import json
import math
import statistics

import numpy as np
import pytest
import torch
import write_depth
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from convarium import measure, models
from convarium.errors import OptionError, ShapeError
from convarium.studio import depth, learn, moving

SIDES = st.integers(1, 9)
HOW = st.fixed_dictionaries(
    {"stride": st.integers(1, 4), "padding": st.integers(0, 3), "dilation": st.integers(1, 3)}
)


@settings(max_examples=25)
@given(SIDES, SIDES, st.integers(1, 4), st.integers(1, 4), HOW, st.integers(0, 99))
def test_a_kernel_slides_as_torch_slides_it(high, wide, tall, broad, how, seed):
    random = np.random.default_rng(seed)
    picture, kernel = random.normal(size=(high, wide)), random.normal(size=(tall, broad))
    sizes = [
        (n + 2 * how["padding"] - how["dilation"] * (k - 1) - 1) // how["stride"] + 1
        for n, k in ((high, tall), (wide, broad))
    ]
    assume(min(sizes) > 0)
    told = learn.slid(kernel.tolist(), picture.tolist(), **how)
    own = torch.from_numpy(picture)[None, None], torch.from_numpy(kernel)[None, None]
    expected = functional.conv2d(*own, **how)[0, 0].numpy()
    assert told["size"] == sizes
    np.testing.assert_allclose(told["map"], expected, atol=1e-12)
    dense = np.zeros(told["matrix"]["shape"])
    for line, row in zip(dense, told["matrix"]["rows"], strict=True):
        line[row["columns"]] = row["values"]
    np.testing.assert_allclose(dense @ picture.ravel(), expected.ravel(), atol=1e-12)
    assert told["matrix"]["entries"] == sum(len(row["columns"]) for row in told["matrix"]["rows"])


def test_the_places_that_are_read_count_zero_weights_too():
    told = learn.slid([[0, 0], [0, 1]], np.zeros((3, 3)).tolist())
    assert [row["columns"] for row in told["matrix"]["rows"]][3] == [4, 5, 7, 8]
    assert told["words"][0] == "height: (3 + 2 x 0 - 1 x (2 - 1) - 1) / 1, rounded down, + 1 = 2"


@pytest.mark.parametrize(
    ("kernel", "picture", "how", "words"),
    [
        ([], [1, 2], {}, "kernel"),
        ([1, "a"], [1, 2], {}, "kernel"),
        ([[1, 2], [3]], [[1, 2], [3, 4]], {}, "kernel"),
        ([float("nan")], [1, 2], {}, "kernel"),
        ([1.0] * 50, [1, 2], {}, "at most 49 numbers"),
        ([1], [[1.0] * 300], {}, "at most 256 numbers"),
        ([1, 2], [[1, 2]], {}, "kernel has 1 axes and picture 2"),
        ([1, 2, 3], [1, 2], {}, "spans 3 places and there are 2"),
        ([1, 2], [1, 2], {"stride": 0}, "stride"),
        ([1, 2], [1, 2], {"padding": -1}, "padding"),
        ([1, 2], [1, 2], {"dilation": 99}, "dilation"),
    ],
)
def test_what_cannot_slide_is_one_sentence(kernel, picture, how, words):
    with pytest.raises((OptionError, ShapeError), match=words) as caught:
        learn.slid(kernel, picture, **how)
    assert "\n" not in str(caught.value)


@settings(max_examples=30)
@given(
    st.integers(1, 3), st.integers(1, 4), st.integers(1, 2), st.integers(1, 3), st.integers(1, 200)
)
def test_a_tree_reaches_as_far_as_gradients_do(layers, taps, convs, base, target):
    told = learn.tree(layers, taps, convs, base, target)
    x = torch.zeros(1, 1, told["field"] + 5, requires_grad=True)
    h = x
    for dilation in (base**layer for layer in range(layers) for _ in range(convs)):
        padded = functional.pad(h, ((taps - 1) * dilation, 0))
        h = functional.conv1d(padded, torch.ones(1, 1, taps), dilation=dilation)
    h[0, 0, -1].backward()
    seen = (x.shape[-1] - 1 - torch.nonzero(x.grad[0, 0]).ravel()).flip(0).tolist()
    assert told["levels"][-1]["steps"] == seen
    assert seen[-1] == told["field"] - 1
    assert [level["dilation"] for level in told["levels"]][-1] == 1


def test_a_tree_knows_how_deep_it_must_be():
    assert learn.tree(target=100)["needed"] == 5  # 1 + 2 x 2 x (1 + 2 + 4 + 8 + 16) = 125
    assert learn.tree(64, kernel_size=16)["levels"] == []
    with pytest.raises(OptionError, match="num_layers"):
        learn.tree(65)
    assert learn.tree(3, kernel_size=1)["needed"] is None


@settings(max_examples=12)
@given(st.integers(1, 64), st.integers(1, 64), st.sampled_from([1, 3, 5]), st.integers(1, 20))
def test_costs_are_those_of_the_formulas(c, filters, k, side):
    tables = {each["title"]: each["rows"] for each in learn.costs(c, filters, k, side)["tables"]}
    separable, standard = tables["Depthwise and 1x1 against one convolution"]
    assert separable["weights"] == c * k**2 + c * filters
    assert standard["macs"] == c * filters * k**2 * side**2
    share = learn.costs(c, filters, k, side)["share"]
    assert math.isclose(separable["weights"] / standard["weights"], share)
    shared = tables["Dense, local and shared weights"][-1]
    assert shared["parameters"] == filters * (c * k**2 + 1)


def test_a_separable_layer_has_the_parameters_of_the_paper():
    told = learn.costs(256, 256, 3, 14)["tables"][0]["rows"]
    assert [row["parameters"] for row in told] == [68_864, 590_336]
    with pytest.raises(OptionError, match="in_channels"):
        learn.costs(5000)


def test_scaling_stands_beside_the_published_networks():
    told = learn.scaling(2.0, 1.2, 1.1, 1.15)
    assert math.isclose(told["factors"]["flops"], (1.2 * 1.1**2 * 1.15**2) ** 2)
    assert [row["parameters"] for row in told["published"]] == [
        models.catalogue.find(f"efficientnet_b{n}")["parameters"] for n in range(8)
    ]
    assert [row["size"] for row in told["published"]] == [224, 240, 260, 300, 380, 456, 528, 600]
    assert math.isclose(told["published"][3]["law"], (1.2 * 1.1**2 * 1.15**2) ** 3)
    with pytest.raises(OptionError, match="alpha"):
        learn.scaling(1.0, alpha=0.0)


@pytest.mark.parametrize("halving", ["stride", "max", "blur"])
@pytest.mark.parametrize("picture", ["ring", "stripes", "letter"])
def test_maps_follow_by_whole_strides(picture, halving):
    for shift in (0, 8, -8):
        told = moving.moved(shift, -shift, picture=picture, halving=halving, levels=3)
        assert all(level["error"] < 1e-6 and level["exact"] for level in told["levels"])
    told = moving.moved(0, 2, picture=picture, halving=halving, levels=3)["levels"]
    assert [level["stride"] for level in told] == [2, 4, 8]
    assert [level["exact"] for level in told] == [True, False, False]
    assert told[0]["error"] < 1e-6 < 0.1 < told[2]["error"]


@pytest.mark.parametrize("kernel", ["nothing", "blur", "edges"])
def test_the_error_is_that_of_the_measure_room(kernel):
    network = moving.chain(kernel, "stride", 2)
    x = moving.PICTURES["letter"]()[None, None]
    rows = measure.equivariance(network, x, amount=(4, 8), layers=["0", "1"]).rows
    told = moving.moved(4, 8, picture="letter", kernel=kernel)["levels"]
    assert [row.steps for row in rows] == [(2, 4), (1, 2)]
    assert [level["error"] for level in told] == pytest.approx([row.error for row in rows])


def test_fine_stripes_vanish_behind_a_stride_and_not_behind_a_blur():
    asked = {"picture": "stripes", "kernel": "nothing", "levels": 1}
    lost = moving.moved(0, 1, halving="stride", **asked)["levels"][0]
    assert np.abs(lost["map"]).max() == 0
    assert lost["change"] == 1
    kept = moving.moved(0, 1, halving="blur", **asked)["levels"][0]
    assert np.abs(kept["map"]).max() > 0.2
    assert kept["change"] < 0.01


def test_without_strides_every_shift_is_followed():
    told = moving.follows(halving="none", levels=3)
    assert told["least"] == 1
    assert max(error for _, error in told["curve"]) < 1e-6
    assert moving.follows(levels=3)["least"] == 8


@pytest.mark.parametrize(
    "asked",
    [{"picture": "cat"}, {"kernel": ""}, {"halving": "pool"}, {"levels": 4}, {"down": 9}],
)
def test_other_ways_to_move_are_refused(asked):
    with pytest.raises(OptionError, match=next(iter(asked))):
        moving.moved(**asked)


def test_the_stored_gradients_are_those_of_the_experiment(root):
    assert depth.PATH.read_text() == write_depth.text(), "run: make results"
    path = root / "experiments" / "results" / "plain_against_residual.json"
    result, told = json.loads(path.read_text()), depth.gradients()
    assert [each["name"] for each in told["networks"]] == [
        "plain20_cifar", "plain56_cifar", "resnet20_cifar", "resnet56_cifar",
    ]  # fmt: skip
    for each in told["networks"]:
        runs = [run for run in result["runs"] if run["network"] == each["name"]]
        assert each["seeds"] == [run["seed"] for run in runs]
        last = [run["gradients"][-1]["weight_gradients"][0] for run in runs]
        assert each["epochs"][-1][0][1] == pytest.approx(statistics.mean(last), rel=1e-3)
        errors = [run["test"]["error"] for run in runs]
        assert each["test_error"]["mean"] == pytest.approx(statistics.mean(errors))
