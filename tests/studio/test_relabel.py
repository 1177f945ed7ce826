"""Labels that are corrected: the file of them, taking them back, and the next training."""

from __future__ import annotations

import json
import shlex
import shutil
from concurrent.futures import ThreadPoolExecutor

import filelock
import numpy as np
import pyarrow.parquet as pq
import pytest
from asked import settled

from convarium import data, predict
from convarium.cli import main
from convarium.data.corrections import digest_of, read_corrections
from convarium.errors import DataError, OptionError, RunError
from convarium.studio import Desk, outcomes, relabel, samples


def test_a_correction_is_written_and_taken_back(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "shapes")
    desk = Desk([run])
    first, second = ids_and_names(run)[:2]
    assert relabel.corrections(desk, "shapes")["file"] is None
    relabel.correct(desk, "shapes", first, "ring")
    told = relabel.correct(desk, "shapes", second, "disc")
    assert read_corrections(run / "corrections.csv") == {first: "ring", second: "disc"}
    assert {row["path"] for row in told["rows"]} == {first, second}
    assert "--corrections" in told["command"]
    relabel.correct(desk, "shapes", first, None)
    assert read_corrections(run / "corrections.csv") == {second: "disc"}
    for path, label, words in [(first, "rings", "Did you mean"), ("../x.png", "ring", "no sample")]:
        with pytest.raises(OptionError, match=words):
            relabel.correct(desk, "shapes", path, label)


def ids_and_names(run):
    return pq.read_table(run / "splits.parquet", columns=["name"])["name"].to_pylist()


@pytest.mark.filterwarnings("default:.*stay as the data has them")
def test_training_sees_the_corrected_labels(trained, shapes, tmp_path, capsys):
    run = shutil.copytree(trained, tmp_path / "shapes")
    desk, names = Desk([run]), ids_and_names(run)
    wanted = {name: "square" for name in names if name.startswith("disc/")}
    wanted.pop("disc/0.png")
    for name, label in wanted.items():
        relabel.correct(desk, "shapes", name, label)
    words = ["--model", "convnet", "--option", "channels=[4]", "--epochs", "1", "--json"]
    given = ["--corrections", str(run / "corrections.csv"), "--validation", "0.2", "--test", "0.2"]
    out = tmp_path / "again"
    assert main(["train", str(shapes), "--out", str(out), *words, *given]) == 0
    rows = pq.read_table(out / "splits.parquet").to_pylist()
    assert {row["name"]: row["label"] for row in rows} == {
        name: wanted.get(name, name.partition("/")[0]) for name in names
    }
    opened = predict.open_run(out)
    assert opened.card["data"]["corrected"] == 15
    assert opened.card["data"]["fingerprint"] != predict.open_run(run).card["data"]["fingerprint"]
    assert opened.columns == {"corrections": wanted}
    counts = np.array([*opened.card["data"]["class_counts"].values()]).sum(0)
    assert dict(zip(opened.card["classes"], counts.tolist(), strict=True)) == {
        "disc": 1,
        "ring": 16,
        "square": 31,
    }
    learnt = settled(outcomes.matrix, Desk([out]), "again", "train")
    assert learnt["n"] == opened.card["data"]["counts"]["train"]
    assert [*relabel.corrections(Desk([out]), "again")["rows"]] == [
        {"path": name, "label": label, "back": None} for name, label in sorted(wanted.items())
    ]
    taken_back_to_what_was_learnt(Desk([out]), out, wanted)
    corrected_where_the_data_is_the_run_s(out, shapes, wanted, tmp_path, capsys)
    assert main(["train", str(shapes), "--out", str(out), "--resume", "--json"]) == 0
    capsys.readouterr()


def corrected_where_the_data_is_the_run_s(run, shapes, wanted, folder, capsys):
    """`evaluate` has the corrected labels on the run's own data, and says where it has not."""
    other = shutil.copytree(shapes, folder / "other")
    (other / min(wanted)).unlink()
    squares = []
    for data_now in (shapes, other):
        capsys.readouterr()
        assert main(["evaluate", str(run), str(data_now), "--json"]) == 0
        told = capsys.readouterr()
        rows = {row["name"]: row["n"] for row in json.loads(told.out)["classes"]}
        squares.append(rows["square"])
        left = "labels that were corrected for its training stay as the data has them" in told.err
        assert left == (data_now == other)
    assert squares == [31, 16]


