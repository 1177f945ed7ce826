"""Temperatures from validation samples, and data of other tasks through the predictor."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import cohen_kappa_score

from convarium import data, models, predict
from convarium.cli import main
from convarium.errors import DataError


class Sure(torch.nn.Module):
    """Outputs that grow with the mean grey, and are much too sure."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.linspace(-9, 9, outputs))

    def forward(self, x):
        return x.mean((1, 2, 3))[:, None] * self.scale


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Grey pictures; each cell of the table is right in three cases of four."""
    path = tmp_path_factory.mktemp("greys")
    generator = np.random.default_rng(0)
    rows = ["path,label,tags,level [cd]"]
    for i in range(80):
        bright = i % 2
        grey = int(generator.integers(140, 220) if bright else generator.integers(30, 110))
        Image.new("L", (32, 32), grey).save(path / f"{i}.png")
        honest = i % 8 > 1
        label = "day" if bright == honest else "night"
        rows.append(f"{i}.png,{label},{label if bright else ''},{grey / 10 + i % 3}")
    (path / "t.csv").write_text("\n".join(rows) + "\n")
    return path


def prepared(folder, task, column):
    dataset = data.open_dataset(folder / "t.csv", task=task, label_column=column)
    parts = data.split(dataset, validation=0.4, test=0.1)
    steps = data.fit_preprocessing(parts.train)
    return parts, data.build_card(parts, steps)


@pytest.mark.parametrize(("task", "column"), [("classification", "label"), ("multilabel", "tags")])
def test_the_temperature_makes_the_validation_more_likely_and_no_label_other(folder, task, column):
    parts, card = prepared(folder, task, column)
    model = Sure(len(card["classes"]))
    found = predict.fit_temperature(predict.Predictor(model, card), parts.validation, batch_size=7)
    assert found.n == len(parts.validation)
    assert found.temperature > 1.5
    assert found.ece_after < found.ece_before
    scaled = {**card, "calibration": json.loads(json.dumps(found.to_card()))}
    plain, honest = (
        predict.Predictor(model, each).evaluate(parts.validation) for each in (card, scaled)
    )
    assert honest.loss == plain.loss
    assert honest.score == plain.score
    assert honest.figures()["ece"] == pytest.approx(found.ece_after, rel=1e-6)
    again = predict.fit_temperature(predict.Predictor(model, scaled), parts.validation)
    assert again.temperature == pytest.approx(found.temperature, rel=1e-6)


def test_numbers_have_no_temperature_and_an_empty_part_is_refused(folder):
    parts, card = prepared(folder, "regression", "level [cd]")
    assert predict.fit_temperature(predict.Predictor(Sure(1), card), parts.validation) is None
    parts, card = prepared(folder, "classification", "label")
    empty = data.Part(parts.train.dataset, np.zeros(0, np.int64))
    with pytest.raises(DataError, match="no samples"):
        predict.fit_temperature(predict.Predictor(Sure(2), card), empty)


def saved(folder, card, outputs):
    model = models.create("lenet5", num_classes=outputs, in_channels=1)
    return models.save(model, folder, card)


@pytest.mark.parametrize(
    ("task", "column", "key"),
    [("multilabel", "tags", "micro_f1"), ("regression", "level [cd]", "outputs")],
)
def test_the_command_evaluates_and_predicts_other_tasks(
    folder, task, column, key, tmp_path, capsys
):
    _, card = prepared(folder, task, column)
    run = saved(tmp_path / "run", card, len(card["classes"]))
    words = ["evaluate", str(run), str(folder / "t.csv"), "--label-column", column]
    assert main([*words, "-o", str(tmp_path / "out.parquet")]) == 0
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["n"] == 80
    assert key in result
    assert main(["predict", str(run), str(folder / "3.png"), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["predictions"][0]
    assert row["name"].endswith("3.png")
    assert ("labels" in row) if task == "multilabel" else ("predicted_level" in row)


def test_data_of_another_task_is_refused(folder):
    _, card = prepared(folder, "multilabel", "tags")
    predictor = predict.Predictor(Sure(1), card)
    classes = data.open_dataset(folder / "t.csv", label_column="label")
    with pytest.raises(DataError, match="read for classification and the model is for multilabel"):
        predictor.evaluate(classes)
    _, card = prepared(folder, "regression", "level [cd]")
    wrong = data.open_dataset(folder / "t.csv", task="regression", label_column="level [cd]")
    wrong.units = ("lx",)
    with pytest.raises(DataError, match=r"is in lx in .* and in cd in the card"):
        predict.Predictor(Sure(1), card).evaluate(wrong)


def test_unlabelled_samples_cannot_be_calibrated(folder):
    parts, card = prepared(folder, "classification", "label")
    bare = data.Dataset(parts.train.dataset.samples, source="made")
    with pytest.raises(DataError, match="no labels"):
        predict.fit_temperature(predict.Predictor(Sure(2), card), data.Part(bare, parts.test.ids))


class Gathered:
    """A figure that keeps what it is given."""

    def __init__(self) -> None:
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def update(self, stated, target):
        self.seen.append((stated, target))


@pytest.mark.parametrize(
    ("task", "column"),
    [("classification", "label"), ("multilabel", "tags"), ("regression", "level [cd]")],
)
def test_further_metrics_see_all_that_is_stated(folder, task, column):
    parts, card = prepared(folder, task, column)
    predictor, kept = predict.Predictor(Sure(len(card["classes"])), card), Gathered()
    result = predictor.evaluate(parts.validation, batch_size=7, metrics=[kept])
    stated, target = (torch.cat(column) for column in zip(*kept.seen, strict=True))
    np.testing.assert_array_equal(target, parts.validation.targets)
    if task == "regression":
        np.testing.assert_array_equal(stated, result.values)
    else:
        assert target.dtype == torch.int64
        rows = result.stated.rows if task == "classification" else result.rows_kept
        np.testing.assert_array_equal(stated, rows)


def test_torchmetrics_metrics_can_be_added(folder):
    peer = pytest.importorskip("torchmetrics")
    parts, card = prepared(folder, "classification", "label")
    kappa = peer.CohenKappa(task="multiclass", num_classes=2)
    result = predict.Predictor(Sure(2), card).evaluate(parts.train, batch_size=7, metrics=[kappa])
    expected = cohen_kappa_score(result.targets, result.labels)
    assert kappa.compute().item() == pytest.approx(expected, abs=1e-6)
