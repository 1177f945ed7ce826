"""The desk: which folders are runs, what is kept, and runs that change or go."""

from __future__ import annotations

import shutil

import pytest

from convarium.cli import main
from convarium.errors import RunError
from convarium.studio import Desk


def begun(folder):
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("[train]\nepochs = 3\n")
    return folder


def test_runs_are_found_in_folders_and_told_apart(tmp_path):
    one, two = begun(tmp_path / "a" / "run"), begun(tmp_path / "b" / "run")
    begun(tmp_path / "b" / "other")
    (tmp_path / "b" / "no run").mkdir()
    desk = Desk([one, tmp_path / "b"])
    assert desk.folders() == {
        "run": one,
        "other": tmp_path / "b" / "other",
        "b/run": two,
    }
    shutil.rmtree(two)
    assert set(desk.folders()) == {"run", "other"}
    with pytest.raises(RunError, match="its folder is gone"):
        desk.folder("b/run")


def test_what_is_no_run_is_refused(tmp_path, capsys):
    with pytest.raises(RunError, match="There is no run in"):
        Desk([tmp_path])
    assert main(["studio", str(tmp_path / "none"), "--no-open"]) == 2
    assert "There is no run in" in capsys.readouterr().err
    assert main(["studio", "--port", "70000"]) == 2
    assert "below 65536" in capsys.readouterr().err


def test_a_run_is_opened_once_and_anew_when_its_files_change(photos, tmp_path):
    run = shutil.copytree(photos, tmp_path / "run")
    desk = Desk([run])
    first = desk.opened("run")
    assert desk.opened("run") is first
    card = (run / "card.json").read_text()
    (run / "card.json").unlink()
    (run / "card.json").write_text(card)
    assert desk.opened("run") is not first


def test_results_are_kept_while_there_is_room(photos):
    desk = Desk([photos])
    made = []
    for k in [0, 0, *range(1, 70), 0]:
        desk.kept(("x", k), lambda k=k: made.append(k) or [k])
    assert made == [*range(70), 0]
    assert desk.known(("x", 69)) == [69]
    assert desk.known(("x", 1)) is None
