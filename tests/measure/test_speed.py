"""Latency and profile against modules that sleep, and that nothing stays behind."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convarium
from convarium.errors import OptionError, ShapeError
from convarium.measure.layer_times import profile
from convarium.measure.speed import latency


class Nap(nn.Module):
    """Sleeps for a while, and a while longer for each sample."""

    def __init__(self, seconds: float, each: float = 0.0) -> None:
        super().__init__()
        self.seconds, self.each = seconds, each

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(self.seconds + self.each * len(x))
        return x


class Notebook:
    """What `Seen` writes into; what a module holds itself is put back."""

    def __init__(self) -> None:
        self.inputs: list[Tensor] = []
        self.conditions: set[tuple[bool, bool, bool, int]] = set()


class Seen(nn.Module):
    """Notes under what conditions it runs."""

    def __init__(self, book: Notebook, seconds: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.book, self.seconds = book, seconds

    def forward(self, x: Tensor) -> Tensor:
        self.book.inputs.append(x)
        threads, autocast = torch.get_num_threads(), torch.is_autocast_enabled("cpu")
        inference = torch.is_inference_mode_enabled()
        self.book.conditions.add((self.training, inference, autocast, threads))
        time.sleep(self.seconds)
        return x


class Broken(nn.Module):
    """Changes what it can reach, and fails."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        torch.rand(7)
        self.norm.running_mean += 1
        self.passes += 1
        if self.passes > 2:
            raise RuntimeError("the third pass fails\nwith a second line")
        return x


def state(model: nn.Module) -> dict[str, Any]:
    """All that may not change."""
    return {
        "modes": [module.training for module in model.modules()],
        "hooks": [
            len(hooks)
            for module in model.modules()
            for hooks in (module._forward_hooks, module._forward_pre_hooks)
        ],
        "random": torch.get_rng_state().tolist(),
        "threads": torch.get_num_threads(),
        "buffers": [buffer.tolist() for buffer in model.buffers()],
        "grads": [p.grad for p in model.parameters()],
        "autocast": torch.is_autocast_enabled("cpu"),
        "inference": torch.is_inference_mode_enabled(),
    }


def test_the_time_of_a_sleep_by_batch_size():
    found = latency(Nap(0.002, each=0.004), (1, 3), batch_sizes=(1, 4), rounds=5)
    assert [row.batch_size for row in found.rows] == [1, 4]
    for row, least in zip(found.rows, (6.0, 18.0), strict=True):
        assert row.n == 5
        assert least <= row.p10_ms <= row.median_ms <= row.p90_ms
        assert row.median_ms < least + 15
        assert row.p99_ms is None
        assert row.samples_per_second == pytest.approx(1e3 * row.batch_size / row.median_ms)
    assert found.median_ms == found.rows[0].median_ms


def test_hundred_passes_have_a_99th_percentile():
    (row,) = latency(nn.Identity(), (1, 3), rounds=100).rows
    assert row.n == 100
    assert row.p90_ms <= row.p99_ms


def test_a_slow_model_is_timed_three_times_and_no_more():
    book = Notebook()
    start = time.perf_counter()
    (row,) = latency(Seen(book, 0.05), (1, 3), seconds=0.06, warmup=50, rounds=500).rows
    assert row.n == 3
    assert len(book.inputs) <= 5
    assert time.perf_counter() - start < 1


def test_it_runs_in_eval_mode_without_gradients_and_says_under_which_conditions():
    book = Notebook()
    model = Seen(book).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = latency(model, (2, 3, 8), threads=3, rounds=2)
    assert book.conditions == {(False, True, False, 3)}
    assert {(tuple(x.shape), x.dtype) for x in book.inputs} == {((2, 3, 8), torch.float64)}
    assert (found.threads, found.device, found.dtype) == (3, "cpu", "float64")
    assert found.torch == torch.__version__
    assert found.processor
    assert json.loads(json.dumps(found.to_json()))["rows"][0]["batch_size"] == 2


@pytest.mark.parametrize("measure", [latency, profile])
@pytest.mark.parametrize("inside", [contextlib.nullcontext, torch.inference_mode])
def test_nothing_of_the_model_or_of_torch_changes(measure, inside):
    model = convarium.create("resnet8")
    model.layer2.eval()
    before = state(model)
    with inside():
        measure(model, (1, 3, 8, 8), threads=2, rounds=2)
    assert state(model) == before


