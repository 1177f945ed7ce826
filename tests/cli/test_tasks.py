"""Several labels and numbers from the command: train, evaluate, predict, explain, report."""

from __future__ import annotations

import csv
import json

import numpy as np
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from convarium.cli import main
from convarium.tasks import from_card


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Grey squares with bars; the labels say which bars, the number how bright they are."""
    folder = tmp_path_factory.mktemp("bars")
    generator = np.random.default_rng(0)
    rows = []
    for i in range(90):
        pixels = generator.integers(0, 30, (32, 32), dtype=np.uint8)
        level = int(generator.integers(60, 220))
        tags = [name for k, name in enumerate(("top", "low")) if (i + 1) >> k & 1]
        pixels[2:8] += np.uint8(level * ("top" in tags))
        pixels[24:30] += np.uint8(level * ("low" in tags))
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append([f"{i}.png", ";".join(tags), f"{pixels.mean() / 2.55:.4f}"])
    with open(folder / "t.csv", "w", newline="") as file:
        csv.writer(file).writerows([["path", "tags", "grey [%]"], *rows])
    return folder / "t.csv"


@pytest.fixture(scope="module")
def runs(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    for task, column in (("multilabel", "tags"), ("regression", "grey [%]")):
        words = ["train", table, "--task", task, "--label-column", column, "--out", out / task]
        assert main([*map(str, words), "--epochs", "2", "--model", "lenet5"]) == 0
    return out


def last_line(capsys) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(("task", "metric"), [("multilabel", "f1"), ("regression", "r2")])
def test_a_run_has_its_tasks_card_history_and_report(runs, task, metric):
    card = json.loads((runs / task / "card.json").read_text())
    assert from_card(card).name == task
    rows = [json.loads(line) for line in (runs / task / "history.jsonl").read_text().splitlines()]
    assert all(f"val_{metric}" in row and f"train_{metric}" in row for row in rows)
    assert card["result"]["test"][metric] <= 1
    page = (runs / task / "report.html").read_text()
    assert ("grey" in page) if task == "regression" else ("top" in page and "low" in page)
    splits = parquet.read_table(runs / task / "splits.parquet").to_pylist()
    assert len(splits) == 90
    table = parquet.read_table(runs / task / "predictions.parquet")
    assert table.num_rows == card["data"]["counts"]["test"]


def test_evaluate_reads_the_table_for_the_runs_task(runs, table, capsys, tmp_path):
    words = ["evaluate", str(runs / "regression"), str(table), "--label-column", "grey [%]"]
    assert main([*words, "-o", str(tmp_path / "out.csv"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    with open(tmp_path / "out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == result["n"] == 90
    errors = [float(row["predicted_grey"]) - float(row["target_grey"]) for row in rows]
    assert result["outputs"]["grey"]["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-6)
    assert result["outputs"]["grey"]["unit"] == "%"


def test_predict_and_explain_answer_in_the_tasks_words(runs, table, capsys, tmp_path):
    picture = str(table.parent / "2.png")
    assert main(["predict", str(runs / "regression"), picture]) == 0
    assert " % " in capsys.readouterr().out
    for task, name in (("multilabel", {"top", "low"}), ("regression", {"grey"})):
        words = ["explain", str(runs / task), picture, "-o", str(tmp_path / task), "--json"]
        assert main(words) == 0
        assert json.loads(capsys.readouterr().out)["explanations"][0]["target"] in name


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--label-column", "grey [%]"], "say --task regression"),
        (["--label-column", "tags", "--task", "regression"], "is no number"),
        (["--label-column", "grey [%]", "--task", "regression", "--loss", "bce"], "allowed are"),
        (["--label-column", "tags", "--task", "multilabel", "--loss", "mse"], "allowed are"),
    ],
)
def test_what_does_not_fit_the_task_is_one_sentence(table, tmp_path, capsys, words, hint):
    assert main(["train", str(table), "--out", str(tmp_path / "run"), *words]) == 2
    assert hint in last_line(capsys)
    assert not (tmp_path / "run").exists()


def test_evaluate_reads_the_runs_own_columns_and_groups(table, tmp_path, capsys):
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    own = table.parent / "own.csv"
    with open(own, "w", newline="") as file:
        words = [["at", "kind", "patient"]]
        words += [[row["path"], row["tags"] or "none", f"p{k // 2}"] for k, row in enumerate(rows)]
        csv.writer(file).writerows(words)
    named = ["--path-column", "at", "--label-column", "kind", "--group-column", "patient"]
    out, short = str(tmp_path / "run"), ["--epochs", "1", "--model", "lenet5"]
    assert main(["train", str(own), *named, "--out", out, *short]) == 0
    capsys.readouterr()
    assert main(["evaluate", out, str(own), "--part", "test", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert found["accuracy"] == card["result"]["test"]["accuracy"]
    usual = own.with_name("usual.csv")  # of other columns, and without groups
    usual.write_text(own.read_text().replace("at,kind,patient", "path,label,x"))
    assert main(["evaluate", out, str(usual), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 90
    assert "trained_on" not in found


def test_data_reads_what_train_reads(table, capsys):
    words = ["data", str(table), "--task", "multilabel", "--label-column", "tags", "--json"]
    assert main([*words, "--group-column", "grey [%]"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "multilabel"


def test_balanced_labels_are_trained_from_the_command(table, tmp_path, capsys):
    words = ["train", str(table), "--task", "multilabel", "--label-column", "tags"]
    words += ["--balance", "weights", "--epochs", "10", "--model", "lenet5"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    assert "rare ones balanced by weights" in capsys.readouterr().out
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["result"]["test"]["f1"] > 0.5


@pytest.mark.parametrize(("given", "smoothing"), [([], 0.0), (["--label-smoothing", "0.2"], 0.2)])
def test_who_weighs_classes_smooths_no_labels_unless_told(given, smoothing, tmp_path, capsys):
    words = ["train", "digits", "--epochs", "1", "--model", "convnet", "--recipe", "strong"]
    words += ["--balance", "weights", *given, "--out", str(tmp_path / "run")]
    assert main(words) == 0
    written = (tmp_path / "run" / "config.toml").read_text()
    assert f"\nlabel_smoothing = {smoothing}\n" in written
    assert "rare ones balanced by weights" in capsys.readouterr().out
