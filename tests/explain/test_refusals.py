"""What is no way to explain: one sentence that names the argument, never torch's own error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from audited import CARD, dataset, pictures, sees_white
from torch import Tensor, nn

from convarium import explain
from convarium.errors import OptionError, ShapeError
from convarium.explain import grad_cam
from convarium.explain.auditing.grouping import group_tables
from convarium.predict import Predictor

X = torch.randn(2, 1, 8, 8)


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )


def normed() -> nn.Sequential:
    return nn.Sequential(network()[0], nn.BatchNorm2d(4), *network()[1:])


class Means(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 6)
        self.conv = nn.Conv1d(6, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.conv(self.words(ids).mT).amax(2))


def unmade() -> nn.Sequential:
    with torch.device("meta"):
        return network()


LAZY = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten())
IDS = torch.arange(20).reshape(2, 10)


def audit(**words: Any) -> explain.Audit:
    return explain.audit(Predictor(sees_white(), CARD), dataset(pictures(10)), **words)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: grad_cam(network(), X.double()), r"x holds torch.float64 and the model torch.fl"),
        (lambda: grad_cam(network(), X.half()), r"give x.to\(torch.float32\)"),
        (lambda: explain.deletion(network(), X.double(), X[:, 0]), "x holds torch.float64"),
        (lambda: grad_cam(Text(), IDS + 5), "the id 24, and the model has 20 words"),
        (lambda: grad_cam(network(), X, layer=0), r"layer \(=0\) must be a dotted name"),
        (lambda: explain.occlusion(Text(), IDS, baseline=2.7), "must be a token id"),
        (lambda: explain.fuse(grad_cam(network(), X)), r"attributions \(=Attribution\)"),
        (lambda: explain.fuse([X]), r"attributions \(=Tensor\)"),
        (lambda: explain.fuse([]), r"attributions \(=\[\]\)"),
        (lambda: explain.sanity_check(network(), X, "grad_cam"), "must be a function"),
        (lambda: explain.energy(X[:, 0], X[:, 0] > 0, x=X.numpy()), "must be a tensor"),
        (lambda: grad_cam(unmade(), X), "on the meta device, without numbers; load the weights"),
        (lambda: grad_cam(unmade(), X.to("meta"), target=1), "without numbers; load the weights"),
        (lambda: grad_cam(LAZY, X), "0.weight has no numbers yet; run the model on a batch"),
        (lambda: grad_cam(network(), X.to("meta")), "without numbers; load the weights"),
        (lambda: audit(least="a"), r"least \(='a'\)"),
        (lambda: audit(layer=["0"]), r"layer \(=\['0'\]\) must be the dotted name"),
    ],
)
def test_one_sentence_says_what_is_wrong(call: Callable[[], object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        call()


def test_a_picture_without_its_batch_axis_is_told() -> None:
    with pytest.raises(ShapeError, match="give the whole shape, batch included"):
        grad_cam(normed(), X[0])
    with pytest.raises(ShapeError, match=r"does not take an input of shape .*batch included"):
        grad_cam(nn.Sequential(nn.Conv2d(1, 4, 3), Means(), nn.Linear(4, 3)), X[0])


@pytest.mark.long
def test_an_exported_network_says_which_batches_it_takes() -> None:
    plain = network().eval()
    exported = torch.export.export(plain, (X,)).module()
    with pytest.raises(ShapeError, match=r"exported for inputs of one size .*batch_size as long"):
        explain.occlusion(exported, X, window=4)
    heat = explain.occlusion(exported, X, window=4, batch_size=2)
    torch.testing.assert_close(heat.values, explain.occlusion(plain, X, window=4).values)


def test_a_limit_that_is_no_number() -> None:
    found = audit(groups={"site": ["a", "b"] * 5}, least_samples=1)
    with pytest.raises(OptionError, match="max_gap"):
        found.gates(max_gap="five")  # type: ignore[arg-type]


def test_edges_are_of_the_first_of_several_inputs_and_maps_may_come_one_by_one() -> None:
    maps, masks = X[:, 0], X[:, 0] > 0
    both = explain.pointing_game(maps, masks, x=(X, torch.ones(2, 5)))
    assert torch.equal(both.edges, explain.pointing_game(maps, masks, x=X).edges)
    heats = [grad_cam(network(), X, target=0) for _ in range(2)]
    fused = explain.fuse(heat for heat in heats)
    assert torch.equal(fused.values, explain.fuse(heats).values)
    with pytest.raises(ShapeError, match="beside masks"):
        explain.pointing_game(maps, masks, x=(torch.ones(2, 5), X))


def test_none_and_nan_are_no_groups() -> None:
    table = group_tables({"site": ["a", None, "b", float("nan"), np.nan, ""]}, 6)["site"]
    assert table.names == ("a", "b")
    assert table.numbers.tolist() == [0, -1, 1, -1, -1, -1]
