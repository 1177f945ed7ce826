"""What came out of a run: the matrix, and the samples behind it."""

from __future__ import annotations

import shutil

import pyarrow.parquet as pq
import pytest
from asked import settled

from convarium import predict
from convarium.errors import DataError, OptionError
from convarium.studio import Desk, outcomes


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


def test_other_parts_are_evaluated_when_they_are_asked(desk, trained):
    found = settled(outcomes.matrix, desk, "shapes", "validation")
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
            cell = settled(outcomes.samples, desk, "shapes", truth=truth, said=said, count=50)
            assert cell["total"] == len(cell["rows"]) == found["confusion"][i][j]
            rows += cell["rows"]
    table = pq.read_table(trained / "predictions.parquet").to_pydict()
    told = {row["path"]: (row["truth"], row["said"]) for row in rows}
    assert told == dict(
        zip(table["name"], zip(table["target"], table["label"], strict=True), strict=True)
    )
    assert all(row["picture"].startswith("data:image/png") for row in rows)
    wrong = settled(outcomes.samples, desk, "shapes", count=50)["rows"]
    assert {row["path"] for row in wrong} == {p for p, (a, b) in told.items() if a != b}
    confidences = [row["confidence"] for row in wrong]
    assert confidences == sorted(confidences, reverse=True)


def test_data_that_is_gone_or_changed_is_said(trained, shapes, tmp_path):
    run = shutil.copytree(trained, tmp_path / "shapes")
    moved = shutil.copytree(shapes, tmp_path / "moved")
    text = (run / "config.toml").read_text().replace(str(shapes), str(tmp_path / "gone"))
    (run / "config.toml").write_text(text)
    with pytest.raises(DataError, match="start the studio with --data"):
        settled(outcomes.samples, Desk([run]), "shapes")
    desk = Desk([run], str(moved))
    matrix = outcomes.matrix(desk, "shapes")
    cell = {"truth": matrix["classes"][0], "said": None, "count": 1}
    told = settled(outcomes.samples, desk, "shapes", **cell)
    (row,) = told["rows"]
    assert "picture" in row
    assert told["remark"] == ""
    (moved / row["path"]).unlink()
    told = settled(outcomes.samples, desk, "shapes", **cell)
    assert "changed" in told["rows"][0]["problem"]
    assert "not the data that shapes was trained on" in told["remark"]


def test_samples_of_the_same_names_and_other_content_are_said_to_be_others(
    trained, shapes, tmp_path
):
    moved = shutil.copytree(shapes, tmp_path / "moved")
    (moved / "disc" / "0.png").write_bytes((moved / "ring" / "0.png").read_bytes())
    run = shutil.copytree(trained, tmp_path / "shapes")
    text = (run / "config.toml").read_text().replace(str(shapes), str(tmp_path / "gone"))
    (run / "config.toml").write_text(text)
    told = settled(outcomes.samples, Desk([run], str(moved)), "shapes")
    assert "not the data" in told["remark"]
