"""`convarium train --resume` over a table: its columns and its task are those of the run."""

from __future__ import annotations

import io
import tomllib

import numpy as np
import pytest
import tomli_w
from PIL import Image

from convarium import files
from convarium.cli import main

SMALL = ["--model", "convnet", "--option", "channels=[4]", "--option", "kernel_sizes=[3]"]
COLUMNS = ["--path-column", "where", "--label-column", "texture", "--group-column", "patient"]


@pytest.fixture(scope="module", params=["csv", "parquet"])
def table(request, tmp_path_factory):
    """A table whose usual columns say something else, with a group for every two rows."""
    folder = tmp_path_factory.mktemp("table")
    random = np.random.default_rng(0)
    rows = []
    for k in range(60):
        pixels = random.integers(0, 60, (8, 8), dtype=np.uint8)
        pixels[:: 1 + k % 2] += 190
        Image.fromarray(pixels).save(folder / f"{k}.png")
        rows.append((f"{k}.png", f"{k}.png", "ab"[k % 2], "xyz"[k % 3], f"p{k // 2}", k + 0.5, k))
    names = ("path", "where", "texture", "label", "patient", "age", "size")
    if request.param == "csv":
        lines = [",".join(map(str, row)) for row in (names, *rows)]
        (folder / "table.csv").write_text("\n".join(lines) + "\n")
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        pq.write_table(pa.table(columns), folder / "table.parquet")
    return str(next(folder.glob("table.*")))


def cut(folder):
    """Leave a run as one that was killed after its last checkpoint."""
    digest = files.sha256(folder / "model.safetensors")
    (folder / "card.json").unlink()
    (folder / "model.safetensors").unlink()
    return digest


def test_columns_are_those_of_the_run_and_others_are_refused(table, tmp_path, capsys):
    out = tmp_path / "run"
    words = ["train", table, "--out", str(out), *SMALL]
    assert main([*words, *COLUMNS, "--epochs", "2"]) == 0
    stored = tomllib.loads((out / "config.toml").read_text())["data"]
    assert stored["task"] == "classification"
    assert stored["columns"] == {
        "path_column": "where", "label_column": ["texture"], "group_column": "patient",
    }  # fmt: skip
    whole = cut(out)
    assert main([*words, "--resume"]) == 0
    assert files.sha256(out / "model.safetensors") == whole
    assert main([*words, *COLUMNS, "--resume"]) == 0
    capsys.readouterr()
    for changed, told in (
        (["--label-column", "label"], "--label-column: it was 'texture' and is 'label'"),
        (["--path-column", "path"], "--path-column: it was 'where' and is 'path'"),
        (["--group-column", "age"], "--group-column: it was 'patient' and is 'age'"),
        (["--task", "regression"], "--task: it was 'classification' and is 'regression'"),
    ):
        assert main([*words, *changed, "--resume"]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith(f"convarium: Cannot resume with another {told}; leave it out")
    assert files.sha256(out / "model.safetensors") == whole


def test_numbers_are_resumed_with_their_columns_in_folds_too(table, tmp_path, capsys):
    out = tmp_path / "cv"
    words = ["train", table, "--out", str(out), "--folds", "2", *SMALL]
    columns = ["--task", "regression", "--label-column", "age", "--label-column", "size"]
    assert main([*words, *columns, "--epochs", "1"]) == 0
    whole = cut(out / "fold-2")
    assert main([*words, "--resume"]) == 0
    assert files.sha256(out / "fold-2" / "model.safetensors") == whole
    capsys.readouterr()
    assert main([*words, "--label-column", "age", "--resume"]) == 2
    assert "it was 'age', 'size' and is 'age'" in capsys.readouterr().err
    assert main([*words, "--group-column", "patient", "--resume"]) == 2
    assert "--group-column: it was none and is 'patient'" in capsys.readouterr().err


def test_a_run_from_before_columns_were_kept_takes_those_that_are_given(table, tmp_path):
    out = tmp_path / "run"
    words = ["train", table, "--out", str(out), *SMALL, *COLUMNS]
    assert main([*words, "--epochs", "1"]) == 0
    settings = tomllib.loads((out / "config.toml").read_text())
    del settings["data"]["task"], settings["data"]["columns"]
    (out / "config.toml").write_text(tomli_w.dumps(settings))
    whole = cut(out)
    assert main([*words, "--resume"]) == 0
    assert files.sha256(out / "model.safetensors") == whole


def test_pictures_in_parquet_are_resumed_with_their_columns_too(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="needs the extra datasets")
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    random = np.random.default_rng(0)
    pictures = []
    for k in range(40):
        pixels = random.integers(0, 60, (8, 8), dtype=np.uint8)
        pixels[:: 1 + k % 2] += 190
        coded = io.BytesIO()
        Image.fromarray(pixels).save(coded, "png")
        pictures.append(coded.getvalue())
    columns = {"scan": pictures, "texture": ["ab"[k % 2] for k in range(40)], "label": ["x"] * 40}
    pq.write_table(pa.table(columns), tmp_path / "shard.parquet")
    out = tmp_path / "run"
    words = ["train", str(tmp_path / "shard.parquet"), "--out", str(out), *SMALL]
    named = ["--path-column", "scan", "--label-column", "texture"]
    assert main([*words, *named, "--epochs", "1"]) == 0
    whole = cut(out)
    assert main([*words, "--resume"]) == 0
    assert files.sha256(out / "model.safetensors") == whole
    assert main([*words, "--label-column", "label", "--resume"]) == 2
