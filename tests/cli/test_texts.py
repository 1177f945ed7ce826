"""The walk over texts from the command: train, evaluate, predict, embed, explain, data."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from written import rows, write_csv

from convarium import data, open_run
from convarium.cli import main
from convarium.cli.resuming import fitted_with
from convarium.report.texts import _cut

tokenizers = pytest.importorskip("tokenizers")
SMALL = ["--option", "filters=8", "--option", "embedding_dim=16", "--precision", "fp32"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    made = rows(150)
    made[7]["text"] = ""
    write_csv(folder / "items.csv", made)
    new = [{"id": row["id"], "text": row["text"]} for row in rows(6, seed=9)]
    write_csv(folder / "new.csv", new)
    return folder


@pytest.fixture(scope="module")
def run(folder):
    words = ["train", str(folder / "items.csv"), "--text", "text", "--label", "label", *SMALL]
    words += ["--group", "group", "--epochs", "3", "--baselines", "--max-length", "8"]
    assert main([*words, "--out", str(folder / "run")]) == 0
    return folder / "run"


def test_the_run_says_what_it_learnt_from_and_who_won(run):
    card = json.loads((run / "card.json").read_text())
    assert card["classes"] == ["garden", "harbour", "kitchen"]
    assert [step["op"] for step in card["preprocessing"]["steps"]] == [
        "read_text",
        "tokenize",
        "pad",
    ]
    assert card["data"]["skipped"] == 1
    assert card["data"]["texts"]["cut"] > 0
    names = [each["name"] for each in card["result"]["baselines"]]
    assert names == ["bag of words", "TF-IDF and logistic regression"]
    page = (run / "report.html").read_text()
    assert "Beside simple classifiers" in page
    assert page.count('class="tokens"') >= 4
    assert "picture" not in page.split("<main")[1].replace('class="picture', "")


def test_predictions_have_the_ids_of_the_table(run, folder, capsys):
    assert main(["predict", str(run), str(folder / "new.csv"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in told["predictions"]] == [f"t{k}" for k in range(6)]
    assert main(["predict", str(run), str(folder / "items.csv"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["n"] == 149
    assert told["skipped"] == [{"name": "t7", "reason": "the row has no text"}]


def test_evaluate_finds_the_columns_of_the_run(run, folder, capsys):
    words = ["evaluate", str(run), str(folder / "items.csv"), "--json"]
    assert main([*words, "--part", "test"]) == 0
    told = json.loads(capsys.readouterr().out)
    card = json.loads((run / "card.json").read_text())
    assert told["accuracy"] == card["result"]["test"]["accuracy"]
    unknown = rows(9)
    unknown[0]["label"] = "cellar"
    path = write_csv(folder / "unknown.csv", unknown)
    assert main(["evaluate", str(run), str(path)]) == 2
    assert "'cellar'" in capsys.readouterr().err


def test_vectors_are_those_of_the_network(run, folder, capsys):
    out = folder / "vectors.parquet"
    assert main(["embed", str(run), str(folder / "new.csv"), "-o", str(out)]) == 0
    assert "6 vectors of 40 float32" in capsys.readouterr().out
    table = pq.read_table(out)
    opened = open_run(run)
    from convarium import data

    inputs = data.open_inputs([folder / "new.csv"], kind="texts")
    _, vectors = opened.predictor.embed(inputs)
    assert np.array_equal(np.stack(table["vector"].to_numpy()), vectors)


def test_heat_lies_over_tokens(run, folder, capsys):
    words = ["explain", str(run), str(folder / "new.csv"), "-o", str(folder / "heat"), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["explanations"]) == 6
    for row in told["explanations"]:
        assert len(row["tokens"]) == len(row["heat"]) <= 8
        assert max(row["heat"]) <= 1
        assert (folder / "heat" / row["files"]["overlay"]).read_bytes()[1:4] == b"PNG"
    assert (folder / "heat" / "heatmaps.png").read_bytes()[1:4] == b"PNG"
    page = (folder / "heat" / "heatmaps.html").read_text()
    assert page.count('class="tokens"') == 6
    assert f"HiResCAM at {told['explanations'][0]['layer']}" in page


def test_views_are_drawn_over_tokens(run, folder, capsys):
    out, opened = folder / "views", open_run(run)
    texts = data.open_inputs([folder / "new.csv"], kind="texts", columns={"text_column": ["text"]})
    words = ["explain", str(run), "-o", str(out)]
    one = write_csv(folder / "one.csv", [{"id": "one", "text": texts.read(0)}])
    table = ["--text", "text", str(folder / "new.csv")]
    assert main([*words, *table, "--exciting", "stage1.0.convs.0:3", "--most", "4"]) == 0
    told = json.loads((out / "exciting.json").read_text())
    strongest = told["inputs"][0]
    number = [texts.name(i) for i in range(len(texts))].index(strongest["name"])
    ids = opened.preprocessing.apply(texts.read(number))
    ((start, stop),) = strongest["patch"]
    others = ids.clone()
    others[:start], others[stop:] = 1, 1  # unknown words
    maps: list[torch.Tensor] = []
    layer = opened.model.get_submodule("stage1.0.convs.0")
    with layer.register_forward_hook(lambda *seen: maps.append(seen[2])):
        opened.model(torch.stack([ids, others]))
    highest = maps[0][:, 3].amax(1).tolist()
    assert strongest["value"] == pytest.approx(highest[0], rel=1e-4)
    (place,) = strongest["place"]
    assert maps[0][1, 3, place].item() == pytest.approx(highest[0], rel=1e-4)  # nothing else counts
    assert (out / "exciting.html").read_text().count('class="tokens"') == 4
    assert main([*words, str(one), "--maps", "stage1", "--most", "5", "--shared-scale"]) == 0
    assert (out / "maps.html").read_text().count('class="tokens"') == 6
    for name in ("maps", "exciting"):
        assert (out / f"{name}.png").read_bytes()[1:4] == b"PNG"
    capsys.readouterr()


def test_words_that_are_left_out_measure_the_heat(run, folder, capsys):
    words = ["explain", str(run), str(folder / "new.csv"), "-o", str(folder / "measured")]
    assert main([*words, "--faithfulness", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["faithfulness"]) == {"deletion", "insertion"}
    for name, figures in told["faithfulness"].items():
        each = [row["faithfulness"][name]["score"] for row in told["explanations"]]
        known = [score for score in each if score is not None]
        assert figures["score"]["value"] == pytest.approx(np.mean(known), abs=1e-6)
        assert figures["edges"] is None
    assert "texts have none" in (folder / "measured" / "heatmaps.html").read_text()


def test_of_a_long_text_the_part_with_the_strongest_token_is_drawn():
    heat = np.zeros(300, np.float32)
    heat[250] = 1
    drawn = _cut([f"w{k}" for k in range(300)], heat, "kitchen", "x")
    assert (drawn.tokens[0], drawn.tokens[-1]) == ("w180", "w299")
    assert drawn.heat.argmax() == 70
    assert drawn.note == "x; tokens 181 to 300 of 300"
    whole = _cut(["a"] * 120, heat[:120], "kitchen", "x")
    assert (len(whole.tokens), whole.note) == (120, "x")


def test_what_a_run_of_texts_has_no_use_for_is_one_sentence(run, folder, capsys):
    assert main(["predict", str(run), str(folder / "new.csv"), "--tta", "flip"]) == 2
    assert "tta (='flip') is for images and volumes" in capsys.readouterr().err
    assert main(["audit", str(run), str(folder / "items.csv")]) == 2
    assert "places of pictures are cut and pasted" in capsys.readouterr().err
    assert fitted_with(open_run(run).preprocessing)["tokens"].longest == 8


def test_the_file_of_a_run_has_its_tokenizer_beside_it(run, folder, capsys):
    assert main(["export", str(run), "--to", "onnx", "-o", str(folder / "m.onnx"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["form"] == "tokens"
    assert told["largest_difference"] < 1e-4
    text = (folder / "m.tokenizer.json").read_text(encoding="utf-8")
    assert text == open_run(run).preprocessing.tokenizer
    ids = tokenizers.Tokenizer.from_str(text).encode("rose tulip").ids
    assert ids == open_run(run).preprocessing.apply("rose tulip").tolist()


def test_data_tells_lengths(folder, capsys):
    assert main(["data", str(folder / "items.csv"), "--text", "text", "--label", "label"]) == 0
    out = capsys.readouterr().out
    assert "149 texts of 3 classes" in out
    assert "characters" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--text", "body"], "no column 'body'"),
        (["--text", "text", "--label", "topic"], "no column 'topic'"),
        (["--text", "text", "--model", "resnet8"], "resnet8 reads maps, and texts become tokens"),
        (["--text", "text", "--labels", "label", "--label", "label"], "leave it or --label-column"),
        (["--text", "text", "--pad-crop", "2"], "pad_crop (=2) is for images"),
        (["--text", "text", "--separator", ";"], "separator"),
        (["--text", "text", "--recipe", "strong"], "recipe"),
        (["--text", "text", "--size", "32"], "size (=32) belongs to images and volumes"),
    ],
)
def test_what_cannot_be_is_one_sentence(folder, tmp_path, capsys, words, said):
    assert main(["train", str(folder / "items.csv"), "--out", str(tmp_path / "x"), *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line
    assert not (tmp_path / "x").exists()


def test_baselines_of_other_data_are_refused_before_a_fold_is_trained(tmp_path, capsys):
    words = ["train", "digits", "--folds", "2", "--baselines", "--epochs", "1"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr()
    assert "--baselines is for texts of one class each" in told.err
    assert not (tmp_path / "run" / "fold-1").exists()


def test_vectors_that_are_counted_in_some_texts_are_announced(folder, monkeypatch, capsys):
    from convarium.train import word_vectors

    monkeypatch.setattr(word_vectors, "MOST_COUNTED", 200)
    words = ["train", str(folder / "items.csv"), "--text", "text", "--label", "label", *SMALL]
    words += ["--option", "embedding=fine_tuned", "--vectors", "counted", "--epochs", "1"]
    assert main([*words, "--out", str(folder / "some")]) == 0
    assert "of the training texts, which the seed draws" in capsys.readouterr().out


def test_several_labels_a_text(folder, tmp_path, capsys):
    made = rows(90)
    for number, row in enumerate(made):
        row["tags"] = row.pop("label") + ("#late" if number % 2 else "")
        row["text"] += " late late" if number % 2 else ""
    path = write_csv(tmp_path / "tags.csv", made)
    words = ["train", str(path), "--text", "text", "--labels", "tags", "--separator", "#", *SMALL]
    words += ["--epochs", "2", "--max-length", "20", "--no-lower", "--out", str(tmp_path / "run")]
    assert main(words) == 0
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["task"] == "multilabel"
    assert card["classes"] == ["garden", "harbour", "kitchen", "late"]
    assert main([*words, "--resume"]) == 0
    assert "test:" in capsys.readouterr().out
    assert main([*words, "--resume", "--max-length", "9"]) == 2
    assert "another --max-length: it was 20 and is 9; leave it out" in capsys.readouterr().err
    assert main([*words, "--resume", "--missing", "mark"]) == 2
    assert "another --missing: it was None and is mark" in capsys.readouterr().err
