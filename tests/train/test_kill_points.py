"""Death at moments that Hypothesis chooses: before any call of a function of the product."""

from __future__ import annotations

import functools
import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from dying import in_a_fork
from hypothesis import example, given, settings
from hypothesis import strategies as st

import convarium
from convarium import data, files, models, train

HERE = f"{Path(convarium.__file__).parent}{os.sep}"


@pytest.fixture(scope="module")
def digits():
    parts = data.split(data.open_dataset("digits"), validation=0.1, test=0.8)
    return parts, data.fit_preprocessing(parts.train)


def training(digits, out, *, moment=0, workers=0, every=60.0):
    """Begin a training, or go on with it; SIGKILL before its `moment`-th call, never for 0.

    Gives how many calls there were.
    """
    parts, preprocessing = digits
    config = train.TrainConfig(
        epochs=2, batch_size=64, ema=0.9, flip=False, workers=workers, checkpoint_seconds=every
    )
    torch.manual_seed(0)
    network = models.create(
        "convnet", in_channels=1, num_classes=10, channels=[4], kernel_sizes=[3]
    )
    resume, before, calls = (out / "config.toml").exists(), sys.getprofile(), 0

    def count(frame, event, _):
        nonlocal calls
        if event == "call" and frame.f_code.co_filename.startswith(HERE):
            calls += 1
            if calls == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    try:
        train.fit(network, parts, config, preprocessing=preprocessing, out=out, resume=resume)
    finally:
        sys.setprofile(before)
    return calls


def results(out):
    rows = files.read_jsonl(out / "history.jsonl")
    return files.sha256(out / "model.safetensors"), [{**row, "seconds": 0} for row in rows]


@pytest.fixture(scope="module")
def whole(digits, tmp_path_factory):
    """The calls of a run that nobody kills, by the seconds between checkpoints; its results."""
    folder = tmp_path_factory.mktemp("whole")
    training(digits, folder / "warm")  # imports, which the processes then share
    calls = {every: training(digits, folder / f"{every}", every=every) for every in (0.0, 60.0)}
    return calls, results(folder / "60.0")


def dies_and_goes_on(digits, whole, deaths, workers, every):
    """How each process ended, the last of which went on to the end; the results; what is left over.

    A finished run is only read, so a leftover of its last file stays and is not counted.
    """
    calls, _ = whole
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "cut")
        run = functools.partial(training, digits, out, workers=workers, every=every)
        moments = [1 + int(share * (calls[every] - 1)) for share in deaths]
        ends = [in_a_fork(functools.partial(run, moment=moment)) for moment in moments]
        finished = (out / "card.json").exists()
        ends.append(in_a_fork(run))
        return ends, results(out), [] if finished else list(out.rglob(".*.tmp"))


def allowed(workers):
    """How the first process may end: calls of other threads are not counted, so it may finish."""
    return {-signal.SIGKILL, 0} if workers else {-signal.SIGKILL}


DEATHS = st.lists(st.floats(0, 1), min_size=1, max_size=3)
WORKERS, EVERY = st.sampled_from([0, 2]), st.sampled_from([0.0, 60.0])


@given(deaths=DEATHS, workers=WORKERS, every=EVERY)
@example(deaths=[0.5, 0.3], workers=2, every=0.0)
@settings(max_examples=4)
def test_a_run_killed_at_any_call_ends_with_the_same_bits(digits, whole, deaths, workers, every):
    ends, found, left = dies_and_goes_on(digits, whole, deaths, workers, every)
    assert ends[0] in allowed(workers)
    assert set(ends[1:-1]) <= {-signal.SIGKILL, 0}
    assert (ends[-1], found, left) == (0, whole[1], [])


@pytest.mark.long
@pytest.mark.timeout(900)
@given(deaths=DEATHS, workers=WORKERS, every=EVERY)
@settings(max_examples=120)
def test_a_run_killed_at_any_of_many_calls_ends_with_the_same_bits(
    digits, whole, deaths, workers, every
):
    ends, found, left = dies_and_goes_on(digits, whole, deaths, workers, every)
    assert ends[0] in allowed(workers)
    assert set(ends[1:-1]) <= {-signal.SIGKILL, 0}
    assert (ends[-1], found, left) == (0, whole[1], [])
