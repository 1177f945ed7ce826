"""Files that several threads run at once: each thread has the answers to its own samples."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from forked import Forked, execute
from torch import Tensor, nn

from convarium import deploy, predict
from convarium.data import Dataset, Preprocessing
from convarium.data.samples import ArraySamples
from convarium.deploy import forms
from convarium.deploy.exporting import FORMATS

THREADS, PASSES = 6, 15


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)).eval()


def apart(forward: Callable[[Tensor], Tensor], model: nn.Module, sizes: tuple[int, ...]) -> float:
    """The largest difference where every thread asks again and again, with samples of its own."""
    given = [torch.randn(sizes[k % len(sizes)], 3, 24, 24) for k in range(THREADS)]
    with torch.no_grad():
        expected = [model(x) for x in given]

    def ask(k: int) -> float:
        return max(float((forward(given[k]) - expected[k]).abs().max()) for _ in range(PASSES))

    with ThreadPoolExecutor(THREADS) as threads:
        return max(threads.map(ask, range(THREADS)))


@pytest.mark.parametrize(
    ("engine", "streams"),
    [
        pytest.param("openvino", 1, marks=pytest.mark.long),
        ("openvino", 2),
        pytest.param("onnx", 1, marks=pytest.mark.long),
        pytest.param("torch", 1, marks=pytest.mark.long),
    ],
)
def test_threads_do_not_share_what_a_file_computes_with(
    engine: str, streams: int, tmp_path: Path
) -> None:
    model = network()
    path = tmp_path / f"net{FORMATS[engine].suffix}"
    deploy.export(model, path, samples=torch.randn(3, 3, 24, 24), format=engine)
    assert apart(deploy.Artefact(path, threads=1, streams=streams), model, (1, 5, 2)) < 1e-4


@pytest.mark.long
def test_threads_do_not_share_what_a_file_for_phones_computes_with(tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    model, path = network(), tmp_path / "net.pte"
    deploy.export(model, path, samples=torch.randn(3, 3, 24, 24), format="executorch")
    assert apart(deploy.Artefact(path), model, (1, 2)) < 1e-4


@pytest.mark.parametrize(
    "engine", ["eager", pytest.param("folded", marks=pytest.mark.long), "openvino"]
)
def test_threads_may_share_a_predictor_of_the_form_that_tune_chose(
    engine: str, tmp_path: Path
) -> None:
    model, steps = network(), Preprocessing((3, 24, 24), (0.5,) * 3, (0.2,) * 3, tuple("abcd"))
    if engine == "openvino":
        deploy.export(
            model, tmp_path / "model.xml", samples=torch.randn(3, 3, 24, 24), format=engine
        )
        forward: Callable[..., Tensor] = forms.InFile(tmp_path, forms.Form(engine, "fp32", 1), 4)
    else:
        forward = forms.InTorch(model, forms.Form(engine, "fp32", 1), (4, 3, 24, 24))
    card = {"task": "classification", **steps.to_card()}
    own, shared = predict.Predictor(model, card), predict.Predictor(forward, card)
    pixels = torch.randint(0, 256, (THREADS, 30, 3, 24, 24), dtype=torch.uint8).numpy()
    data = [Dataset(ArraySamples(x, [("all", 30)]), source="made") for x in pixels]

    def asked(predictor: predict.Predictor, k: int) -> list[float]:
        return [row.confidence for row in predictor.records(data[k], batch_size=4)]

    expected = [asked(own, k) for k in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as threads:
        found = [*threads.map(lambda k: [asked(shared, k) for _ in range(3)], range(THREADS))]
    for own_answers, times in zip(expected, found, strict=True):
        for answers in times:
            assert answers == pytest.approx(own_answers, abs=1e-5)


def test_threads_inside_at_once_leave_the_number_of_threads_as_it_was() -> None:
    """The second one is new: it begins with the number that the first one has set."""
    first, second = (
        forms.InTorch(network(), forms.Form("eager", "fp32", 1), (1, 3, 24, 24)) for _ in "ab"
    )
    inside, both, left = (threading.Event() for _ in range(3))

    def stay(mine: threading.Event, until: threading.Event) -> Callable[[Tensor], Tensor]:
        def run(x: Tensor) -> Tensor:
            mine.set()
            assert until.wait(20)
            return x

        return run

    first.run, second.run = stay(inside, both), stay(both, left)
    before, x = torch.get_num_threads(), torch.zeros(1, 3, 24, 24)
    torch.set_num_threads(3)
    try:
        with ThreadPoolExecutor(2) as threads:
            one = threads.submit(first, x)
            assert inside.wait(20)
            other = threads.submit(lambda: (second(x), torch.get_num_threads()))
            one.result()
            left.set()
            assert other.result()[1] == 3
        with ThreadPoolExecutor(1) as threads:
            assert threads.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


LET_GO = """
import os, signal, threading
import torch
from convarium import deploy
taken = []
signal.signal(signal.SIGUSR1, lambda number, frame: taken.append(number))
held = [deploy.Artefact("net.xml", threads=1)]
held[0](torch.randn(1, 3, 24, 24))
thread = threading.Thread(target=held.clear)
thread.start()
thread.join()
os.kill(os.getpid(), signal.SIGUSR1)
print("taken:", taken == [signal.SIGUSR1])
"""


def test_a_signal_is_taken_after_another_thread_has_let_go_of_a_file(tmp_path: Path) -> None:
    samples = torch.randn(2, 3, 24, 24)
    deploy.export(network(), tmp_path / "net.xml", samples=samples, format="openvino")
    done = Forked(execute, LET_GO, {}, folder=tmp_path).wait(100)
    assert (done.returncode, done.stdout) == (0, "taken: True\n"), done.stderr
