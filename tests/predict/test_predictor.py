"""One way from data to answers: bit-equal inputs, intact modes, tables, and opened runs."""

from __future__ import annotations

import csv
import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from PIL import Image

from convarium import data, models, predict, train
from convarium.errors import DataError, OptionError, RunError
from convarium.train import TrainConfig


class Recorder(torch.nn.Module):
    """A linear network that keeps a copy of what it is fed."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.flat = torch.nn.Flatten()
        self.drop = torch.nn.Dropout(0.5)
        self.head = torch.nn.Linear(3 * 8 * 8, classes)
        self.seen: list[torch.Tensor] = []

    def forward(self, x):
        self.seen += list(x.detach().clone())
        return self.head(self.drop(self.flat(x)))


@pytest.fixture
def photos(tmp_path):
    generator = np.random.Generator(np.random.PCG64(0))
    for name in ("ape", "bee"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(10):
            pixels = generator.integers(0, 256, (11 + i, 17, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


@pytest.fixture
def parts(photos):
    return data.split(data.open_dataset(photos), seed=1)


@pytest.fixture
def preprocessing(parts):
    return data.fit_preprocessing(parts.train, size=8)


def test_one_file_gives_bit_equal_input_in_validation_evaluate_and_predict(
    photos, parts, preprocessing
):
    class Silent:
        def on_start(self, **_):
            pass

        def on_step(self, step, loss):
            model.seen.clear()  # what training saw; the next to be seen is validation

        def on_epoch(self, row):
            seen.append([x.clone() for x in model.seen])

    seen: list[list[torch.Tensor]] = []
    model = Recorder(2)
    config = TrainConfig(epochs=1, batch_size=4, pad_crop=2)
    train.fit(model, parts, config, preprocessing=preprocessing, observers=[Silent()])
    validation = seen[0]
    card = data.build_card(parts, preprocessing)
    predictor = predict.Predictor(model, card)
    model.seen.clear()
    predictor.evaluate(parts.validation, batch_size=3)
    evaluated = list(model.seen)
    paths = [photos / parts.validation.name(k) for k in range(len(parts.validation))]
    predicted = []
    for path in paths:
        model.seen.clear()
        list(predictor.records(data.open_inputs([path])))
        predicted += model.seen
    assert len(validation) == len(evaluated) == len(predicted) == len(paths)
    for first, second, third in zip(validation, evaluated, predicted, strict=True):
        assert torch.equal(first, second)
        assert torch.equal(first, third)


def test_modes_come_back_also_after_an_error(parts, preprocessing):
    model = Recorder(2).train()
    model.drop.eval()
    predictor = predict.Predictor(model, data.build_card(parts, preprocessing))
    predictor.evaluate(parts.test)
    assert [m.training for m in model.modules()] == [True, True, False, True]
    model.head = torch.nn.Linear(5, 2)
    with pytest.raises(RuntimeError):
        predictor.evaluate(parts.test)
    assert [m.training for m in model.modules()] == [True, True, False, True]


def test_classes_are_matched_by_name_not_by_number(photos, parts, preprocessing):
    torch.manual_seed(3)
    predictor = predict.Predictor(Recorder(2), data.build_card(parts, preprocessing))
    whole = predictor.evaluate(data.open_dataset(photos))
    alone = photos.parent / "alone"
    alone.mkdir()
    shutil.copytree(photos / "bee", alone / "bee")
    part = predictor.evaluate(data.open_dataset(alone))
    assert part.confusion.sum(1).tolist() == [0, 10]
    assert part.confusion[1].tolist() == whole.confusion[1].tolist()
    records = list(predictor.records(data.open_dataset(alone)))
    assert {record.target for record in records} == {"bee"}
    (alone / "bee").rename(alone / "cow")
    with pytest.raises(DataError, match="cow"):
        predictor.evaluate(data.open_dataset(alone))


def test_dropout_is_off_and_batches_do_not_change_the_answers(parts, preprocessing):
    predictor = predict.Predictor(Recorder(2).train(), data.build_card(parts, preprocessing))
    one = [record.probabilities for record in predictor.records(parts.train, batch_size=1)]
    many = [record.probabilities for record in predictor.records(parts.train, batch_size=100)]
    np.testing.assert_allclose(one, many, rtol=1e-5)


def test_any_callable_is_a_forward(parts, preprocessing):
    predictor = predict.Predictor(
        lambda x: torch.stack([x.flatten(1).sum(1), -x.flatten(1).sum(1)], 1),
        data.build_card(parts, preprocessing),
    )
    assert predictor.evaluate(parts.test).n == len(parts.test)
    with pytest.raises(OptionError, match="embed"):
        predictor.embed(parts.test)


def test_embeddings_are_the_heads_input(parts, preprocessing):
    model = models.create("lenet5", in_channels=3, num_classes=2)
    preprocessing = data.fit_preprocessing(parts.train, size=32)
    predictor = predict.Predictor(model, data.build_card(parts, preprocessing))
    ids, vectors = predictor.embed(parts.test, batch_size=2)
    assert ids.tolist() == parts.test.ids.tolist()
    logits = model.head(torch.from_numpy(vectors))
    evaluation = predictor.evaluate(parts.test)
    assert logits.argmax(1).tolist() == evaluation.labels.tolist()


def test_unreadable_files_are_skipped_and_listed_or_raise(photos, parts, preprocessing):
    (photos / "ape" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    predictor = predict.Predictor(Recorder(2), data.build_card(parts, preprocessing))
    dataset = data.open_inputs([photos])
    skipped: list[data.Skipped] = []
    records = list(predictor.records(dataset, skipped=skipped, batch_size=4))
    assert len(records) == 19
    assert [item.name for item in skipped] == [str(photos / "ape" / "3.png")]
    with pytest.raises(DataError, match=r"3\.png"):
        list(predictor.records(dataset))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_tables_hold_every_row_and_refuse_other_endings(tmp_path, ending):
    rows = [{"name": f'ä{i}, "x"', "label": "a;b", "confidence": i / 7} for i in range(70_000)]
    path = tmp_path / f"out.{ending}"
    assert predict.write_table(path, iter(rows)) == 70_000
    if ending == "csv":
        with open(path, newline="", encoding="utf-8") as file:
            read = [{**row, "confidence": float(row["confidence"])} for row in csv.DictReader(file)]
    else:
        read = parquet.read_table(path).to_pylist()
    assert read == rows
    with pytest.raises(OptionError, match=r"\.csv or \.parquet"):
        predict.write_table(tmp_path / "out.xlsx", rows)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"out.{ending}"]


@pytest.fixture
def run(parts, tmp_path):
    model = models.create("lenet5", in_channels=3, num_classes=2)
    preprocessing = data.fit_preprocessing(parts.train, size=32)
    config = TrainConfig(epochs=1, batch_size=4)
    train.fit(model, parts, config, preprocessing=preprocessing, out=tmp_path / "run")
    return tmp_path / "run"


def test_an_opened_run_answers_as_the_trained_model_did(run, parts):
    opened = predict.open_run(run)
    result = opened.predictor.evaluate(parts.validation)
    stored = json.loads((run / "card.json").read_text())["result"]["validation"]
    assert result.score == stored["val_acc"]
    assert result.loss == pytest.approx(stored["val_loss"], rel=1e-6)
    samples = opened.samples()
    assert samples.shape == (min(32, len(parts.validation)), 3, 32, 32)
    predict.record_result(run, "test", opened.predictor.evaluate(parts.test), parts.test)
    card = json.loads((run / "card.json").read_text())
    assert card["result"]["test"]["n"] == len(parts.test)
    assert parquet.read_table(run / "predictions.parquet").num_rows == len(parts.test)


def test_results_recorded_at_once_are_all_kept(run, parts):
    evaluation = predict.open_run(run).predictor.evaluate(parts.test)
    names = [f"data{k}" for k in range(12)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda name: predict.record_result(run, name, evaluation, parts.test), names))
    card = json.loads((run / "card.json").read_text())
    assert set(card["result"]) == {"validation", *names}


def test_folders_that_are_no_finished_run_are_named(run, tmp_path):
    with pytest.raises(RunError, match="no run folder"):
        predict.open_run(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="not a run"):
        predict.open_run(tmp_path / "empty")
    shutil.copytree(run, tmp_path / "cut")
    (tmp_path / "cut" / "card.json").unlink()
    with pytest.raises(RunError, match="--resume"):
        predict.open_run(tmp_path / "cut")
    models.save(models.create("lenet5"), tmp_path / "bare")
    with pytest.raises(RunError, match="no run"):
        predict.open_run(tmp_path / "bare")
    weights = run / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(RunError):
        predict.open_run(run)


def test_a_card_of_other_classes_is_refused(photos):
    card = models.Weights("resnet20_cifar", "made_here", "convarium").card(["a", "b", "c"])
    predictor = predict.Predictor(models.create("resnet20_cifar", num_classes=4), card)
    with pytest.raises(OptionError, match="does not fit a network of 4 outputs"):
        next(predictor.records(data.open_inputs([photos])))
