"""Vectors as a folder of shards: the same as in one file, and gone on with after any stop."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest
from several import in_processes, killed
from written import rows, write_csv

from convarium import data, open_run, predict
from convarium.cli import main
from convarium.data.names import Names
from convarium.data.series.samples import SeriesArrays, SeriesFiles
from convarium.errors import DataError, OptionError, RunError
from convarium.predict import shards

pytest.importorskip("tokenizers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    write_csv(folder / "items.csv", rows(60))
    words = ["train", str(folder / "items.csv"), "--text", "text", "--label", "label"]
    words += ["--option", "filters=4", "--option", "embedding_dim=8", "--precision", "fp32"]
    assert main([*words, "--epochs", "1", "--out", str(folder / "run")]) == 0
    return folder


def opened(folder):
    run = open_run(folder / "run")
    return run, data.open_inputs([folder / "items.csv"], kind="texts")


def written(folder, out, world=None, **options):
    run, dataset = opened(folder)
    more = {} if world is None else {"world": world}
    return predict.write_shards(
        out, dataset, run.predictor, {"network": "one"}, shard=17, **more, **options
    )


def whole(folder):
    run, dataset = opened(folder)
    _, vectors = run.predictor.embed(dataset)
    return [dataset.name(i) for i in range(len(dataset))], vectors


def test_shards_hold_what_one_file_holds(folder, tmp_path):
    assert written(folder, tmp_path / "v")[:2] == (60, 20)
    assert len(list((tmp_path / "v").glob("part-*.parquet"))) == 4
    ids, vectors = predict.read_vectors(tmp_path / "v")
    names, expected = whole(folder)
    assert ids == names
    assert np.allclose(vectors, expected, atol=1e-6)
    assert pq.read_table(tmp_path / "v")["id"].to_pylist() == names  # any reader of Parquet


def test_a_stopped_job_goes_on_with_what_is_missing(folder, tmp_path, monkeypatch):
    out = tmp_path / "v"
    real, calls, most = shards.write_vectors, [], 2

    def watched(path, *given, **options):
        if len(calls) == most:
            raise KeyboardInterrupt
        calls.append(path.name)
        return real(path, *given, **options)

    monkeypatch.setattr(shards, "write_vectors", watched)
    with pytest.raises(KeyboardInterrupt):
        written(folder, out)
    with pytest.raises(DataError, match="holds 2 of 4 shards"):
        predict.read_vectors(out)
    calls.clear()
    monkeypatch.setattr(
        predict.shards, "write_vectors", lambda *g, **o: calls.append(g[0].name) or real(*g, **o)
    )
    assert written(folder, out)[0] == 60
    assert calls == ["part-00002.parquet", "part-00003.parquet"]
    assert np.allclose(predict.read_vectors(out)[1], whole(folder)[1], atol=1e-6)


def test_two_processes_share_the_shards(folder, tmp_path):
    out = tmp_path / "v"
    found = in_processes(2, partial(written, folder, out))
    assert [each[:2] for each in found] == [(60, 20), (60, 20)]
    ids, vectors = predict.read_vectors(out)
    names, expected = whole(folder)
    assert ids == names
    assert np.allclose(vectors, expected, atol=1e-5)


@pytest.mark.long
def test_a_job_of_torchrun_whose_worker_is_killed_goes_on_with_one_process(
    folder, tmp_path, capsys
):
    out = tmp_path / "v"
    words = ["embed", str(folder / "run"), str(folder / "items.csv"), "-o", str(out), "--json"]
    words += ["--shard", "1"]
    killed(words, 8)
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*.skipped.jsonl")}
    assert {f"_part-{k:05}.skipped.jsonl" for k in (0, 2, 4, 6)} <= {path.name for path in kept}
    assert not (out / "_part-00008.skipped.jsonl").exists()
    with pytest.raises(DataError, match="of 60 shards"):
        predict.read_vectors(out)
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 60
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    ids, vectors = predict.read_vectors(out)
    names, expected = whole(folder)
    assert ids == names
    assert np.allclose(vectors, expected, atol=1e-5)


def differing(folder, out, world):
    """What a process is told whose network is not that of the others."""
    run, dataset = opened(folder)
    try:
        predict.write_shards(
            out, dataset, run.predictor, {"network": f"no. {world.rank}"}, shard=17, world=world
        )
    except RunError as error:
        return str(error)


def test_processes_with_other_networks_write_nothing(folder, tmp_path):
    told = in_processes(2, partial(differing, folder, tmp_path / "v"))
    assert told[0] == told[1]
    assert "Process 1 of 2 has network 'no. 1' where the first has 'no. 0'" in told[0]
    assert not (tmp_path / "v").exists()


def test_other_vectors_in_the_folder_are_refused(folder, tmp_path):
    out = tmp_path / "v"
    written(folder, out)
    with pytest.raises(RunError, match="begun with dtype 'float32', which is 'float16' now"):
        written(folder, out, dtype="float16")
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "a.txt").write_text("mine")
    with pytest.raises(RunError, match="holds something else"):
        written(folder, tmp_path / "else")
    run, dataset = opened(folder)
    with pytest.raises(OptionError, match=r"shard \(=0\)"):
        predict.write_shards(tmp_path / "w", dataset, run.predictor, {}, shard=0)


def test_changed_inputs_of_the_same_names_are_seen(tmp_path):
    random = np.random.default_rng(0)
    values = random.normal(size=(1, 40)).astype(np.float32)
    files = [tmp_path / f"{k}.npy" for k in range(2)]
    for path in files:
        np.save(path, values[0])

    def digests(series):
        arrays = data.Dataset(SeriesArrays.of([series, series]), source="made")
        names = Names.of([path.name for path in files])
        listed = data.Dataset(SeriesFiles(str(tmp_path), names), source="made")
        return shards._digest(arrays), shards._digest(listed)

    before = digests(values)
    assert digests(values) == before
    np.save(files[1], np.append(values[0], 0))
    after = digests(values + 1)
    assert after[0] != before[0]
    assert after[1] != before[1]
    files[0].unlink()
    assert digests(values)[1] != after[1]


def test_what_cannot_be_read_is_listed_also_after_a_stop(folder, tmp_path):
    run = open_run(folder / "run")
    from convarium.data.texts.samples import Texts

    texts = ["rose", " ", "spoon", "\n", "\t"]
    dataset = data.Dataset(Texts(texts).called("abcde"), source="made")
    for _ in range(2):
        told = predict.write_shards(tmp_path / "v", dataset, run.predictor, {}, shard=3)
        assert told[:2] == (2, 20)
        assert [item.name for item in told[2]] == ["b", "d", "e"]
    assert predict.read_vectors(tmp_path / "v")[0] == ["a", "c"]


def test_the_command_makes_shards_and_finds_neighbours(folder, tmp_path, capsys):
    words = ["embed", str(folder / "run"), str(folder / "items.csv"), "-o", str(tmp_path / "v")]
    assert main([*words, "--shard", "25"]) == 0
    assert "60 vectors of 20 float32" in capsys.readouterr().out
    assert main([*words[:-1], str(tmp_path / "v.parquet"), "--shard", "25"]) == 2
    assert "--shard is for a folder" in capsys.readouterr().err
    find = ["neighbours", str(tmp_path / "v")]
    assert main([*find, "--of", "t3", "-k", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["rank"] for row in told["neighbours"]] == [1, 2]
    assert main([*find, "--of", "t3", "-k", "2"]) == 0
    assert capsys.readouterr().out.startswith("t3    1  ")
    assert main([*find, "-o", str(tmp_path / "near.csv"), "-k", "3"]) == 0
    assert len((tmp_path / "near.csv").read_text().splitlines()) == 1 + 60 * 3
    capsys.readouterr()
    worth = ["--items", str(folder / "items.csv"), "--label", "label", "--json"]
    assert main([*find, *worth]) == 0
    quality = json.loads(capsys.readouterr().out)["quality"]
    assert quality["n"] == 60
    assert quality["chance"] < quality["recall"] <= 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Say --of ID"),
        (["--of", "t99"], "no vector of 't99'"),
        (["--items", "items.csv"], "--items needs --label"),
        (["--label", "label"], "is a column of --items"),
        (["--items", "items.csv", "--label", "topic"], "no column 'topic'"),
        (["--items", "absent.csv", "--label", "label"], "no table absent.csv"),
        (["--items", "items.csv", "--label", "label", "--id", "group"], "has no class for"),
        (["--of", "t1", "--index-file", "x"], "belongs to --index graph"),
    ],
)
def test_what_cannot_be_is_one_sentence(folder, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(folder)
    if not (folder / "v").exists():
        written(folder, folder / "v")
    assert main(["neighbours", "v", *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line
    assert main(["neighbours", "items.csv", "--of", "t1"]) == 2
    assert "cannot be read as vectors" in capsys.readouterr().err
