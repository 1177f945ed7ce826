"""Gates of an audit: what was not measured does not pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from audited import CARD, compared, dataset, pictures, sees_white
from torch import nn

from convarium import explain
from convarium.explain.auditing.counting import Rate
from convarium.predict import Predictor

WORDS = ["a"] * 200 + ["b"] * 19 + ["a"] * 200 + ["b"] * 200
TARGETS = np.repeat([0, 0, 1, 1], [200, 19, 200, 200])


@pytest.fixture(scope="module")
def sound():
    """An audit of a network that rests on the objects, and no place is small enough to ask for."""
    images = pictures(marked=False)
    images[1::2, :, 3:13, 3:13] = 255
    return explain.audit(Predictor(sees_white(), CARD), dataset(images))


def of_sites(sound, right, least=20):
    """The audit with a column of sites: label x has 200 and 19 samples there, y 200 and 200."""
    return replace(sound, groups=compared(WORDS, TARGETS, right, least))


def no_shortcut(audit):
    (gate,) = audit.gates(no_shortcut=True)
    return gate


def test_no_small_place_in_maps_that_would_show_one_is_an_answer(sound):
    assert sound.clusters
    assert not sound.places
    assert sound.sanity.verdict == "passes"
    assert (no_shortcut(sound).value, no_shortcut(sound).passed) == (0, True)


@pytest.mark.parametrize("network", ["constant", "two samples"])
def test_no_shortcut_does_not_hold_where_none_could_be_found(network):
    model, images = sees_white(), pictures(2 if network == "two samples" else 96)
    if network == "constant":
        nn.init.zeros_(next(m for m in model.modules() if isinstance(m, nn.Linear)).weight)
    gate = no_shortcut(explain.audit(Predictor(model, CARD), dataset(images)))
    assert (gate.value, gate.passed) == (None, False)
    assert gate.sentence.startswith("Whether there is a shortcut is open: ")


def test_no_shortcut_asks_for_tests_and_for_heatmaps_that_are_worth_something(sound):
    blind = replace(sound, sanity=replace(sound.sanity, verdict="undecided"))
    assert "does not pass the sanity check" in no_shortcut(blind).sentence
    for unseen in (replace(sound, map_size=(4, 4)), replace(sound, clusters=())):
        assert (no_shortcut(unseen).value, no_shortcut(unseen).passed) == (None, False)
        assert "no place and no background could be tested" in no_shortcut(unseen).sentence


def test_a_small_cell_fails_the_gap_and_leaves_the_claim_open(sound):
    """19 samples of x in b are all wrong, one too few to be compared."""
    right = np.ones(619, np.bool_)
    right[200:219] = False
    audit = of_sites(sound, right)
    (column,) = audit.groups
    assert [(cell.label, cell.group) for cell in column.small] == [("x", "b"), ("x", "a")]
    assert (column.lowest.group, column.lowest.accuracy) == ("b", Rate(0, 19))
    assert column.worst.accuracy.value == 1
    told = column.to_mapping()
    assert (told["lowest"]["group"], told["not_compared"]) == ("b", 2)
    (gate,) = audit.gates(max_gap=0.05)
    assert (gate.value, gate.passed) == (0, False)
    assert "of x where site is b, 0.0% of 19 are right" in gate.sentence


def test_fewer_least_samples_compare_it(sound):
    right = np.ones(619, np.bool_)
    (gate,) = of_sites(sound, right, least=19).gates(max_gap=0.05)
    assert gate.passed
    right[200:219] = False
    (gate,) = of_sites(sound, right, least=19).gates(max_gap=0.05)
    assert (gate.value, gate.passed) == (1, False)


def test_a_label_of_one_group_has_nothing_to_be_compared_with(sound):
    words = ["a"] * 100 + ["b"] * 100 + ["c"] * 5
    (column,) = compared(words, np.repeat([0, 0, 1], [100, 100, 5]), np.ones(205, np.bool_), 20)
    assert column.small == ()
    (gate,) = replace(sound, groups=(column,)).gates(max_gap=0.05)
    assert gate.passed