def taken_back_to_what_was_learnt(desk, run, wanted):
    """A correction on top of one that the run was trained with gives way to that one."""
    name = min(wanted)
    told = relabel.correct(desk, run.name, name, "ring")
    assert {"path": name, "label": "ring", "back": "square"} in told["rows"]
    assert read_corrections(run / "corrections.csv") == {**wanted, name: "ring"}
    told = relabel.correct(desk, run.name, name, None)
    assert {"path": name, "label": "square", "back": None} in told["rows"]
    assert read_corrections(run / "corrections.csv") == wanted


def test_each_correction_has_the_digest_of_its_sample(trained, shapes, tmp_path):
    run = shutil.copytree(trained, tmp_path / "shapes")
    relabel.correct(Desk([run]), "shapes", "disc/3.png", "ring")
    dataset = data.open_dataset(shapes)
    (number,) = (i for i in range(len(dataset)) if dataset.name(i) == "disc/3.png")
    text = (run / "corrections.csv").read_text()
    assert text == f"path,label,digest\ndisc/3.png,ring,x{digest_of(dataset, number)}\n"


def test_other_data_and_a_file_that_is_held_are_sentences(trained, tmp_path, monkeypatch):
    run = shutil.copytree(trained, tmp_path / "shapes")
    monkeypatch.setattr(relabel, "_LOCKED", 0.05)
    held = filelock.FileLock(run / ".corrections.csv.lock", thread_local=False)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(held.acquire).result()
        with pytest.raises(RunError, match="Another process holds the corrections of shapes"):
            relabel.correct(Desk([run]), "shapes", "disc/3.png", "ring")
        pool.submit(held.release).result()
    config = run / "config.toml"
    config.write_text(config.read_text().replace('fingerprint = "', 'fingerprint = "0'))
    desk = Desk([run])
    settled(samples.overview, desk, "shapes")
    with pytest.raises(DataError, match="This is not the data that shapes was trained on"):
        relabel.correct(desk, "shapes", "disc/3.png", "ring")
    assert not (run / "corrections.csv").exists()


def test_two_studios_lose_no_correction(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "shapes")
    desks, names = [Desk([run]), Desk([run])], ids_and_names(run)
    with ThreadPoolExecutor(4) as pool:
        given = [(desks[k % 2], "shapes", name, "ring") for k, name in enumerate(names)]
        [*pool.map(lambda each: relabel.correct(*each), given)]
    assert read_corrections(run / "corrections.csv") == dict.fromkeys(names, "ring")


def test_the_command_names_the_place_of_the_data_wherever_the_studio_was_started(
    trained, shapes, tmp_path, monkeypatch
):
    run = shutil.copytree(trained, tmp_path / "shapes")
    config = run / "config.toml"
    named = config.read_text().replace(f'source = "{shapes}"', 'source = "shapes"')
    config.write_text(named)
    monkeypatch.chdir(tmp_path)

    def source(desk):
        return shlex.split(relabel.corrections(desk, "shapes")["command"])[2]

    assert source(Desk([run])) == str(shapes)
    config.write_text(named.replace(f'place = "{shapes}"', 'place = "/gone"'))
    (tmp_path / "other").mkdir()
    assert source(Desk([run], "other")) == "shapes"  # that of the run's folder, which is there
    monkeypatch.chdir(tmp_path / "other")
    assert source(Desk([run], str(shapes))) == str(shapes)


def test_the_command_names_the_data_that_fits_where_something_else_lies_at_its_place(
    trained, shapes, tmp_path
):
    run = shutil.copytree(trained, tmp_path / "shapes")
    other = shutil.copytree(shapes, tmp_path / "other")
    (other / "disc" / "3.png").unlink()
    config = run / "config.toml"
    config.write_text(config.read_text().replace(f'"{shapes}"', f'"{other}"'))
    for own, fits in ((str(shapes), str(shapes)), (None, str(other))):
        desk = Desk([run], own)
        settled(samples.overview, desk, "shapes")
        if own is not None:
            relabel.correct(desk, "shapes", "disc/4.png", "ring")
        command = shlex.split(relabel.corrections(desk, "shapes")["command"])
        assert command[:3] == ["convarium", "train", fits]
        desk.jobs.close()
