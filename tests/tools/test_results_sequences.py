"""Figures of results on texts and series: those that the scripts' own summaries hold."""

from __future__ import annotations

import importlib

import pytest
import results_known


@pytest.fixture
def script(root, monkeypatch):
    for folder in ("benchmarks", "experiments"):
        monkeypatch.syspath_prepend(str(root / folder))
    return importlib.import_module


def figures(name, result):
    found = results_known.KNOWN[name].figures(result)
    assert all(row.n for row in found)
    return found


def test_series_stand_beside_their_peers(script):
    series = script("series")
    runs = [{"accuracy": score, "seconds": took} for score, took in ((1.0, 39.0), (0.98, 41.0))]
    found = series.summary("GunPoint", runs, [{"accuracy": 0.975, "seconds": 1.0}])
    short = {"epochs": 10, "accuracy": 0.6, "seconds": 20.0}
    long = {"epochs": 20, "accuracy": 0.99, "seconds": 61.0}
    there, slow = (series.raced(found, [short, {**long, **more}]) for more in ({}, {"accuracy": 0}))
    assert (there["holds"], slow["holds"], slow["seconds_to_bound"]) == (True, True, None)
    early = series.raced(found, [{**short, "accuracy": 0.99}])
    assert series.decided(early, found)
    assert not early["holds"]
    assert series.decided(slow, found)
    assert not series.decided(series.raced(found, [short]), found)
    both = {name: {**found, "aeon_inception_time": r} for name, r in (("A", there), ("B", slow))}
    rows = figures("series", {"data_sets": both})
    assert rows[0] == (
        *("A: the default command", "99.00 %", "2"),
        *("98.00 % to 100.00 %", "at least 99.00 %"),
    )
    assert rows[1][:2] == ("A: MiniRocket of aeon", "97.50 %")
    assert rows[2][1:] == (
        "40 s",
        "2",
        "39 to 41",
        "at most 61 s, aeon's InceptionTime to that bound",
    )
    assert rows[5][4] == "aeon's InceptionTime: not at that bound in 61 s"


def test_ways_of_training_are_told_by_their_answers(script):
    summary = script("series_recipes").summary
    rule = {"way": "rule", "draw": 0, "seconds": 2.0, "right": "10"}
    five = {**rule, "way": "five", "right": "11"}
    rows = figures("series_recipes", {"summary": summary([rule, five])})
    assert [row[:3] for row in rows] == [
        ("rule, 2 s each", "50.00 %", "1"),
        ("five, 2 s each", "100.00 %", "1"),
        ("five less the rule", "50.00 %", "1"),
    ]


def test_what_is_asked_of_memories_stands_beside_the_tcn(script):
    run = {"seed": 0, "seconds": 600.0}
    runs = [
        {**run, "task": "copying_1000", "network": "tcn_far", "score": 1e-4, "chance": 0.0204},
        {**run, "task": "copying_1000", "network": "gru", "score": 0.02, "chance": 0.0204},
        {**run, "task": "adding_600", "network": "tcn_far", "score": 2e-4, "chance": 1 / 6},
    ]
    summary = script("sequence_memory").summary(runs)
    rows = figures("sequence_memory", {"summary": summary, "runs": runs})
    assert {row.what: (row.figure, row.asked) for row in rows} == {
        "adding 600, tcn far (chance 0.167)": ("0.0002", "under 0.001"),
        "adding 600, tcn far (chance 0.167): minutes of a core": ("10", "at most 30"),
        "copying 1000, tcn far (chance 0.0204)": ("0.0001", "under 0.000204"),
        "copying 1000, tcn far (chance 0.0204): minutes of a core": ("10", "at most 30"),
        "copying 1000, gru (chance 0.0204)": ("0.02", ""),
    }


def test_a_catalogue_is_told_by_case_and_method(script):
    runs = [{"case": "0.1", "method": "tfidf", "accuracy": 0.9375}]
    rows = figures("catalogue_words", {"summary": script("catalogue_words").summary(runs)})
    assert rows == [("0.1: tfidf", "93.75 %", "1", "", "")]


def test_all_parts_of_texts_that_are_there_are_shown(script):
    texts = script("texts")
    names = ("bag of words", texts.TFIDF)
    baselines = {name: {"accuracy": 0.9, "gap": 0.05} for name in names}
    runs = [{"accuracy": 0.95, "baselines": baselines}]
    found = {"descriptions": texts.summary("descriptions", runs)}
    assert [row[:2] for row in figures("texts", found)] == [
        ("package descriptions: text_cnn", "95.00 %"),
        ("package descriptions: bag of words", "90.00 %"),
        ("package descriptions: TF-IDF and logistic regression", "90.00 %"),
        ("package descriptions: text_cnn less bag of words", "5.00 %"),
        ("package descriptions: text_cnn less TF-IDF and logistic regression", "5.00 %"),
    ]
    size = {"n": 5, "median": 25_000.0, "lowest": 24_000.0, "highest": 26_000.0}
    speed = {"tokens": 64, "threads": 2, "goal": 20_000}
    found = {"speed": speed | {name: {"embed": size} for name in ("default", "paper")}}
    found["memory"] = {"rows": [{"items": 1_000_000, "peak_mib": 900, "table_mib": 300}]}
    assert [(row.figure, row.asked) for row in figures("texts", found)] == [
        ("25,000", "at least 20,000"),
        ("25,000", ""),
        ("900 MiB", "a table of 300 MiB"),
    ]


def test_an_encoder_is_told_by_accuracy_and_time(script):
    over = script("harness").over_seeds
    accuracy = {"text_cnn": over([0.97]), "encoder": over([0.95]), "gap": over([0.02])}
    ms = {"encoder": {"n": 20}}
    rows = [{"tokens": 32, "batch": 1, "ms": ms, "times_faster": {"text_cnn": 2.0, "looked_up": 9}}]
    found = figures("transformer", {"accuracy": accuracy, "latency": {"rows": rows}})
    assert [row[:3] for row in found[2:]] == [
        ("BBC news: TextCNN less encoder", "2.00 %", "1"),
        ("32 tokens, batch 1: encoder / TextCNN", "2", "20"),
        ("32 tokens, batch 1: encoder / TextCNN looked up", "9", "20"),
    ]
