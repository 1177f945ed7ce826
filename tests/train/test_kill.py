"""Death at any moment: the resumed run ends with the bits of the uninterrupted one."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest
import torch
from dying import in_a_fork
from forked import Forked, command

from convarium import data, files, models, train

WORDS = [
    "digits", "--epochs", "2", "--batch-size", "64", "--model", "lenet5", "--size", "32",
    "--ema", "0.9", "--checkpoint-seconds", "0.02",
]  # fmt: skip


def start(out, *extra):
    return Forked(command, "train", *WORDS, "--out", out, *extra, folder=out.parent)


@pytest.mark.parametrize("workers", [pytest.param("0", marks=pytest.mark.long), "2"])
def test_sigkill_at_random_moments_then_resume_is_bit_identical(tmp_path, workers):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    done = start(whole, "--workers", workers).wait()
    assert done.returncode == 0, done.stderr
    moments = random.Random(int(workers))
    kills = 0
    for attempt in range(12):
        resume = ["--resume"] if (cut / "config.toml").exists() else []
        life = start(cut, "--workers", workers, *resume)
        if attempt < 3:
            deadline = time.monotonic() + 60
            while not cut.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(moments.uniform(0, 0.8))
            life.process.kill()
        done = life.wait()
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        kills += 1
    assert kills >= 1
    names = ("model.safetensors", "splits.parquet", "predictions.parquet")
    for name in names:
        assert files.sha256(whole / name) == files.sha256(cut / name), name
    rows = [files.read_jsonl(folder / "history.jsonl") for folder in (whole, cut)]
    for row in (*rows[0], *rows[1]):
        row.pop("seconds")
    assert rows[0] == rows[1]


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.long)])
def test_death_at_every_rename_loses_nothing(tmp_path, step):
    """A process dies just before, in the long run also just after, each file takes its name."""
    parts = data.split(data.open_dataset("digits"), validation=0.1, test=0.8)
    preprocessing = data.fit_preprocessing(parts.train)
    config = train.TrainConfig(epochs=2, batch_size=64, ema=0.9, workers=0, flip=False)

    def run(out, **keywords):
        torch.manual_seed(0)
        return train.fit(small(), parts, config, preprocessing=preprocessing, out=out, **keywords)

    def small():
        return models.create(
            "convnet", in_channels=1, num_classes=10, channels=[4], kernel_sizes=[3]
        )

    run(tmp_path / "whole")
    expected = files.sha256(tmp_path / "whole" / "model.safetensors")
    for k in range(1, 200, step):
        out = tmp_path / f"cut-{k}"
        if not dies(lambda out=out: run(out), at=(k + 1) // 2, before=k % 2 == 1):
            break
        finished = (out / "card.json").exists()
        run(out, resume=(out / "config.toml").exists())
        assert files.sha256(out / "model.safetensors") == expected, k
        # a finished run is only read, so an empty leftover of its last file stays
        assert finished or not list(out.rglob(".*.tmp")), k
    assert k > 20


def dies(work, *, at: int, before: bool) -> bool:
    """Run `work` in a forked process that dies at the `at`-th `os.replace`; whether it did."""

    def dying():
        replace, count = os.replace, 0

        def counted(*arguments):
            nonlocal count
            count += 1
            if count == at and before:
                os._exit(9)
            replace(*arguments)
            if count == at:
                os._exit(9)

        os.replace = counted
        work()

    return in_a_fork(dying) == 9
