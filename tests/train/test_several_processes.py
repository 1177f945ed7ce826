"""Several processes train what one trains: the same curve, exact resumes, a clear end."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from several import commanded, free_port, in_processes

from convarium import data, files, models, train
from convarium.processes import ALONE, World
from convarium.train.learner import Learner

CONFIG = train.TrainConfig(
    epochs=2, batch_size=16, ema=0.9, clip_norm=1.0, mixup=0.2, checkpoint_seconds=0.0, seed=3
)
WORDS = ["digits", "--epochs", "2", "--batch-size", "64", "--model", "convnet", "--ema", "0.9"]


def bars(count: int) -> data.Parts:
    """Three textures: rows, columns, and neither."""
    generator = np.random.Generator(np.random.PCG64(0))
    targets = np.arange(count) % 3
    images = generator.integers(0, 60, (count, 1, 8, 8), dtype=np.uint8)
    images[targets == 0, :, ::2] += 190
    images[targets == 1, :, :, ::2] += 190
    dataset = data.Dataset(
        data.samples.ArraySamples(images, [("image", count)]),
        source="bars",
        classes=("rows", "columns", "neither"),
        targets=targets,
    )
    return data.split(dataset, seed=0)


def trained(
    world: World, config: train.TrainConfig = CONFIG, *, count: int = 93
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """History rows and final weights of a small network."""
    parts = bars(count)
    torch.manual_seed(0)
    model = models.create(
        "convnet", in_channels=1, num_classes=3, channels=[8, 8], norm="group", dropout=0.0
    )
    history = train.fit(
        model, parts, config, preprocessing=data.fit_preprocessing(parts.train), world=world
    )
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in history.rows]
    return rows, weights_of(model)


def weights_of(model: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def started(world: World) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """First and final weights of a network with batch norms, whose stem starts from the data."""
    parts = bars(93)
    preprocessing = data.fit_preprocessing(parts.train)
    torch.manual_seed(world.rank)  # what each process draws for itself must not count
    model = models.create("speednet", in_channels=1, num_classes=3, widths=[8, 8])
    Learner(model, parts, CONFIG, preprocessing, world)
    first = weights_of(model)
    train.fit(model, parts, CONFIG, preprocessing=preprocessing, world=world)
    return first, weights_of(model)


def close(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        other[key] == pytest.approx(value, rel=2e-3, abs=2e-4) for key, value in one.items()
    )


@pytest.mark.parametrize("changes", [{}, {"accumulate": 2}, {"optimizer": "sgd"}])
def test_two_processes_have_the_curve_of_one(changes):
    config = dataclasses.replace(CONFIG, **changes)
    rows, weights = trained(ALONE, config)
    first, second = in_processes(2, functools.partial(trained, config=config))
    assert all(close(one, other) for one, other in zip(rows, first[0], strict=True))
    assert first[0] == second[0]
    for name, value in weights.items():
        np.testing.assert_allclose(first[1][name], value, rtol=2e-3, atol=2e-4)
        assert np.array_equal(first[1][name], second[1][name])


def test_a_batch_of_fewer_samples_than_processes_is_learnt_from_all_the_same():
    count = len(bars(96).train)
    size = next(size for size in range(8, 40) if count % size == 2)
    config = dataclasses.replace(CONFIG, batch_size=size, mixup=None)
    rows, weights = trained(ALONE, config, count=96)
    found = in_processes(3, functools.partial(trained, config=config, count=96))
    assert all(close(one, other) for one, other in zip(rows, found[0][0], strict=True))
    for name, value in weights.items():
        np.testing.assert_allclose(found[2][1][name], value, rtol=2e-3, atol=2e-4)


def test_a_stem_starts_and_batch_norms_end_alike_in_every_process():
    found = in_processes(2, started)
    alone, _ = started(ALONE)
    for first, second in zip(*found, strict=True):
        assert all(np.array_equal(value, second[name]) for name, value in first.items())
    assert all(np.array_equal(value, alone[name]) for name, value in found[1][0].items())


def launched(root: Path, out: Path, *extra: str) -> subprocess.Popen[str]:
    """The command in two processes, as torchrun starts it."""
    environment = dict(os.environ, PYTHONPATH=str(root / "src"), OMP_NUM_THREADS="1")
    return subprocess.Popen(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
            "--master-port", str(free_port()), "-m", "convarium", "train", *WORDS,
            "--out", str(out), *extra,
        ],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def worker_of(launcher: int, rank: str) -> int | None:
    """The process of a rank below the launcher, once it is there."""
    for entry in Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            environment = (entry / "environ").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            continue
        if parent == launcher and f"RANK={rank}".encode() in environment:
            return int(entry.name)
    return None


def kill_after_a_checkpoint(launcher: subprocess.Popen[str], out: Path) -> None:
    """Kill the process of rank 1 below its launcher, once a checkpoint was written."""
    deadline = time.monotonic() + 100
    while not [*out.glob("checkpoint-[1-9]*")] and time.monotonic() < deadline:
        time.sleep(0.01)
    victim = worker_of(launcher.pid, "1")
    assert victim is not None
    os.kill(victim, signal.SIGKILL)


def same_files(one: Path, other: Path) -> bool:
    """Whether two runs ended with the same bits."""
    names = ("model.safetensors", "predictions.parquet")
    return all(files.sha256(one / name) == files.sha256(other / name) for name in names)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc")
def test_a_killed_worker_ends_the_job_and_the_resumed_job_has_the_same_bits(root, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    words = ["train", *WORDS, "--out", str(whole)]
    told = in_processes(2, functools.partial(commanded, words))
    assert [(code, "test: accuracy" in out) for code, out, _ in told] == [(0, True), (0, False)]
    job = launched(root, cut, "--checkpoint-seconds", "0.01")
    kill_after_a_checkpoint(job, cut)
    _, errors = job.communicate(timeout=120)
    assert job.returncode != 0
    ours = [line for line in errors.splitlines() if line.startswith(("convarium:", "convarium ("))]
    assert not any("Traceback" in line for line in ours)
    assert len(ours) == 1, errors
    assert "Another process of the job ended" in ours[0] or "convarium: stopped;" in ours[0]
    out, errors = launched(root, cut, "--resume").communicate(timeout=170)
    assert out.count("test: accuracy") == 1, errors
    assert same_files(whole, cut)


def terminated(world: World) -> tuple[int, str, str]:
    """The command in a job of which every process is told to end."""
    verb = importlib.import_module("convarium.cli.train")
    verb._run = lambda *_: os.kill(os.getpid(), signal.SIGTERM)
    return commanded(["train", *WORDS, "--out", "never"], world)


def test_a_process_that_the_launcher_ends_says_how_to_go_on():
    for rank, (code, out, errors) in enumerate(in_processes(2, terminated)):
        process = f" (process {rank})" if rank else ""
        assert (code, out) == (130, "")
        assert (
            errors
            == f"convarium{process}: stopped; a run in training goes on with train --resume\n"
        )


def test_what_one_process_does_alone_is_refused_in_a_job_of_several(tmp_path):
    words = ["train", *WORDS, "--out", str(tmp_path / "run"), "--time-budget", "30s"]
    for code, _, errors in in_processes(2, functools.partial(commanded, words)):
        assert code == 2
        assert "--time-budget takes one process, and the job has 2." in errors
    assert not (tmp_path / "run").exists()


def commanded_at_home(words: list[str], homes: Path, world: World) -> tuple[int, str, str]:
    """The command, each process in a folder of its own, as on hosts with a disk each."""
    home = homes / str(world.rank)
    home.mkdir()
    os.chdir(home)
    return commanded(words, world)


@pytest.mark.parametrize("flags", [[], ["--resume"]])
def test_hosts_that_do_not_share_the_run_folder_are_told_at_the_start(tmp_path, flags):
    words = ["train", *WORDS, "--out", "runs/digits", *flags]
    for code, out, errors in in_processes(2, functools.partial(commanded_at_home, words, tmp_path)):
        assert (code, out) == (2, "")
        assert "Process 1 of 2 does not see what the first one writes for runs/digits" in errors
    assert [path for path in tmp_path.rglob("*") if path.name not in "01"] == []


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def hosts():
    """Two hosts: network namespaces of this machine, joined by a wire."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need root and iproute2")
    names = [f"convarium{os.getpid()}{letter}" for letter in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", "wire0", "netns", names[0], "type", "veth", "peer", "name", "wire0",
           "netns", names[1])  # fmt: skip
    except subprocess.CalledProcessError as error:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        pytest.skip(f"this system makes no network namespaces: {error.stderr.decode().strip()}")
    for number, name in enumerate(names, start=1):
        ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "wire0")
        ip("-n", name, "link", "set", "wire0", "up")
        ip("-n", name, "link", "set", "lo", "up")
    yield names
    for name in names:
        ip("netns", "del", name)


