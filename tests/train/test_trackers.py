"""Trackers against what their own packages read back; each test needs its package."""

from __future__ import annotations

import json
import sqlite3
import struct
import sys
import types
import warnings

import pytest
import torch
from dying import KillAt, Killed

from convarium import files, train
from convarium.errors import MissingExtraError, OptionError, RunError
from convarium.train.trackers import TRACKERS, Tracker

pytestmark = pytest.mark.filterwarnings("ignore")
CONFIG = train.TrainConfig(epochs=2, batch_size=16, checkpoint_seconds=0.0, seed=3)


@pytest.fixture
def fit(network, parts, preprocessing, tmp_path):
    """Train in `run`, told to a tracker; `resume` goes on."""

    def call(name, **keywords):
        with Tracker(name, tmp_path / "run", CONFIG) as tracker:
            observers = [tracker, *keywords.pop("also", [])]
            return train.fit(
                network(), parts, CONFIG, preprocessing=preprocessing, out=tmp_path / "run",
                observers=observers, **keywords,
            )  # fmt: skip

    return call


def twice(fit, name):
    """Train in two lives; the loss of each step as the tracker should hold it."""
    with pytest.raises(Killed):
        fit(name, also=[KillAt(3)])
    return fit(name, resume=True)


def check(history, steps, epochs):
    """The losses by step have the epochs' means; the rows are the history's."""
    assert sorted(steps) == list(range(1, 9))
    for k, row in enumerate(history.rows):
        assert epochs[4 * (k + 1)] == pytest.approx(row["val_acc"])
        sizes = [16, 16, 16, 15]
        losses = [steps[4 * k + i + 1] for i in range(4)]
        mean = sum(n * loss for n, loss in zip(sizes, losses, strict=True)) / sum(sizes)
        assert mean == pytest.approx(row["train_loss"], rel=1e-5)


