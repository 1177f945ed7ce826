"""Runs: their state while they train, their curves, their pages."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading

import filelock
import pytest

from convarium.errors import RunError
from convarium.studio import Desk, runs
from convarium.train.storage import claim

HOLD = """
import sys, filelock
with filelock.FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def training(tmp_path):
    """A run folder as a training of two epochs so far has it."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.toml").write_text('[model]\nname = "fcn"\n[train]\nepochs = 5\n')
    (folder / ".lock").touch()
    rows = [row(1, 0.5), row(2, 0.75)]
    (folder / "history.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    return folder


def row(epoch, accuracy):
    return {"epoch": epoch, "train_loss": 1.0, "val_loss": 0.9, "val_acc": accuracy, "seconds": 2.0}


def test_a_training_is_told_from_one_that_died(training):
    desk = Desk([training])
    assert runs.history(desk, "run")["state"] == "stopped"
    command = [sys.executable, "-c", HOLD, str(training / ".lock")]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert runs.history(desk, "run")["state"] == "training"
        assert runs.history(desk, "run")["state"] == "training"  # asking took nothing from it
        process.communicate("")
    assert runs.state_of(training) == "stopped"
    (training / "card.json").write_text("{}")
    assert runs.state_of(training) == "finished"
    shutil.rmtree(training)
    assert runs.state_of(training) == "gone"
    with pytest.raises(RunError, match="gone"):
        runs.history(desk, "run")


def test_the_history_comes_row_by_row_and_half_a_line_waits(training):
    desk = Desk([training])
    first = runs.history(desk, "run")
    assert [each["epoch"] for each in first["rows"]] == [1, 2]
    with open(training / "history.jsonl", "a") as file:
        file.write(json.dumps(row(3, 0.7)) + "\n" + json.dumps(row(4, 0.8))[:20])
    then = runs.history(desk, "run", after=first["count"])
    assert [each["epoch"] for each in then["rows"]] == [3]
    assert (then["count"], then["planned"], then["metric"]) == (3, 5, "val_acc")


def test_a_training_begins_while_the_studio_looks_whether_one_runs(training):
    (training / "history.jsonl").unlink()
    looked = filelock.FileLock(training / ".lock", thread_local=False)
    looked.acquire()
    threading.Timer(0.1, looked.release).start()
    with claim(training, resume=True):
        assert runs.state_of(training) == "training"


def test_settings_tell_how_data_was_read_prepared_and_learnt_from(training):
    (training / "preprocessing").mkdir()
    for labels, cut in (("a", 3), ("b", 4)):
        (training / "config.toml").write_text(
            'groups = [{name = "weights", rate = 1.0}]\n'
            '[data]\nsource = "x"\n[data.columns]\nlabel_column = ["kind"]\n'
            f'corrections = {{"1.png" = "{labels}"}}\n'
        )
        steps = [{"op": "resize", "cover": [cut, cut]}]
        card = {"preprocessing": {"steps": steps}, "classes": ["a"]}
        (training / "preprocessing" / "preprocessing.json").write_text(json.dumps(card))
        found = runs.settings(Desk([training]), "run")["settings"]
        if labels == "a":
            before = found
    assert found["data.columns.label_column"] == "kind"
    assert found["groups.weights.rate"] == "1"
    assert before["preprocessing.step 1.cover"] == "3, 3"
    differing = {name for name in found if found[name] != before[name]}
    assert differing == {"data.columns.corrections", "preprocessing.step 1.cover"}


def test_a_run_in_a_line(training):
    (found,) = runs.listed(Desk([training]))["runs"]
    assert (found["best"], found["epochs"], found["planned"]) == (0.75, 2, 5)
    assert (found["network"], found["seconds"], found["state"]) == ("fcn", 4.0, "stopped")
    (training / "history.jsonl").write_text("no json\n")
    (broken,) = runs.listed(Desk([training]))["runs"]
    assert broken["state"] == "damaged"
    assert "JSON lines" in broken["why"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.toml", 'model = "resnet"'),
        ("config.toml", 'train = "fast"'),
        ("card.json", "[]"),
        ("card.json", '{"result": {"test": 3}}'),
        ("history.jsonl", "3\n"),
        ("history.jsonl", '{"val_acc": "good", "seconds": 1}\n'),
    ],
)
def test_a_folder_of_something_else_spoils_no_list(training, tmp_path, name, content):
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.toml").write_text("[train]\n")
    (other / name).write_text(content)
    found = {each["name"]: each["state"] for each in runs.listed(Desk([training, other]))["runs"]}
    assert found == {"run": "stopped", "other": "damaged"}


def test_a_finished_run_has_its_card_s_result_and_its_report(trained):
    desk = Desk([trained])
    card = json.loads((trained / "card.json").read_text())
    (found,) = runs.listed(desk)["runs"]
    assert found["test"] == card["result"]["test"]["accuracy"]
    assert found["interval"] == card["result"]["test"]["interval"]
    page = runs.report(desk, "shapes")
    assert page.content == (trained / "report.html").read_bytes()
    assert "script" not in dict(page.headers)["content-security-policy"]
    assert runs.settings(desk, "shapes")["settings"]["train.epochs"] == "2"
