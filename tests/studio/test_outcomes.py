"""What came out of a run: the matrix, the samples behind it, and labels that are corrected."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow.parquet as pq
import pytest

from convarium import predict
from convarium.cli import main
from convarium.data.corrections import read_corrections
from convarium.errors import OptionError
from convarium.studio import Desk, outcomes, relabel


@pytest.fixture(scope="module")
def desk(trained):
    return Desk([trained])


def test_the_stored_test_result_is_the_evaluated_one(desk, trained, shapes):
    found = outcomes.matrix(desk, "shapes")
    run = predict.open_run(trained)
    expected = run.predictor.evaluate(run.part(run.dataset(), "test"))
    assert found["stored"]
    assert found["confusion"] == expected.confusion.tolist()
    assert found["accuracy"] == run.card["result"]["test"]["accuracy"]
    assert found["ece"] == pytest.approx(run.card["result"]["test"]["ece"], abs=1e-6)
    assert sum(each["n"] for each in found["bins"]) == found["n"] == expected.n


def settled(desk, run, part):
    """The matrix of a part, once it is evaluated."""
    while (found := outcomes.matrix(desk, run, part))["state"] != "done":
        assert found["state"] in ("waiting", "running")
    return found


def test_other_parts_are_evaluated_when_they_are_asked(desk, trained):
    found = settled(desk, "shapes", "validation")
    last = predict.open_run(trained).card["result"]["validation"]
    assert not found["stored"]
    assert (found["n"], found["accuracy"]) == (last["n"], pytest.approx(last["val_acc"]))
    with pytest.raises(OptionError, match="part"):
        outcomes.matrix(desk, "shapes", "all")


def test_the_samples_of_all_cells_are_all_samples(desk, trained):
    found = outcomes.matrix(desk, "shapes")
    rows = []
    for i, truth in enumerate(found["classes"]):
        for j, said in enumerate(found["classes"]):
            cell = outcomes.samples(desk, "shapes", truth=truth, said=said, count=50)
            assert cell["total"] == len(cell["rows"]) == found["confusion"][i][j]
            rows += cell["rows"]
    table = pq.read_table(trained / "predictions.parquet").to_pydict()
    told = {row["path"]: (row["truth"], row["said"]) for row in rows}
    assert told == dict(
        zip(table["name"], zip(table["target"], table["label"], strict=True), strict=True)
    )
    assert all(row["picture"].startswith("data:image/png") for row in rows)
    wrong = outcomes.samples(desk, "shapes", count=50)["rows"]
    assert {row["path"] for row in wrong} == {p for p, (a, b) in told.items() if a != b}
    confidences = [row["confidence"] for row in wrong]
    assert confidences == sorted(confidences, reverse=True)


def test_data_that_is_gone_or_changed_is_said(trained, shapes, tmp_path):
    run = shutil.copytree(trained, tmp_path / "shapes")
    moved = shutil.copytree(shapes, tmp_path / "moved")
    text = (run / "card.json").read_text().replace(str(shapes), str(tmp_path / "gone"))
    (run / "card.json").write_text(text)
    with pytest.raises(OptionError, match="is not at"):
        outcomes.samples(Desk([run]), "shapes")
    desk = Desk([run], str(moved))
    matrix = outcomes.matrix(desk, "shapes")
    cell = {"truth": matrix["classes"][0], "said": None, "count": 1}
    (row,) = outcomes.samples(desk, "shapes", **cell)["rows"]
    assert "picture" in row
    (moved / row["path"]).unlink()
    (row,) = outcomes.samples(Desk([run], str(moved)), "shapes", **cell)["rows"]
    assert "changed" in row["problem"]


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


def test_two_browsers_lose_no_correction(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "shapes")
    desk, names = Desk([run]), ids_and_names(run)
    with ThreadPoolExecutor(4) as pool:
        [*pool.map(lambda name: relabel.correct(desk, "shapes", name, "ring"), names)]
    assert read_corrections(run / "corrections.csv") == dict.fromkeys(names, "ring")


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
    learnt = settled(Desk([out]), "again", "train")
    assert learnt["n"] == opened.card["data"]["counts"]["train"]
    assert [*relabel.corrections(Desk([out]), "again")["rows"]] == [
        {"path": name, "label": label} for name, label in sorted(wanted.items())
    ]
    assert main(["train", str(shapes), "--out", str(out), "--resume", "--json"]) == 0
    capsys.readouterr()
