"""SIGKILL at random moments: the resumed run ends with the bits of the uninterrupted one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from convarium import files

WORDS = [
    "digits", "--epochs", "2", "--batch-size", "64", "--model", "lenet5", "--size", "32",
    "--ema", "0.9", "--checkpoint-seconds", "0.02",
]  # fmt: skip


def start(root, out, *extra):
    environment = dict(os.environ, PYTHONPATH=str(root / "src"))
    return subprocess.Popen(
        [sys.executable, "-m", "convarium", "train", *WORDS, "--out", str(out), *extra],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("workers", ["0", "2"])
def test_sigkill_at_random_moments_then_resume_is_bit_identical(root, tmp_path, workers):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    process = start(root, whole, "--workers", workers)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    moments = random.Random(int(workers))
    kills = 0
    for attempt in range(12):
        resume = ["--resume"] if (cut / "config.toml").exists() else []
        if not resume and cut.exists():  # died before anything could be resumed
            for leftover in cut.iterdir():
                leftover.unlink() if leftover.is_file() else None
        process = start(root, cut, "--workers", workers, *resume)
        if attempt < 3:
            deadline = time.monotonic() + 60
            while not list(cut.glob("checkpoint-*")) and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(moments.uniform(0, 0.8))
            process.send_signal(signal.SIGKILL)
        _, errors = process.communicate(timeout=120)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
        kills += 1
    assert kills >= 1
    names = ("model.safetensors", "splits.parquet", "predictions.parquet")
    for name in names:
        assert files.sha256(whole / name) == files.sha256(cut / name), name
    rows = [files.read_jsonl(folder / "history.jsonl") for folder in (whole, cut)]
    for row in (*rows[0], *rows[1]):
        row.pop("seconds")
    assert rows[0] == rows[1]