@pytest.mark.parametrize("measure", [latency, profile])
def test_nothing_changes_where_the_model_fails_either(measure):
    model = Broken()
    before = state(model)
    with pytest.raises(ShapeError, match=r"Broken .*\(1, 3\): the third pass fails; ") as error:
        measure(model, (1, 3), threads=2)
    assert state(model) == before
    assert "\n" not in str(error.value)


def test_the_layers_of_a_profile_in_order_with_their_shares():
    nap, rest = Nap(0.004), Nap(0.012)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rest, self.block = rest, nn.Sequential(nap, nn.Identity())

        def forward(self, x: Tensor) -> dict[str, Any]:
            x = self.block(x)
            time.sleep(0.004)
            return {"out": (self.rest(x), self.block[0](x))}

    found = profile(Model(), (1, 3), rounds=5)
    assert [(row.layer, row.call, row.kind) for row in found.rows] == [
        ("block.0", 0, "Nap"),
        ("block.1", 0, "Identity"),
        ("rest", 0, "Nap"),
        ("block.0", 1, "Nap"),
    ]
    for row, least in zip(found.rows, (4, 0, 12, 4), strict=True):
        assert least <= row.median_ms < least + 10
    assert 4 <= found.between_ms < 14
    assert found.n == 5
    assert sum(row.share for row in found.rows) + found.between_share == pytest.approx(1)
    assert found.rows[2].share == pytest.approx(0.5, abs=0.2)
    assert json.loads(json.dumps(found.to_json()))["rows"][2]["layer"] == "rest"


def test_hooks_of_the_owner_are_not_counted_as_the_layer():
    layer = Nap(0.002)
    layer.register_forward_pre_hook(lambda *_: time.sleep(0.01))
    layer.register_forward_hook(lambda *_: time.sleep(0.01))
    (row,) = profile(nn.Sequential(layer), (1, 3), rounds=3).rows
    assert 2 <= row.median_ms < 10  # and not 22


def test_a_layer_with_a_parametrised_weight_is_one_layer() -> None:
    network = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 4, 3)), nn.ReLU())
    assert [row.layer for row in profile(network, (1, 2, 9), rounds=3).rows] == ["0", "1"]


def test_wrapped_and_compiled_models_are_measured():
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    shape = (1, 3, 8, 8)
    compiled = torch.compile(plain, backend="eager")
    for model in (nn.DataParallel(plain), compiled):
        before = state(model)
        assert latency(model, shape, rounds=2).rows[0].n == 2
        assert [row.layer for row in profile(model, shape, rounds=2).rows] == ["0", "1"]
        assert state(model) == before


def test_a_compiled_model_is_timed_compiled():
    calls = []

    def backend(graph: Any, inputs: Any) -> Any:
        calls.append(graph)
        return graph.forward

    latency(torch.compile(nn.Linear(3, 2), backend=backend), (1, 3), rounds=2)
    assert calls


class Text(nn.Module):
    """Looks up words and their places, pools where a word is not the first, and reads a state."""

    def __init__(self, see: Any = None) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(1000, 8), nn.Embedding(7, 8)
        self.body, self.norm = nn.LSTM(8, 4), nn.BatchNorm1d(4)
        self.see = see or (lambda *_: None)

    def forward(self, words: Tensor, places: Tensor | None = None) -> Tensor:
        x = self.words(words)
        if places is not None:
            x = x + self.places(places)
        self.see(words, places)
        return self.norm(self.body(x)[0][:, -1])


@pytest.mark.parametrize("measure", [latency, profile])
def test_text_models_are_given_whole_numbers(measure):
    seen: list[tuple[Tensor, Tensor]] = []
    model = Text(lambda *given: seen.append(given))
    model.norm.weight.grad = torch.ones(4)
    before = state(model)
    found = measure(model, ((4, 12), (4, 12)), rounds=2)
    assert state(model) == before
    assert (found.input_shape, found.other_shapes) == ((4, 12), ((4, 12),))
    ran = [x for given in seen for x in given if not x.is_meta]  # a trace found out their kind
    assert len(ran) >= 4
    for word in ran:
        assert (word.dtype, tuple(word.shape)) == (torch.int64, (4, 12))
        assert 0 <= word.min() < word.max() < 7  # rows that the smaller table has
    seen.clear()
    assert measure(model, [4, 12], rounds=2).other_shapes == ()
    assert {places for _, places in seen} == {None}


