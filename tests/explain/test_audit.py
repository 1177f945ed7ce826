"""Audits of networks that are known: what they rest on is found, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from audited import CARD, dataset, objects, pictures, sees_white

from convarium import data, explain
from convarium.errors import DataError, OptionError, ShapeError
from convarium.explain.auditing import claiming
from convarium.explain.auditing.counting import Difference
from convarium.predict import Predictor


def claims(audit, kind):
    return {claim.text: claim for claim in audit.claims if claim.kind == kind}


@pytest.fixture(scope="module")
def alone():
    return explain.audit(Predictor(sees_white(), CARD), dataset(pictures()))


@pytest.fixture(scope="module")
def marked():
    images = pictures()
    groups = {"square": ["yes" if i % 2 else "no" for i in range(len(images))]}
    predictor = Predictor(sees_white(), CARD)
    return explain.audit(predictor, dataset(images), regions=objects(), groups=groups)


def test_the_square_is_found_without_masks_and_does_all(alone):
    (place,) = alone.places
    assert place.cluster.label == "square"
    assert (place.cluster.box.start, place.cluster.box.size) == ((1, 1), (3, 3))
    assert place.cluster.heat == pytest.approx(1)
    assert place.pasted.first.value == 1
    assert place.pasted.second.value == place.foreign.second.value == 0
    assert (place.removed.first.value, place.removed.second.value) == (1, 0)
    assert place.lift.value == pytest.approx(16 * 16 / 9)
    (claim,) = alone.claims
    assert claim.verdict == "supported"
    assert "rows 1 to 3, columns 1 to 3" in claim.text
    assert claim.p == pytest.approx(0.5 ** min(place.n, place.pasted.first.n))
    assert alone.accuracy.value == 1
    assert alone.statuses["fine"] == 48
    assert "1 of 2 predictions have fewer than 5 maps with heat" in alone.note


@pytest.mark.parametrize(
    ("beside", "over", "on_object", "verdict"),
    [
        (90, 90, None, "supported"),
        (1, 90, None, "undecided"),
        (1, 1, None, "not supported"),
        (90, None, 0.0, "supported"),
        (1, None, 0.0, "not supported"),
        (90, None, 0.5, "not supported"),
    ],
)
def test_what_decides_over_objects_only_may_be_a_part_of_them(
    alone, beside, over, on_object, verdict
):
    """Of 200 samples with the place, so many take its prediction; none of the controls does."""

    def effect(n):
        return Difference.of_pairs(np.arange(200) < n, np.zeros(200, np.bool_))

    place = replace(
        alone.places[0],
        pasted=effect(beside),
        foreign=effect(beside),
        whole=None if over is None else effect(over),
        on_object=on_object,
    )
    (claim,) = claiming.claims([place], None, [], alone.sanity, alone.least)
    assert claim.verdict == verdict
    assert ("regions would tell" in claim.reason) == (verdict == "undecided")


def test_the_clean_twin_has_no_shortcut():
    """The object itself is white where the label is square, and nothing else differs."""
    network = sees_white()
    clean = pictures(marked=False)
    clean[1::2, :, 6:12, 6:12] = 255  # the object itself tells the label
    found = explain.audit(Predictor(network, CARD), dataset(clean), regions=objects())
    assert found.statuses["fine"] == 48
    told = claims(found, "background")["What is outside of the regions decides."]
    assert (told.verdict, told.p) == ("not supported", 1)
    assert claims(found, "object")["What is inside of the regions decides."].verdict == "supported"
    assert not [claim for claim in found.claims if claim.shortcut]
    assert found.accuracy.value == 1
    (gate,) = found.gates(no_shortcut=True)
    assert (gate.value, gate.passed) == (0, True)


def test_backgrounds_carry_the_square_with_them(marked):
    regions = marked.regions
    assert regions.n == len(pictures())
    assert (regions.background.first.value, regions.background.second.value) == (1, 0)
    assert regions.gap.value == 1
    assert regions.object.first.value == 0
    assert [donor.taken.first.value for donor in regions.donors] == [1, 1]
    assert regions.inside.value == pytest.approx(0, abs=1e-6)
    area = 36 / 256
    assert regions.outside.value == pytest.approx(1 / (1 - area))
    told = claims(marked, "background")
    assert told["What is outside of the regions decides."].verdict == "supported"
    assert told["What is outside of the regions decides for square."].verdict == "supported"
    assert claims(marked, "object")["What is inside of the regions decides."].verdict == (
        "not supported"
    )
    assert marked.places[0].on_object == 0


def test_a_place_on_the_object_is_no_shortcut():
    images = pictures()
    corner = np.zeros((len(images), 16, 16), np.uint8)
    corner[:, 0:6, 0:6] = 1
    found = explain.audit(Predictor(sees_white(), CARD), dataset(images), regions=corner)
    (claim,) = claims(found, "place").values()
    assert (claim.verdict, found.places[0].on_object) == ("not supported", 1)
    assert "on the marked objects" in claim.reason
    assert claims(found, "object")["What is inside of the regions decides."].verdict == "supported"
    assert not [claim for claim in found.claims if claim.shortcut]


@pytest.mark.parametrize("verdict", ["fails", "undecided"])
def test_maps_that_do_not_pass_the_sanity_check_support_nothing(marked, verdict):
    sanity = replace(marked.sanity, verdict=verdict)
    found = claiming.claims(marked.places, marked.regions, marked.groups, sanity, marked.least)
    assert not [claim for claim in found if claim.verdict == "supported"]
    assert {claim.verdict for claim in found if claim.kind == "place"} == {"undecided"}
    assert "the sanity check on this network, so its maps prove nothing here" in found[0].reason


def test_regions_of_more_than_half_leave_nothing_to_compare_their_removal_with():
    masks = np.ones((96, 16, 16), np.uint8)
    masks[:, 0:5] = 0
    found = explain.audit(Predictor(sees_white(), CARD), dataset(pictures()), regions=masks)
    (claim,) = claims(found, "object").values()
    assert claim.verdict == "undecided"
    assert claim.reason == "No region leaves an equal area elsewhere to be removed."
    assert "nan" not in json.dumps([claim.reason for claim in found.claims])


def test_an_audit_is_the_same_twice_and_json(marked):
    predictor = Predictor(sees_white(), CARD)
    groups = {"square": ["yes" if i % 2 else "no" for i in range(96)]}
    again = explain.audit(predictor, dataset(pictures()), regions=objects(), groups=groups)
    text = json.dumps(marked.to_mapping(), allow_nan=False)
    assert json.dumps(again.to_mapping(), allow_nan=False) == text


def test_a_part_takes_masks_and_groups_of_its_own_order():
    images = pictures(80)
    ids = np.arange(80)[::-1].copy()
    part = data.Part(dataset(images), ids)
    masks = objects(80)
    masks[0] = 0  # of the sample 79
    groups = {"half": ["low" if i < 40 else "high" for i in ids]}
    predictor = Predictor(sees_white(), CARD)
    found = explain.audit(predictor, part, regions=masks, groups=groups)
    assert found.regions.empty == 1
    assert {name: rate.n for name, rate in found.groups[0].groups} == {"high": 40, "low": 40}


def test_gates(marked, alone):
    held = marked.gates(max_gap=0.5, max_flip=0.5, no_shortcut=True)
    assert [(gate.name, gate.passed) for gate in held] == [
        ("max_gap", False),
        ("max_flip", False),
        ("no_shortcut", False),
    ]
    assert all(gate.passed for gate in marked.gates(max_gap=1, max_flip=1))
    (few,) = replace(marked, regions=None).gates(max_gap=1)
    assert (few.value, few.passed) == (None, False)
    assert "No group has 20 samples" in few.sentence
    with pytest.raises(OptionError, match="needs group columns or regions"):
        alone.gates(max_gap=0.1)
    with pytest.raises(OptionError, match="needs regions"):
        alone.gates(max_flip=0.1)
    with pytest.raises(OptionError, match="max_gap"):
        marked.gates(max_gap=1.5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"method": "grad_camm"}, "'grad_cam'"),
        ({"removal": "hole"}, "surrounding"),
        ({"least": 0}, "least"),
        ({"most": 1}, "most"),
        ({"groups": {"site": ["a"] * 3}}, "3 values for 10 samples"),
        ({"groups": {"site": ["a"] * 10}}, "1 different values"),
    ],
)
def test_wrong_options_are_refused(words, message):
    predictor = Predictor(sees_white(), CARD)
    with pytest.raises(OptionError, match=message):
        explain.audit(predictor, dataset(pictures(10)), **words)


def test_data_that_cannot_be_audited_is_refused():
    predictor = Predictor(sees_white(), CARD)
    whole = dataset(pictures(10))
    with pytest.raises(DataError, match="have the label 'plain'"):
        explain.audit(predictor, data.Part(whole, np.arange(0, 10, 2)))
    with pytest.raises(DataError, match="nothing to audit"):
        explain.audit(predictor, data.Part(whole, np.arange(0)))
    bare = data.Dataset(whole.samples, source="made")
    with pytest.raises(DataError, match="no labels"):
        explain.audit(predictor, bare)
    with pytest.raises(OptionError, match="run"):
        explain.audit(sees_white(), whole)
    labels = {**CARD, "task": "multilabel"}
    with pytest.raises(OptionError, match="run of classification"):
        explain.audit(Predictor(sees_white(), labels), whole)


def test_masks_that_do_not_fit_are_refused(tmp_path):
    predictor, whole = Predictor(sees_white(), CARD), dataset(pictures(10))
    with pytest.raises(ShapeError, match="mask for each sample"):
        explain.audit(predictor, whole, regions=objects(4))
    with pytest.raises(DataError, match="7 x 9"):
        explain.audit(predictor, whole, regions=np.ones((10, 7, 9)))
    with pytest.raises(DataError, match="no folder"):
        explain.audit(predictor, whole, regions=tmp_path / "masks")
    with pytest.raises(DataError, match="For none of the 10"):
        explain.audit(predictor, whole, regions=tmp_path)
    with pytest.raises(DataError, match="marks a part"):
        explain.audit(predictor, whole, regions=np.zeros((10, 16, 16)))