def on_hosts(hosts: list[str], root: Path, out: Path, *extra: str) -> list[subprocess.Popen[str]]:
    """The command as torchrun starts it on each of two hosts."""
    environment = dict(os.environ, PYTHONPATH=str(root / "src"), OMP_NUM_THREADS="1")
    environment["GLOO_SOCKET_IFNAME"] = "wire0"
    return [
        subprocess.Popen(
            [
                "ip", "netns", "exec", name, sys.executable, "-m", "torch.distributed.run",
                "--nnodes", "2", "--node-rank", str(rank), "--nproc-per-node", "1",
                "--master-addr", "10.77.0.1", "--master-port", "29400", "-m", "convarium",
                "train", *WORDS, "--out", str(out), *extra,
            ],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank, name in enumerate(hosts)
    ]  # fmt: skip


@pytest.mark.long
@pytest.mark.timeout(600)
def test_two_hosts_train_one_network_and_go_on_when_a_process_of_one_was_killed(
    hosts, root, tmp_path
):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    words = ["train", *WORDS, "--out", str(whole)]
    assert [code for code, _, _ in in_processes(2, functools.partial(commanded, words))] == [0, 0]
    jobs = on_hosts(hosts, root, cut, "--checkpoint-seconds", "0.01")
    kill_after_a_checkpoint(jobs[1], cut)
    told = [job.communicate(timeout=300) for job in jobs]
    assert 0 not in [job.returncode for job in jobs], told
    jobs = on_hosts(hosts, root, cut, "--resume")
    told = [job.communicate(timeout=300) for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], told
    assert "test: accuracy" in told[0][0]
    assert "test: accuracy" not in told[1][0]
    assert same_files(whole, cut)