def test_whole_numbers_are_looked_up_in_each_layer():
    rows = profile(Text(), [(4, 12), (4, 12)], rounds=2).rows
    assert [(row.layer, row.call) for row in rows] == [
        *(("words", 0), ("places", 0), ("body", 0), ("norm", 0))
    ]


@pytest.mark.parametrize("measure", [latency, profile])
def test_several_inputs_that_do_not_fit_are_told(measure):
    model = Text()
    before = state(model)
    for shapes in [((4, 12), (4, 13)), ((4, 12), (4, 12), (4, 12)), ((4, 12, 3),)]:
        with pytest.raises(
            ShapeError, match=r"Text does not take an input of shape \(4, 12"
        ) as error:
            measure(model, shapes)
        assert "\n" not in str(error.value)
    assert state(model) == before


def test_a_batch_size_is_that_of_every_input_with_the_same():
    seen: set[tuple[tuple[int, ...], tuple[int, ...]]] = set()

    class Both(nn.Module):
        def forward(self, x: Tensor, table: Tensor) -> Tensor:
            seen.add((tuple(x.shape), tuple(table.shape)))
            return x @ table

    found = latency(Both(), ((2, 5), (5, 3)), batch_sizes=[1, 4], rounds=1)
    assert seen == {((1, 5), (5, 3)), ((4, 5), (5, 3))}
    assert [row.batch_size for row in found.rows] == [1, 4]
    latency(torch.nn.Bilinear(3, 4, 2), ((2, 3), (2, 4)), batch_sizes=[8], rounds=1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_model_is_timed_but_shows_no_layers():
    model = torch.jit.script(nn.Sequential(nn.Linear(3, 2)))
    assert latency(model, (1, 3), rounds=2).rows[0].n == 2
    assert model.training
    with pytest.raises(OptionError, match="scripted"):
        profile(model, (1, 3))


@pytest.mark.parametrize("measure", [latency, profile])
@pytest.mark.parametrize(
    ("make", "shape", "options", "error", "words"),
    [
        (lambda: nn.Conv2d(3, 4, 3), (1, 4, 8, 8), {}, ShapeError, "give the whole shape, batch"),
        (lambda: convarium.create("resnet8"), (1, 4, 8, 8), {}, ShapeError, "resnet8"),
        (lambda: convarium.create("resnet8"), (1, 3), {}, ShapeError, "resnet8"),
        (nn.Identity, (3, 0), {}, ShapeError, "input_shape"),
        (nn.Identity, 224, {}, ShapeError, "input_shape"),
        (nn.Identity, (1.0, 3), {}, ShapeError, "input_shape"),
        (lambda: nn.LazyLinear(2), (1, 3), {}, OptionError, "lazy"),
        (lambda: nn.Linear(3, 2, device="meta"), (1, 3), {}, OptionError, "meta device"),
        (nn.Identity, (1, 3), {"threads": 0}, OptionError, "threads"),
        (nn.Identity, (1, 3), {"threads": 10**9}, OptionError, "threads"),
        (nn.Identity, (1, 3), {"rounds": 0}, OptionError, "rounds"),
        (nn.Identity, (1, 3), {"seconds": -1}, OptionError, "seconds"),
        (nn.Identity, (10**9, 10**9), {}, OptionError, "memory"),
    ],
)
def test_bad_input_is_one_sentence(measure, make, shape, options, error, words):
    threads = torch.get_num_threads()
    with pytest.raises(error, match=words):
        measure(make(), shape, **options)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("sizes", [(), (0,), (1, 2.0)])
def test_batch_sizes_are_whole_numbers(sizes):
    with pytest.raises(OptionError, match="batch_sizes"):
        latency(nn.Identity(), (1, 3), batch_sizes=sizes)
