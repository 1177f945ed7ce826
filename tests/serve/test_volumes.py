"""Volumes over HTTP: the bits of `predict`, and nothing that unpacks to more than is allowed."""

from __future__ import annotations

import base64
import gzip
import io

import numpy as np
import pytest
import torch

from convarium import data, predict
from convarium.serve import Limits
from convarium.serve.bodies import received
from convarium.serve.samples import prepared, samples_of
from convarium.serve.served import batch_of

nibabel = pytest.importorskip("nibabel")

ANY = "application/octet-stream"


def values(*shape):
    random = np.random.Generator(np.random.PCG64(3))
    return random.normal(40, 20, shape).astype(np.float32)


def npy(array, **settings):
    file = io.BytesIO()
    np.save(file, array, **settings)
    return file.getvalue()


def npz(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def nifti(array, *spacing):
    image = nibabel.Nifti1Image(array, np.diag([*(spacing or (1, 1, 1)), 1.0]))
    return image.to_bytes()


FILES = {
    "a.npy": npy(values(12, 10, 9)),
    "b.npz": npz(volume=values(9, 12, 11), spacing=np.array([2.0, 1.0, 1.5])),
    "c.nii": nifti(values(8, 9, 10), 2.0, 1.0, 3.0),
    "d.nii.gz": gzip.compress(nifti(values(8, 9, 10), 2.0, 1.0, 3.0)),
}


def test_a_file_gives_the_bits_and_the_answer_of_predict(scans, serving, tmp_path):
    run, client = predict.open_run(scans), serving({"scans": scans})
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
        dataset = data.open_inputs([str(tmp_path / name)], kind="volumes")
        (expected,) = data.batches(dataset, run.preprocessing)
        (given,) = samples_of("volumes", received(ANY, content), 9)
        own = batch_of(run.preprocessing, [prepared(given, run.preprocessing, Limits())[1]])
        assert torch.equal(own.inputs[0], expected.inputs[0]), name
        (record,) = run.predictor.records(dataset)
        answer = client.post("/predict", content=content, headers={"Content-Type": ANY})
        assert answer.json()["predictions"][0]["label"] == record.label, name


def test_numbers_and_base64_are_the_file(scans, serving):
    client, array = serving({"scans": scans}), values(12, 10, 9)
    coded = base64.b64encode(npy(array)).decode()
    body = {"inputs": [array.tolist(), array[None].tolist(), coded]}
    answer = client.post("/predict?probabilities=true", json=body)
    rows = [each["probabilities"] for each in answer.json()["predictions"]]
    assert rows[1] == pytest.approx(rows[0])
    assert rows[2] == pytest.approx(rows[0])
    heat = client.post("/explain", json={"inputs": [array.tolist()]})
    assert np.asarray(heat.json()["values"]).ndim == 3
    picture = {"Accept": "image/png", "Content-Type": ANY}
    assert client.post("/explain", content=npy(array), headers=picture).status_code == 406


def bomb():
    """A small file of very many voxels."""
    header = nibabel.Nifti1Header()
    header.set_data_shape((600, 600, 600))
    header.set_data_dtype(np.uint8)
    header["magic"], header["vox_offset"] = b"n+1", 352
    return gzip.compress(header.binaryblock + bytes(4) + bytes(600**3 // 50))


REFUSED = {
    "a text": (b"do-not-tell", 422, "unreadable"),
    "nothing": (b"", 422, "unreadable"),
    "cut short": (FILES["a.npy"][:900], 422, "unreadable"),
    "cut short gzip": (FILES["d.nii.gz"][:900], 422, "unreadable"),
    "a bomb": (bomb(), 413, "too_many_voxels"),
    "a bomb in a zip": (npz(volume=np.zeros((300, 300, 300), np.int8)), 413, "too_many_voxels"),
    "a bomb of spacing": (nifti(values(8, 9, 10), 40.0, 40.0, 40.0), 413, "too_many_voxels"),
    "objects": (npy(np.array([{}]), allow_pickle=True), 422, "unreadable"),
    "a stack of TIFF": (b"II*\x00" + bytes(60), 422, "unreadable"),
    "two axes": (npy(values(12, 10)), 422, "unreadable"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_volume_is_refused_with_a_reason(scans, serving, name):
    content, status, code = REFUSED[name]
    client = serving({"scans": scans}, Limits(max_pixels=2_000_000))
    answer = client.post("/predict", content=content, headers={"Content-Type": ANY})
    assert (answer.status_code, answer.json()["error"]) == (status, code), answer.text
    assert "do-not-tell" not in answer.text + client.lines.getvalue()
    assert "/tmp" not in answer.text


@pytest.mark.parametrize(
    "value",
    [True, [[1, 2], [3]], [[[True]]], [[["1"]]], {"values": 1}, [[[[[1]]]]], "no base64", []],
)
def test_values_that_are_no_volume_are_refused(scans, serving, value):
    answer = serving({"scans": scans}).post("/predict", json={"inputs": [value]})
    assert answer.status_code == 422
    assert answer.json()["reason"]
