"""The report of a real small run: what it shows is what was measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convarium import data, explain, models, predict, report, train
from convarium.train import TrainConfig


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    parts = data.split(data.open_dataset("digits"), validation=0.05, test=0.05)
    preprocessing = data.fit_preprocessing(parts.train)
    torch.manual_seed(0)
    model = models.create("convnet", in_channels=1, num_classes=10, channels=[8, 16],
                          kernel_sizes=[3, 3])  # fmt: skip
    config = TrainConfig(epochs=1, flip=False, learning_rate=1e-2)
    out = folder / "run"
    history = train.fit(model, parts, config, preprocessing=preprocessing, out=out)
    return out, history, parts


def test_the_report_shows_the_measured_accuracy_and_the_worst_errors(trained):
    out, history, parts = trained
    run = predict.open_run(out)
    evaluation = run.predictor.evaluate(parts.test)
    predict.record_result(out, "test", evaluation, parts.test)
    page = report.report_run(predict.open_run(out), history, evaluation, parts.test)
    text = page.read_text().replace("\xa0", " ")
    assert f"{100 * evaluation.accuracy:.1f} %" in text
    assert len(evaluation.worst(12)) > 0
    for id in evaluation.worst(12):
        place = int(np.flatnonzero(evaluation.ids == id)[0])
        assert evaluation.classes[evaluation.targets[place]] in text
    assert list(out.glob("*.tmp")) == []


def test_explained_samples_are_predictions_with_their_grad_cam(trained):
    out, _, parts = trained
    run = predict.open_run(out)
    explained = report.explain_samples(run, parts.test, most=20)
    assert len(explained.pictures) == len(explained.rows) == 20
    (batch, *_) = data.batches(parts.test, run.preprocessing, batch_size=20)
    heat = explain.grad_cam(run.model, batch.inputs[0])
    assert explained.layer == heat.layer
    for k, picture in enumerate(explained.pictures):
        np.testing.assert_allclose(picture.heat, heat.display()[k], atol=1e-5)
        pixels = parts.test.dataset.read(int(parts.test.ids[k]))
        np.testing.assert_array_equal(picture.image, pixels)
        assert explained.rows[k]["logit"] == pytest.approx(heat.logit[k].item(), rel=1e-4)


def test_a_chosen_target_is_explained_instead_of_the_prediction(trained):
    out, _, parts = trained
    run = predict.open_run(out)
    explained = report.explain_samples(run, parts.test, most=3, target=7)
    assert [row["target"] for row in explained.rows] == ["7", "7", "7"]
    assert all(picture.title == "7" for picture in explained.pictures)
