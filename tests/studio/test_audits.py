"""Audits: each claim has the figures that it rests on."""

from __future__ import annotations

import json

import pytest
from audited import CARD, dataset, objects, pictures, sees_white

from convarium import explain, report
from convarium.errors import RunError
from convarium.predict import Predictor
from convarium.studio import Desk, audits


@pytest.fixture(scope="module")
def audit():
    images = pictures(60)
    groups = {"site": ["north" if i % 4 < 2 else "south" for i in range(60)]}
    predictor = Predictor(sees_white(), CARD)
    return explain.audit(predictor, dataset(images), regions=objects(60), groups=groups)


@pytest.fixture(scope="module")
def folder(audit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("audits") / "made"
    report.write_audit(folder, audit, "made", audit.gates(no_shortcut=True))
    return folder


def test_each_claim_stands_on_its_own_figures(audit, folder):
    found = audits.audit(Desk([folder]), "made")
    evidence = {claim["claim"]: claim["evidence"] for claim in found["claims"]}
    assert set(evidence) == {claim.text for claim in audit.claims}
    places = [claim.text for claim in audit.claims if claim.kind == "place"]
    assert places
    for text, place in zip(places, audit.places, strict=True):
        assert evidence[text][0]["value"] == place.pasted.first.value
        assert evidence[text][-1]["n"] == place.removed.second.n
        assert "lost without" in evidence[text][-1]["name"]
    (group,) = (claim.text for claim in audit.claims if claim.kind == "group")
    cells = {f"{c.label}, site {c.group}": c.accuracy for c in audit.groups[0].cells}
    for row in evidence[group][::2]:
        assert (row["value"], row["n"]) == (cells[row["name"]].value, cells[row["name"]].n)
    flips = audit.regions.background
    rows = evidence["What is outside of the regions decides."]
    assert [row["value"] for row in rows] == [flips.first.value, flips.second.value]
    rows = evidence["What is inside of the regions decides."]
    assert [row["n"] for row in rows] == [audit.regions.object.first.n] * 2
    donors = [claim.text for claim in audit.claims if claim.kind == "background"][1:]
    for text, donor in zip(donors, audit.regions.donors, strict=True):
        assert donor.label in evidence[text][0]["name"]
        assert evidence[text][0]["value"] == donor.taken.first.value


def test_the_list_counts_verdicts_and_the_page_runs_no_script(audit, folder):
    desk = Desk([folder])
    (row,) = audits.listed(desk)["audits"]
    assert sum(row["verdicts"].values()) == len(audit.claims)
    assert row["failed"] == 1
    assert row["accuracy"] == audit.accuracy.value
    page = audits.page(desk, "made")
    assert page.content == (folder / "audit.html").read_bytes()
    assert "sandbox" in dict(page.headers)["content-security-policy"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"claims": 3, "source": "x"}'])
def test_what_is_no_audit_is_said(tmp_path, content):
    (tmp_path / "audit.json").write_text(content)
    (row,) = audits.listed(Desk([tmp_path]))["audits"]
    assert row["why"]
    with pytest.raises(RunError, match="no audit 'gone'"):
        audits.audit(Desk([tmp_path]), "gone")


def test_an_audit_in_a_run_s_folder_bears_its_name(folder, tmp_path):
    run = tmp_path / "photos"
    (run / "audit").mkdir(parents=True)
    (run / "config.toml").write_text("")
    (run / "audit" / "audit.json").write_bytes((folder / "audit.json").read_bytes())
    desk = Desk([run])
    assert [row["name"] for row in audits.listed(desk)["audits"]] == ["photos/audit"]
    assert audits.audit(desk, "photos/audit")["source"] == "made"
    told = json.loads((folder / "audit.json").read_text())
    assert [*desk.audits()] == ["photos/audit"]
    assert told["source"] == "made"
