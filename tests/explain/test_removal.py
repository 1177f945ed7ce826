"""Deletion and insertion against closed forms and a way that changes one input at a time."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from convarium.errors import OptionError, ShapeError
from convarium.explain import Attribution, deletion, insertion


def weighted(weights: list[float]) -> nn.Sequential:
    """f = sum of w_i x_i, as the one output."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(len(weights), 1, bias=False))
    network[1].weight.data = torch.tensor([weights])
    return network


def classifier(positions: int, classes: int = 3, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(positions, 8), nn.Tanh(), nn.Linear(8, classes))


W = [5.0, 3.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("shape", "heat_shape"),
    [((1, 1, 4), (1, 4)), ((1, 1, 2, 2), (1, 2, 2)), ((1, 1, 4, 1, 1), (1, 4, 1, 1))],
)
def test_the_closed_form(shape: tuple[int, ...], heat_shape: tuple[int, ...]) -> None:
    """10, 5, 2, 1, 0 as positions go and 0, 5, 8, 9, 10 as they come: 3.25 and 6.75."""
    x, heat = torch.ones(shape), torch.tensor(W).reshape(heat_shape)
    gone = deletion(weighted(W), x, heat, output="score")
    came = insertion(weighted(W), x, heat, output="score", baseline=0)
    assert gone.score.tolist() == [3.25]
    assert came.score.tolist() == [6.75]
    assert gone.values.tolist() == [[10, 5, 2, 1, 0]]
    assert came.values.tolist() == [[0, 5, 8, 9, 10]]
    assert gone.fractions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert (gone.better, came.better) == ("lower", "higher")


