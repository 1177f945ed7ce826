"""What a server answers is what the run says: the same inputs bit for bit, the same records."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import wavfile

from convarium import data, predict
from convarium.explain import grad_cam, hires_cam
from convarium.serve import Limits
from convarium.serve.bodies import received
from convarium.serve.samples import prepared, samples_of
from convarium.serve.served import batch_of

TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}


def media(name):
    return {"Content-Type": TYPES[name.rpartition(".")[2]]}


def served_inputs(run, kind, content):
    body = received(kind, content)
    found = [
        prepared(given, run.preprocessing, Limits())[1]
        for given in samples_of(run.preprocessing.kind, body, 9)
    ]
    return batch_of(run.preprocessing, found)


def test_a_file_gives_the_bits_of_validation_and_of_predict(photos, pictures, tmp_path):
    run = predict.open_run(photos)
    for name, content in pictures.items():
        (tmp_path / name).write_bytes(content)
    dataset = data.open_inputs([str(tmp_path)], kind="images")
    (whole,) = data.batches(dataset, run.preprocessing)
    parts = data.Part(dataset, np.arange(len(dataset)))
    (validation,) = data.batches(parts, run.preprocessing)
    assert torch.equal(whole.inputs[0], validation.inputs[0])
    for k in range(len(dataset)):
        name = dataset.name(k).rpartition("/")[2]
        own = served_inputs(run, media(name)["Content-Type"], pictures[name])
        assert torch.equal(own.inputs[0][0], whole.inputs[0][k]), name
        assert own.inputs[0].stride() == whole.inputs[0][k : k + 1].clone().stride()


def test_texts_and_series_give_the_bits_of_predict(reviews, curves, tmp_path):
    texts, series = predict.open_run(reviews), predict.open_run(curves)
    for k, words in enumerate(["a red hat", "a shoe"]):
        (tmp_path / f"{k}.txt").write_text(words)
    (expected,) = data.batches(
        data.open_inputs([str(tmp_path / "*.txt")], kind="texts"), texts.preprocessing
    )
    body = json.dumps({"inputs": ["a red hat", "a shoe"]}).encode()
    assert torch.equal(served_inputs(texts, "application/json", body).inputs[0], expected.inputs[0])
    values = np.random.Generator(np.random.PCG64(1)).normal(size=(2, 50)).astype(np.float32)
    for k, length in enumerate((50, 30)):
        np.save(tmp_path / f"{k}.npy", values[:, :length])
    (expected,) = data.batches(
        data.open_inputs([str(tmp_path / "*.npy")], kind="series"), series.preprocessing
    )
    rows = [values.tolist(), values[:, :30].tolist()]
    own = served_inputs(series, "application/json", json.dumps({"inputs": rows}).encode())
    assert torch.equal(own.inputs[0], expected.inputs[0])
    assert torch.equal(own.mask, expected.mask)


def test_sound_gives_the_bits_of_its_file(curves, tmp_path):
    run = predict.open_run(curves)
    sound = (np.arange(60).reshape(30, 2) * 500).astype(np.int16)
    wavfile.write(tmp_path / "a.wav", 8000, sound)
    dataset = data.open_inputs([str(tmp_path / "a.wav")], kind="series")
    (expected,) = data.batches(dataset, run.preprocessing)
    own = served_inputs(run, "audio/wav", (tmp_path / "a.wav").read_bytes())
    assert torch.equal(own.inputs[0], expected.inputs[0])


def test_predict_answers_as_the_command_does(photos, pictures, serving, tmp_path):
    client, run = serving({"photos": photos}), predict.open_run(photos)
    for name, content in pictures.items():
        (tmp_path / name).write_bytes(content)
        (record,) = run.predictor.records(data.open_inputs([str(tmp_path / name)]))
        path = "/predict?probabilities=true"
        answer = client.post(path, content=content, headers=media(name))
        assert answer.status_code == 200, answer.text
        (said,) = answer.json()["predictions"]
        assert (said["label"], said["top"]) == (record.label, record.columns()["top"])
        assert [*said["probabilities"].values()] == pytest.approx(record.probabilities)
        assert answer.json()["version"] == client.get("/info").json()["version"]


def test_several_at_once_in_every_form(photos, pictures, serving):
    client = serving({"photos": photos})
    names = ["a.png", "a.jpg", "grey.png"]
    alone = [
        client.post("/predict", content=pictures[name], headers=media(name)).json()
        for name in names
    ]
    expected = [each["predictions"][0]["label"] for each in alone]
    pixels = np.asarray(Image.open(io.BytesIO(pictures["a.png"]))).tolist()
    coded = [base64.b64encode(pictures[name]).decode() for name in names]
    documents = client.post("/predict", json={"inputs": [pixels, *coded]})
    labels = [each["label"] for each in documents.json()["predictions"]]
    assert labels == [expected[0], *expected]
    files = [("file", (name, pictures[name], media(name)["Content-Type"])) for name in names]
    form = client.post("/runs/photos/predict", files=files)
    assert [each["label"] for each in form.json()["predictions"]] == expected


def test_embed_gives_the_vectors_of_the_network(photos, pictures, serving, tmp_path):
    client, run = serving({"photos": photos}), predict.open_run(photos)
    (tmp_path / "a.png").write_bytes(pictures["a.png"])
    _, vectors = run.predictor.embed(data.open_inputs([str(tmp_path / "a.png")]))
    answer = client.post("/embed", content=pictures["a.png"], headers=media("a.png"))
    np.testing.assert_allclose(answer.json()["vectors"], vectors, rtol=1e-5, atol=1e-6)


def test_explain_gives_values_and_a_picture(photos, pictures, serving):
    client, run = serving({"photos": photos}), predict.open_run(photos)
    x = served_inputs(run, "image/png", pictures["a.png"]).inputs[0]
    heat = grad_cam(run.model, x, target=1)
    path = "/explain?target=bee"
    told = client.post(path, content=pictures["a.png"], headers=media("a.png")).json()
    assert (told["target"], told["layer"], told["status"]) == ("bee", heat.layer, heat.status[0])
    np.testing.assert_allclose(told["values"], heat.values[0], atol=1e-5)
    wanted = {**media("a.png"), "Accept": "image/png"}
    drawn = client.post(path, content=pictures["a.png"], headers=wanted)
    seen = run.preprocessing.apply(data.read_image(pictures["a.png"])).permute(1, 2, 0).numpy()
    expected = heat.overlay(seen, sample=0, classes=run.card["classes"])
    assert drawn.headers["content-type"] == "image/png"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(drawn.content))), expected)


def test_explain_tells_the_heat_of_each_token(reviews, serving):
    client, run = serving({"reviews": reviews}), predict.open_run(reviews)
    told = client.post("/explain?method=hires-cam", json={"inputs": ["a red hat"]}).json()
    x = served_inputs(run, "text/plain", b"a red hat").inputs[0]
    heat = hires_cam(run.model, x)
    assert told["tokens"] == ["a", "red", "hat"]
    assert told["input_size"] == [len(told["values"])] == [3]  # all heat lies on the words
    assert sum(told["values"]) == pytest.approx(float(heat.values.sum()), abs=1e-4)
    np.testing.assert_allclose(told["values"], heat.resized(heat.values, (3,))[0], atol=1e-5)


def test_several_runs_have_addresses_of_their_own(photos, reviews, curves, serving):
    client = serving({"photos": photos, "reviews": reviews, "curves": curves})
    assert [run["name"] for run in client.get("/runs").json()["runs"]] == [
        *("photos", "reviews", "curves")
    ]
    texts = client.post(
        "/runs/reviews/predict", content=b"a hat", headers={"Content-Type": "text/plain"}
    )
    series = client.post("/predict?run=curves", json={"inputs": [[[0.5] * 20, [1, None] * 10]]})
    assert texts.json()["run"] == "reviews"
    assert series.json()["run"] == "curves"
    unnamed = client.post("/predict", json={"inputs": ["a hat"]})
    assert (unnamed.status_code, unnamed.json()["error"]) == (400, "which_run")


def test_series_of_unequal_lengths_say_what_each_says_alone(curves, serving):
    client = serving({"curves": curves})
    rows = [np.sin(np.arange(2 * n).reshape(2, n)).tolist() for n in (20, 33, 40)]
    ask = {"probabilities": "true"}
    together = client.post("/predict", json={"inputs": rows}, params=ask).json()["predictions"]
    for row, said in zip(rows, together, strict=True):
        (alone,) = client.post("/predict", json={"inputs": [row]}, params=ask).json()["predictions"]
        assert said["label"] == alone["label"]
        likely = [*alone["probabilities"].values()]
        assert [*said["probabilities"].values()] == pytest.approx(likely, abs=1e-5)


def test_info_and_probes(photos, serving):
    client = serving({"photos": photos})
    told = client.get("/info").json()
    assert told["card"]["classes"] == ["ape", "bee", "cat"]
    assert told["kind"] == "images"
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").status_code == 200
    client.service.draining = True
    ending = client.get("/readyz")
    assert (ending.status_code, ending.headers["connection"]) == (503, "close")


def test_metrics_count_what_happened(photos, pictures, serving):
    client = serving({"photos": photos})
    client.post("/predict", content=pictures["a.png"], headers=media("a.png"))
    client.post("/predict", content=b"none", headers=media("a.png"))
    client.get("/no/such/path")
    lines = client.get("/metrics").text.splitlines()
    assert 'convarium_requests_total{route="/predict",run="photos",status="200"} 1.0' in lines
    assert 'convarium_refusals_total{code="unreadable"} 1.0' in lines
    assert 'convarium_samples_total{run="photos"} 1.0' in lines
    assert 'convarium_batch_samples_count{run="photos"} 1.0' in lines
    assert "convarium_samples_inside 0.0" in lines


def test_heads_are_answered_as_their_pages(photos, pictures, serving):
    client = serving({"photos": photos})
    for path, status in (("/healthz", 200), ("/info", 200), ("/predict", 405), ("/nowhere", 404)):
        assert client.head(path).status_code == status, path
    for accept, media in (("image/png;q=0, */*", "application/json"), ("image/png", "image/png")):
        heat = client.post("/explain", content=pictures["a.png"], headers={"Accept": accept})
        assert (heat.headers["content-type"], heat.headers["vary"]) == (media, "Accept")
