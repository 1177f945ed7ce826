"""The desk: which folders are runs, what is kept, and runs that change or go."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from convarium import predict
from convarium.cli import main
from convarium.errors import ConvariumError, DataError, RunError
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


def test_a_name_stays_with_its_folder_and_no_run_of_it_vanishes(tmp_path):
    folders = [tmp_path / name / "runs" / "a" for name in "xyz"]
    first = begun(folders[1])
    desk = Desk([first.parent])
    assert desk.folders() == {"a": first}
    desk = Desk([begun(folder).parent for folder in folders if folder != first] + [first.parent])
    assert desk.folders() == {"a": folders[0], "runs/a": folders[2], "y/runs/a": folders[1]}
    shutil.rmtree(folders[0])
    assert desk.folders() == {"runs/a": folders[2], "y/runs/a": folders[1]}
    begun(folders[0])
    assert desk.folder("a") == folders[0]


def test_a_name_that_is_no_utf_8_is_one_that_a_page_can_ask_for(asking, tmp_path):
    begun(tmp_path / os.fsdecode(b"caf\xe9"))
    begun(tmp_path / "a#b?c%2Fd&e\r\n")
    client = asking(tmp_path)
    names = client.get("/api/about").json()["runs"]
    assert set(names) == {"caf\\xe9", "a#b?c%2Fd&e\r\n"}
    for name in names:
        found = client.get("/api/runs/history", params={"run": name})
        assert (found.status_code, found.json()["run"]) == (200, name)


def test_audits_of_one_name_are_told_apart(tmp_path):
    for name in "xyz":
        (tmp_path / name / "audit").mkdir(parents=True)
        (tmp_path / name / "audit" / "audit.json").write_text("{}")
    found = Desk([tmp_path / name / "audit" for name in "xyz"]).audits()
    assert set(found) == {"audit", "y/audit", "z/audit"}


def test_what_is_no_run_is_refused(tmp_path, capsys):
    with pytest.raises(RunError, match="There is no run in"):
        Desk([tmp_path])
    assert main(["studio", str(tmp_path / "none"), "--no-open"]) == 2
    assert "There is no run in" in capsys.readouterr().err
    assert main(["studio", "--data", str(tmp_path / "none"), "--no-open"]) == 2
    assert "There is no data at" in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["studio", "--no-open", "--port", port]) == 2
    assert capsys.readouterr().err.startswith("convarium: Cannot listen at 127.0.0.1, port")
    assert main(["studio", "--port", "70000"]) == 2
    assert "below 65536" in capsys.readouterr().err


def test_data_may_be_a_pattern_as_it_is_opened(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x-003.tar").touch()
    for pattern in ("a/b/x-{002..004}.tar", "a/**/*.tar", "a/b/x-*.tar"):
        assert Desk(data=str(tmp_path / pattern)).data.endswith(pattern)
    for pattern in ("a/b/x-{004..009}.tar", "**/*.parquet"):
        with pytest.raises(DataError, match="There is no data at"):
            Desk(data=str(tmp_path / pattern))


def test_others_do_not_wait_while_folders_are_listed(tmp_path, monkeypatch):
    desk = Desk([begun(tmp_path / "a")])
    pool = ThreadPoolExecutor(1)

    def listed(folder):
        return [folder, *filter(None, [pool.submit(desk.known, ("x",)).result(5)])]

    monkeypatch.setattr("convarium.studio.desk.runs_in", listed)
    assert desk.folders() == {"a": tmp_path / "a"}
    pool.shutdown()


def test_a_run_is_opened_once_and_anew_when_its_files_change(photos, tmp_path):
    run = shutil.copytree(photos, tmp_path / "run")
    desk = Desk([run])
    first = desk.opened("run")
    assert desk.opened("run") is first
    card = (run / "card.json").read_text()
    (run / "card.json").unlink()
    (run / "card.json").write_text(card)
    assert desk.opened("run") is not first


def test_a_run_that_is_being_opened_keeps_nobody_else_waiting(photos, monkeypatch):
    desk, begun_to, go_on, opened = Desk([photos]), threading.Event(), threading.Event(), []
    known = predict.open_run

    def slow(folder):
        opened.append(folder)
        begun_to.set()
        go_on.wait(20)
        return known(folder)

    monkeypatch.setattr(predict, "open_run", slow)
    with ThreadPoolExecutor(3) as pool:
        both = [pool.submit(desk.opened, "photos") for _ in range(2)]
        assert begun_to.wait(20)
        try:
            assert pool.submit(desk.known, ("x",)).result(5) is None
        finally:
            go_on.set()
        first, second = (each.result(20) for each in both)
    assert first is second
    assert opened == [photos]


def test_a_run_that_could_not_be_opened_is_tried_again(photos, tmp_path):
    run = shutil.copytree(photos, tmp_path / "run")
    weights = (run / "model.safetensors").read_bytes()
    (run / "model.safetensors").write_bytes(b"")
    desk = Desk([run])
    for _ in range(2):
        with pytest.raises(ConvariumError):
            desk.opened("run")
    (run / "model.safetensors").write_bytes(weights)
    assert desk.opened("run").card["classes"]


def test_results_are_kept_while_there_is_room(photos):
    desk = Desk([photos])
    made = []
    for k in [0, 0, *range(1, 70), 0]:
        desk.kept(("x", k), lambda k=k: made.append(k) or [k])
    assert made == [*range(70), 0]
    assert desk.known(("x", 69)) == [69]
    assert desk.known(("x", 1)) is None


def test_large_samples_leave_when_their_bytes_are_too_many():
    desk = Desk()
    for k in range(5):
        desk.keep(("given", k), k, 150 * 2**20)
    assert [k for k in range(5) if desk.known(("given", k)) is not None] == [2, 3, 4]
    desk.keep(("given", 9), 9, 2**40)
    assert (desk.known(("given", 9)), desk.known(("given", 4))) == (9, None)


def test_the_command_ends_at_once_whatever_its_threads_do():
    words = """
import sys, threading, time
from convarium.cli import main, studio
def run(arguments):
    threading.Thread(target=time.sleep, args=(600,)).start()
    sys.stdout.write("told")
    return 0
studio.run = run
sys.argv = ["convarium", "studio"]
main()
"""
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"told")