def test_tensorboard_reads_back_every_step(fit, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = twice(fit, "tensorboard")
    found = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    steps = {event.step: event.value for event in found.Scalars("step/loss")}
    epochs = {event.step: event.value for event in found.Scalars("epoch/val_acc")}
    check(history, steps, epochs)
    assert len(found.Scalars("step/loss")) == 8


@pytest.mark.parametrize("store", ["file://{}/mlruns", "sqlite:///{}/mlflow.db"])
def test_mlflow_reads_back_every_step(fit, tmp_path, monkeypatch, store):
    mlflow = pytest.importorskip(
        "mlflow", reason="needs the extra mlflow, which brings dozens of packages"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.format(tmp_path))
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    history = twice(fit, "mlflow")
    client = mlflow.MlflowClient()
    number = client.get_experiment_by_name("convarium").experiment_id
    (run,) = client.search_runs([number])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "run"
    assert run.data.params["seed"] == "3"
    name = run.info.run_id
    steps = {m.step: m.value for m in client.get_metric_history(name, "step/loss")}
    epochs = {m.step: m.value for m in client.get_metric_history(name, "epoch/val_acc")}
    check(history, steps, epochs)


def stored_name(folder):
    return files.read_json(folder / "trackers.json")["trackio"]


def test_trackio_reads_back_every_step(fit, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip(
        "trackio", reason="needs the extra trackio, which brings dozens of packages"
    )
    history = twice(fit, "trackio")
    (path,) = (tmp_path / "trackio").glob("convarium*.db")
    with sqlite3.connect(path) as store:
        rows = store.execute("select run_name, step, metrics from metrics order by id").fetchall()
    assert {row[0] for row in rows} == {stored_name(tmp_path / "run")}
    steps, epochs = {}, {}
    for _, step, metrics in rows:
        values = json.loads(metrics)
        if "step/loss" in values:
            steps[step] = values["step/loss"]
        if "epoch/val_acc" in values:
            epochs[step] = values["epoch/val_acc"]
    check(history, steps, epochs)


def log_records(content):
    """Records of a LevelDB log, which W&B's file is after a header of 7 bytes."""
    place, record = 7, b""
    while place + 7 <= len(content):
        left = 2**15 - place % 2**15
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        record += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last piece of one
            yield record
            record = b""


def test_wandb_keeps_an_offline_run(fit, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="needs the extra wandb, which brings dozens of packages")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    history = fit("wandb")
    (path,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    steps, epochs, exits = {}, {}, []
    for found in log_records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(found)
        items = {i.key or "/".join(i.nested_key): i.value_json for i in record.history.item}
        if "step/loss" in items:
            steps[int(items["_step"])] = float(items["step/loss"])
        if "epoch/val_acc" in items:
            epochs[int(items["_step"])] = float(items["epoch/val_acc"])
        if record.HasField("exit"):
            exits.append(record.exit.exit_code)
    check(history, steps, epochs)
    assert exits == [0]
    assert files.read_json(tmp_path / "run" / "trackers.json")["wandb"] in path.name


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_package_is_one_sentence_with_its_extra(name, fit, monkeypatch):
    for loaded in [each for each in sys.modules if name in each.split(".")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"convarium\[{name}\]"):
        fit(name)


def test_an_unknown_tracker_names_the_close_match(tmp_path):
    with pytest.raises(OptionError, match="'mlflow'"):
        Tracker("mlfow", tmp_path, CONFIG)


def test_a_server_that_cannot_be_used_is_one_sentence(fit, monkeypatch):
    pytest.importorskip("mlflow", reason="needs the extra mlflow, which brings dozens of packages")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://nowhere")
    with pytest.raises(RunError, match="Cannot start mlflow"):
        fit("mlflow")


def test_what_a_tracker_does_changes_no_bit(fit, network, parts, preprocessing, tmp_path):
    pytest.importorskip("tensorboard")
    fit("tensorboard")
    plain = network()
    train.fit(plain, parts, CONFIG, preprocessing=preprocessing)
    tracked = files.read_tensors(tmp_path / "run" / "model.safetensors")
    assert all(torch.equal(tracked[k], v) for k, v in plain.state_dict().items())


class Failing(types.ModuleType):
    """A package `trackio` whose server goes away after so many calls, or when it is closed."""

    def __init__(self, calls: int, *, closes: bool = True) -> None:
        super().__init__("trackio")
        self.calls, self.closes, self.told = calls, closes, []

    def init(self, **_):
        pass

    def log(self, values, step):
        if len(self.told) == self.calls:
            raise ConnectionError("the server is gone\nand more\n")
        self.told.append(step)

    def finish(self):
        if not self.closes:
            raise TimeoutError


class Named(Failing):
    """A package `trackio` that finds runs by their names, and keeps the steps of each."""

    def __init__(self):
        super().__init__(10**6)
        self.runs = {}

    def init(self, *, name, resume, **_):
        if resume == "never":
            while name in self.runs:
                name += "-again"
        self.now = self.runs.setdefault(name, [])
        return types.SimpleNamespace(name=name)

    def log(self, values, step):
        self.now.append(step)


def test_two_folders_of_one_name_go_on_in_a_tracked_run_each(
    network, parts, preprocessing, tmp_path, monkeypatch
):
    package = Named()
    monkeypatch.setitem(sys.modules, "trackio", package)

    def life(parent, also=(), **keywords):
        folder = tmp_path / parent / "run"
        with Tracker("trackio", folder, CONFIG) as tracker:
            train.fit(
                network(), parts, CONFIG, preprocessing=preprocessing, out=folder,
                observers=[tracker, *also], **keywords,
            )  # fmt: skip

    for parent in "ab":
        with pytest.raises(Killed):
            life(parent, [KillAt(3)])
    life("a", resume=True)
    names = [stored_name(tmp_path / parent / "run") for parent in "ab"]
    assert all(name.startswith("run-") for name in names)
    assert {name: max(steps) for name, steps in package.runs.items()} == {names[0]: 8, names[1]: 3}


@pytest.mark.parametrize(
    ("package", "step", "reason"),
    [
        (Failing(0), 1, "the server is gone"),
        (Failing(4), 4, "the server is gone"),  # at the end of the first epoch
        (Failing(7), 7, "the server is gone"),
        (Failing(99, closes=False), 8, "TimeoutError"),
    ],
)
def test_a_tracker_that_fails_in_mid_run_is_left_out(
    package, step, reason, fit, network, parts, preprocessing, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "trackio", package)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        history = fit("trackio")
    (told,) = [str(each.message) for each in found if "trackio" in str(each.message)]
    assert told.startswith(f"trackio failed after step {step} ({reason})")
    assert "\n" not in told
    assert len(package.told) == min(package.calls, 10)  # eight steps and two epochs
    assert files.read_jsonl(tmp_path / "run" / "history.jsonl") == list(history.rows)
    plain = network()
    train.fit(plain, parts, CONFIG, preprocessing=preprocessing)
    tracked = files.read_tensors(tmp_path / "run" / "model.safetensors")
    assert all(torch.equal(tracked[k], v) for k, v in plain.state_dict().items())


def test_another_tracker_beside_one_that_fails_goes_on(fit, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", Failing(2))
    steps = []

    class Counting:
        def on_start(self, **_):
            pass

        def on_step(self, step, loss):
            steps.append(step)

        def on_epoch(self, row):
            pass

    fit("trackio", also=[Counting()])
    assert steps == list(range(1, 9))
