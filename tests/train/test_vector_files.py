"""Pretrained vectors from files: the three forms, what is found, and what is refused."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
import torch
from written import COMMON, SUBJECTS, rows, write_csv

import convarium
from convarium import data, open_run, train
from convarium.cli import main
from convarium.errors import DataError
from convarium.train.vector_files import file_vectors, give_vectors, vector_length

pytest.importorskip("tokenizers")
WORDS = ["[PAD]", "[UNK]", "rose", "Tulip", "spade"]
TABLE = {"rose": [1.0, 2.0], "Tulip": [3.0, 4.0], "ROSE": [9.0, 9.0], "of the": [5.0, 6.0]}
LINES = "".join(f"{word} {a} {b}\n" for word, (a, b) in TABLE.items())


def as_table(path, words=tuple(TABLE), values=None):
    from safetensors.numpy import save_file

    values = np.array(list(TABLE.values()), np.float32) if values is None else values
    save_file({"vectors": values}, path, metadata={"vocabulary": json.dumps(list(words))})


def made(folder, kind):
    path = folder / {"gzip": "v.txt.gz", "table": "v.safetensors"}.get(kind, "v.txt")
    if kind == "table":
        as_table(path)
    elif kind == "gzip":
        path.write_bytes(gzip.compress(LINES.encode()))
    else:
        path.write_text(("4 2\n" if kind == "word2vec" else "") + LINES)
    return path


@pytest.mark.parametrize("kind", ["glove", "word2vec", "gzip", "table"])
def test_every_form_gives_the_same_rows(tmp_path, kind):
    path = made(tmp_path, kind)
    assert vector_length(path) == 2
    drawn = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    found, known = file_vectors(path, WORDS, drawn)
    assert known.tolist() == [False, False, True, True, False]
    assert found[2:4].tolist() == [[1.0, 2.0], [3.0, 4.0]]  # "rose" as it is, before "ROSE"
    scale = np.std([1.0, 2.0, 3.0, 4.0]) / drawn[[0, 1, 4]].numpy().std()
    torch.testing.assert_close(found[[0, 1, 4]], drawn[[0, 1, 4]] * float(scale))


def test_other_spellings_and_pieces_are_found(tmp_path):
    path = tmp_path / "v.txt"
    path.write_text("SPADE 1 1\nSpade 2 2\nrose 3 3\n")
    found, known = file_vectors(path, ["a", "b", "\u2581rose", "spade"], torch.zeros(4, 2))
    assert known.tolist() == [False, False, True, True]
    assert found[2:].tolist() == [[3.0, 3.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "has no number"),
        ("2 2\n", "no vector"),
        ("rose 1 2\nspade 1\n", "line 2"),
        ("rose one two\n", "could not convert"),
        ("anchor 1 2\n", "a vector of none of the 5 tokens"),
        ("rose 1 2 3\n", "embedding_dim=3"),
        ("rose 1 inf\n", "not finite"),
    ],
)
def test_files_that_cannot_be_used_are_refused(tmp_path, content, said):
    path = tmp_path / "v.txt"
    path.write_text(content)
    with pytest.raises(DataError, match=said):
        file_vectors(path, WORDS, torch.zeros(5, 2))
    with pytest.raises(DataError, match="cannot be read"):
        vector_length(tmp_path / "absent.txt")
    as_table(tmp_path / "v.safetensors", words=["one"])
    with pytest.raises(DataError, match="1 words do not fit"):
        vector_length(tmp_path / "v.safetensors")


def test_a_run_begins_with_the_file_and_keeps_static_vectors(tmp_path, capsys):
    table = write_csv(tmp_path / "items.csv", rows(60))
    known = [*COMMON, *(word for words in SUBJECTS.values() for word in words)]
    values = np.random.default_rng(0).normal(size=(len(known), 5)).astype(np.float32)
    as_table(tmp_path / "v.safetensors", known, values)
    words = ["train", str(table), "--text", "text", "--label", "label", "--epochs", "1"]
    words += ["--option", "filters=4", "--option", "embedding=static"]
    words += ["--vectors", str(tmp_path / "v.safetensors"), "--out", str(tmp_path / "run")]
    assert main(words) == 0
    run = open_run(tmp_path / "run")
    assert run.model.config["embedding_dim"] == 5
    row = run.preprocessing.tokens.words().index("rose")
    kept = run.model.stem.static.weight[row]
    assert torch.equal(kept, torch.from_numpy(values[known.index("rose")]))
    assert main([*words[:-3], str(tmp_path / "absent.txt"), "--out", str(tmp_path / "x")]) == 2
    assert "cannot be read as vectors" in capsys.readouterr().err


def test_few_known_words_are_told(tmp_path):
    table = write_csv(tmp_path / "items.csv", rows(60))
    part = data.split(data.open_dataset(table, text_column="text")).train
    steps = data.fit_preprocessing(part)
    path = tmp_path / "v.txt"
    path.write_text("rose 1 2\n")
    options = {"embedding_dim": 2, "embedding": "static", **steps.network_options}
    model = convarium.create("text_cnn", **options)
    config = train.TrainConfig(vectors=str(path))
    with pytest.warns(UserWarning, match="vectors of [1-9]% of the training texts' tokens"):
        give_vectors(model, part, steps, config)
    row = steps.tokens.words().index("rose")
    assert model.stem.static.weight[row].tolist() == [1, 2]


def test_a_word_is_the_piece_that_begins_one(tmp_path):
    path = tmp_path / "v.txt"
    path.write_text("in 3 3\n")
    for words in (["a", "b", "\u2581in", "in"], ["a", "b", "in", "\u2581in"]):
        _, known = file_vectors(path, words, torch.ones(4, 2))
        assert np.flatnonzero(known).tolist() == [words.index("\u2581in")]