@settings(max_examples=12)
@given(
    sides=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    batch=st.integers(1, 3),
    part=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_of_a_linear_function_both_areas_sum_to_both_ends(
    sides: list[int], batch: int, part: float, seed: int
) -> None:
    """What is deleted from one is inserted into the other, step by step, in every order."""
    positions = int(np.prod(sides))
    assume(positions > 1)  # a map of one says nothing
    torch.manual_seed(seed)
    x, heat = torch.randn(batch, 2, *sides), torch.randn(batch, *sides)
    network = nn.Sequential(nn.Flatten(), nn.Linear(2 * positions, 1)).eval()
    steps = 1 + int(part * (positions - 1))
    gone, came = (
        way(network, x, heat, output="score", baseline=0.5, steps=steps, batch_size=4)
        for way in (deletion, insertion)
    )
    both = (network(x) + network(torch.full_like(x, 0.5))).detach()
    assert gone.edge_values is not None
    assert came.edge_values is not None
    torch.testing.assert_close(gone.values + came.values, both.expand(-1, steps + 1))
    torch.testing.assert_close(gone.random_values + came.random_values, both.expand(-1, steps + 1))
    torch.testing.assert_close(gone.edge_values + came.edge_values, both.expand(-1, steps + 1))
    torch.testing.assert_close(gone.score + came.score, both[:, 0])


@pytest.mark.parametrize("baseline", [0.0, "mean", "blur"])
def test_every_value_is_that_of_one_changed_input(baseline: float | str) -> None:
    network, x = classifier(2 * 12).eval(), torch.randn(2, 2, 3, 4)
    heat = torch.randn(2, 3, 4)
    found = deletion(network, x, heat, steps=5, baseline=baseline, target=[2, 0])
    empty = deletion(
        nn.Identity(), x, heat, forward=lambda z: z.flatten(1), output="score", target=0
    )
    assert empty.score.shape == (2,)
    if baseline == "mean":
        base = x.mean((2, 3), keepdim=True).expand_as(x)
    elif baseline == 0.0:
        base = torch.zeros_like(x)
    else:  # sigma: a tenth of 3 and 4, but at least 1
        apart = [
            torch.exp(-((torch.arange(n)[:, None] - torch.arange(n)) ** 2) / 2) for n in (3, 4)
        ]
        rows, columns = (weights / weights.sum(1, keepdim=True) for weights in apart)
        base = torch.einsum("ij,kl,bcjl->bcik", rows, columns, x)
    for sample, target in enumerate((2, 0)):
        order = heat[sample].flatten().argsort(descending=True)
        for step in range(6):
            changed = x[sample : sample + 1].clone().flatten(2)
            gone = order[: step * 12 // 5]
            changed[0, :, gone] = base[sample].flatten(1)[:, gone]
            expected = network(changed.reshape(1, 2, 3, 4)).softmax(1)[0, target]
            torch.testing.assert_close(found.values[sample, step], expected.detach())
    areas = np.trapezoid(found.values.numpy(), found.fractions.numpy())
    np.testing.assert_allclose(found.score.numpy(), areas, rtol=1e-5)


def test_a_batch_is_its_singles_and_any_batch_size() -> None:
    network, x = classifier(16).eval(), torch.randn(5, 1, 4, 4)
    heat = torch.randn(5, 4, 4).round()  # with ties
    whole = deletion(network, x, heat, batch_size=7)
    for row in range(5):
        single = deletion(network, x[row : row + 1], heat[row : row + 1], batch_size=100)
        assert whole.edge_values is not None
        assert single.edge_values is not None
        torch.testing.assert_close(whole.values[row], single.values[0])
        torch.testing.assert_close(whole.random_values[row], single.random_values[0])
        torch.testing.assert_close(whole.edge_values[row], single.edge_values[0])


def test_equal_heat_is_ordered_by_the_seed_and_not_by_place() -> None:
    """Over seeds the area is the mean of all orders of the first three, not that of the raster."""
    x, heat = torch.ones(1, 1, 4), torch.tensor([[0.0, 0, 0, -1]])
    areas = [
        float(deletion(weighted(W), x, heat, output="score", seed=seed).score) for seed in range(80)
    ]
    assert len(set(areas)) > 3
    assert float(np.mean(areas)) == pytest.approx(4.25, abs=0.3)  # the raster's order gives 3.25
    again = deletion(weighted(W), x, heat, output="score", seed=7)
    assert float(again.score) == areas[7]


def test_the_controls_know_no_heat() -> None:
    network, x = classifier(16).eval(), torch.randn(3, 1, 4, 4)
    one, other = (deletion(network, x, torch.randn(3, 4, 4)) for _ in range(2))
    assert one.edges is not None
    assert other.edges is not None
    assert torch.equal(one.random, other.random)
    assert torch.equal(one.edges, other.edges)
    assert not torch.equal(one.score, other.score)
    means = one.means()
    assert means.over_random.value == pytest.approx(
        float((one.random - one.score).mean()), abs=1e-6
    )
    assert means.over_random.interval.low <= means.over_random.value


def test_token_ids_are_replaced_by_an_id_and_have_no_edges() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(10, 3), nn.Flatten(), nn.Linear(18, 2))
    tokens = torch.randint(1, 10, (2, 6))
    found = deletion(network, tokens, torch.arange(6.0).expand(2, 6), baseline=0, target=1)
    changed = tokens.clone()
    changed[:, -2:] = 0
    expected = network(changed).softmax(1)[:, 1].detach()
    torch.testing.assert_close(found.values[:, 2], expected)
    assert found.edges is None
    assert found.means().edges is None
    with pytest.raises(OptionError, match="token id"):
        insertion(network, tokens, torch.ones(2, 6))


def test_the_target_is_that_of_the_heatmap_and_stays() -> None:
    network, x = classifier(16).eval(), torch.randn(2, 1, 4, 4)
    maps = torch.randn(2, 4, 4)
    classes = (network(x).argmin(1)).tolist()
    heat = Attribution(maps, "", tuple(classes), torch.ones(2), ("fine",) * 2, (4, 4))
    given = deletion(network, x, heat)
    torch.testing.assert_close(given.values, deletion(network, x, maps, target=classes).values)
    predicted = deletion(network, x, maps)
    highest = network(x).softmax(1).amax(1).detach()
    torch.testing.assert_close(predicted.values[:, 0], highest)
    free = Attribution(maps, "", None, torch.ones(2), ("fine",) * 2, (4, 4))
    with pytest.raises(OptionError, match="same callable"):
        deletion(network, x, free)


def test_a_coarse_signed_map_is_ranked_after_linear_upsampling() -> None:
    """Upsampled before any ReLU: of negative values too, the higher one goes first."""
    maps = torch.tensor([[-4.0, -1.0]])
    heat = Attribution(maps, "", (0,), torch.ones(1), ("all negative",), (4,))
    found = deletion(weighted([1.0, 10, 100, 1000]), torch.ones(1, 1, 4), heat, output="score")
    assert found.values.tolist() == [[1111, 111, 11, 1, 0]]


def test_several_inputs_a_forward_and_a_callable_target() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(8, 3)

        def forward(self, x: Tensor, scale: Tensor) -> dict[str, Tensor]:
            return {"logits": self.dense(x.flatten(1)) * scale}

    torch.manual_seed(0)
    network, x = Two(), torch.randn(3, 1, 8)
    scale, heat = torch.tensor([[1.0], [2.0], [3.0]]), torch.randn(3, 8)
    labels = torch.tensor([2, 0, 1])
    by_forward = deletion(
        network,
        (x, scale),
        heat,
        forward=lambda *inputs: network(*inputs)["logits"],
        target=labels,
        output="score",
        batch_size=2,
    )
    by_target = deletion(  # it sees whole batches, so it may know its samples
        network,
        (x, scale),
        heat,
        target=lambda output: output["logits"].gather(1, labels[:, None])[:, 0],
        output="score",
        batch_size=2,
    )
    torch.testing.assert_close(by_forward.values, by_target.values)
    expected = network(x, scale)["logits"].gather(1, labels[:, None])[:, 0].detach()
    torch.testing.assert_close(by_forward.values[:, 0], expected)


def test_no_trace_also_after_an_error() -> None:
    network = nn.Sequential(
        nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.Dropout(), nn.Flatten(), nn.Linear(12, 2)
    )
    network.train()
    network[4].weight.grad = torch.ones(2, 12)
    before, x = copy.deepcopy(network.state_dict()), torch.randn(2, 1, 8)
    streams = torch.get_rng_state()
    deletion(network, x, torch.randn(2, 8))
    calls = []

    def breaks(z: Tensor) -> Tensor:
        calls.append(len(z))
        if len(calls) > 2:
            raise RuntimeError("broken")
        output: Tensor = network(z)
        return output

    streams = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="broken"):
        deletion(network, x, torch.ones(2, 8), forward=breaks, batch_size=2)
    assert network.training
    assert all(module.training for module in network.modules())
    assert torch.equal(torch.get_rng_state(), streams)
    assert torch.equal(network[4].weight.grad, torch.ones(2, 12))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_map_with_nan_has_no_score_and_harms_no_other() -> None:
    network, x = classifier(16).eval(), torch.randn(2, 1, 4, 4)
    heat = torch.randn(2, 4, 4)
    right = deletion(network, x, heat)
    heat[0, 1, 1] = torch.nan
    found = deletion(network, x, heat)
    assert found.score.isnan().tolist() == [True, False]
    assert found.score[1] == right.score[1]
    assert found.means().score.n == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "from 1 to 16"),
        ({"steps": 17}, "from 1 to 16"),
        ({"baseline": "black"}, "'blur' or 'mean'"),
        ({"baseline": torch.nan}, "must be a number"),
        ({"output": "logit"}, "'probability' or 'score'"),
        ({"batch_size": 0}, "of 1 or more"),
        ({"target": 3}, "from 0 to 2"),
        ({"target": lambda output: output[:, 0]}, "output='score'"),
    ],
)
def test_options_that_are_none(options: dict[str, object], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        deletion(classifier(16), torch.ones(1, 1, 4, 4), torch.ones(1, 4, 4), **options)


def test_maps_that_do_not_fit() -> None:
    network, x = classifier(16), torch.ones(2, 1, 4, 4)
    for heat in (torch.ones(2, 2, 2), torch.ones(1, 4, 4), torch.ones(4, 4)):
        with pytest.raises(ShapeError, match="heat has"):
            deletion(network, x, heat)
