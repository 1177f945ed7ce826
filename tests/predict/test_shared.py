"""Two processes that predict together give what one gives, in its order."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from several import commanded, in_processes

from convarium import data, predict
from convarium.cli import main
from convarium.processes import ALONE, World


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "digits"
    words = ["train", "digits", "--out", str(out), "--epochs", "1", "--model", "lenet5"]
    assert main([*words, "--size", "32"]) == 0
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("inputs")
    generator = np.random.default_rng(0)
    for k in range(11):
        pixels = generator.integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(where / f"{k:02}.png")
    (where / "03.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    return where


def answered(run: Path, folder: Path, world: World) -> tuple[list, list, list, list]:
    opened = predict.open_run(run)
    dataset, skipped = data.open_inputs([str(folder)]), []
    records = opened.predictor.records(dataset, batch_size=2, skipped=skipped, world=world)
    told = [{"id": record.id, **record.columns()} for record in records]
    good = data.Part(dataset, np.array([row["id"] for row in told]))
    ids, vectors = opened.predictor.embed(good, batch_size=3, world=world)
    return told, [item.name for item in skipped], ids.tolist(), vectors.tolist()


def test_each_process_has_all_records_and_vectors(run, folder):
    alone = answered(run, folder, ALONE)
    assert (len(alone[0]), len(alone[1])) == (10, 1)
    for found in in_processes(2, partial(answered, run, folder)):
        assert [row["id"] for row in found[0]] == [row["id"] for row in alone[0]]
        for mine, its in zip(found[0], alone[0], strict=True):
            near = {k: pytest.approx(v, abs=1e-5) if isinstance(v, float) else v
                    for k, v in its.items()}  # fmt: skip
            assert mine == near
        assert found[1:3] == alone[1:3]
        assert np.allclose(found[3], alone[3], atol=1e-5)


def test_the_command_speaks_once(run, folder, tmp_path):
    words = ["predict", str(run), str(folder), "--batch-size", "2", "--json"]
    (code, told, _), others = in_processes(2, partial(commanded, words))
    assert (code, *others[:2]) == (0, 0, "")
    assert [row["name"] for row in json.loads(told)["predictions"]] == sorted(
        str(path) for path in folder.iterdir() if path.name != "03.png"
    )
    words = ["evaluate", str(run), "digits", "--part", "test", "--json"]
    (code, told, _), others = in_processes(2, partial(commanded, words))
    assert (code, *others[:2]) == (0, 0, "")
    card = json.loads((run / "card.json").read_text())
    assert json.loads(told)["accuracy"] == card["result"]["test"]["accuracy"]
