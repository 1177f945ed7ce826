"""Death at moments that Hypothesis chooses: before any call of a function of the product."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from forked import Forked
from hypothesis import example, given, settings
from hypothesis import strategies as st

from convarium import data, files, models, train


def live(out: Path, moment: int, workers: int, every: float) -> None:
    """Begin a training, or go on with it; SIGKILL before its `moment`-th call, none for 0."""
    parts = data.split(data.open_dataset("digits"), validation=0.1, test=0.8)
    preprocessing = data.fit_preprocessing(parts.train)
    config = train.TrainConfig(
        epochs=2, batch_size=64, ema=0.9, flip=False, workers=workers, checkpoint_seconds=every
    )
    torch.manual_seed(0)
    network = models.create(
        "convnet", in_channels=1, num_classes=10, channels=[4], kernel_sizes=[3]
    )
    calls = 0

    def count(frame, event, _):
        nonlocal calls
        if event == "call" and f"{os.sep}convarium{os.sep}" in frame.f_code.co_filename:
            calls += 1
            if calls == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    resume = (out / "config.toml").exists()
    sys.setprofile(count)
    train.fit(network, parts, config, preprocessing=preprocessing, out=out, resume=resume)
    sys.setprofile(None)
    sys.stdout.write(str(calls))


def life(out, moment=0, workers=0, every=60.0):
    return Forked(live, out, moment, workers, every, folder=out.parent).wait()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The calls of a run that nobody kills, by how often it writes checkpoints; its results."""
    folder = tmp_path_factory.mktemp("whole")
    calls = {}
    for every in (0.0, 60.0):
        done = life(folder / f"{every}", every=every)
        assert done.returncode == 0, done.stderr
        calls[every] = int(done.stdout)
    return calls, results(folder / "60.0")


def results(folder):
    rows = files.read_jsonl(folder / "history.jsonl")
    return files.sha256(folder / "model.safetensors"), [{**row, "seconds": 0} for row in rows]


DEATHS = st.lists(st.floats(0, 1), min_size=1, max_size=2)


def dies_and_goes_on(whole, deaths, workers, every):
    calls, expected = whole
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "cut")
        for share in deaths:
            done = life(out, 1 + int(share * (calls[every] - 1)), workers, every)
            assert done.returncode in (-signal.SIGKILL, 0), done.stderr
        done = life(out, 0, workers, every)
        assert done.returncode == 0, done.stderr
        assert results(out) == expected
        assert not list(out.rglob(".*.tmp"))


@given(deaths=DEATHS, workers=st.sampled_from([0, 2]), every=st.sampled_from([0.0, 60.0]))
@example(deaths=[0.5, 0.3], workers=2, every=0.0)
@settings(max_examples=3, deadline=None)
def test_a_run_killed_at_any_call_ends_with_the_same_bits(whole, deaths, workers, every):
    dies_and_goes_on(whole, deaths, workers, every)


@pytest.mark.long
@pytest.mark.timeout(900)
@given(deaths=DEATHS, workers=st.sampled_from([0, 2]), every=st.sampled_from([0.0, 60.0]))
@settings(max_examples=100, deadline=None)
def test_a_run_killed_at_any_of_many_calls_ends_with_the_same_bits(whole, deaths, workers, every):
    dies_and_goes_on(whole, deaths, workers, every)
