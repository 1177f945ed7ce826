"""The page and the pictures of an audit."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from audited import CARD, dataset, objects, pictures, sees_white

from convarium import explain, report
from convarium.explain.auditing.boxes import Box
from convarium.explain.auditing.results import Example
from convarium.predict import Predictor
from convarium.report import audit_pictures


@pytest.fixture(scope="module")
def audit():
    images = pictures(60)
    groups = {"<site>": ["<b>north</b>" if i % 4 < 2 else "south" for i in range(60)]}
    predictor = Predictor(sees_white(), CARD)
    return explain.audit(predictor, dataset(images), regions=objects(60), groups=groups)


def test_the_page_shows_every_part_and_escapes_names(audit, tmp_path):
    gates = audit.gates(max_gap=0.5, no_shortcut=True)
    page, table = report.write_audit(tmp_path / "new", audit, "<run>", gates)
    text = page.read_text()
    for place in ("claims", "labels", "groups", "regions", "places", "clusters", "reading"):
        assert f'<section id="{place}">' in text
    assert "&lt;b&gt;north" in text
    assert "Grad-CAM at" in text
    assert "<b>north" not in text
    assert text.count("<figure") == text.count("<figcaption")
    assert not re.search(r"\bnan\b", text)
    assert json.loads(table.read_text())["gates"][1]["passed"] is False


def test_an_audit_with_nothing_to_claim_has_a_page(audit, tmp_path):
    bare = replace(
        audit, groups=(), regions=None, places=(), clusters=(), claims=(), note="Coarse."
    )
    page, _ = report.write_audit(tmp_path, bare, "run")
    text = page.read_text()
    assert "There is nothing to claim" in text
    assert "Single samples" not in text
    assert "Coarse." in text
    assert 'id="regions"' not in text


@pytest.mark.parametrize("shape", [(1, 9, 12), (3, 9, 12), (5, 9, 12), (1, 4, 6, 5)])
def test_samples_of_every_rank_are_drawn(shape):
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    drawn = audit_pictures.figure(Example(image, "a", heat=torch.rand(shape[1:])))
    assert drawn["image"].startswith("data:image/png")
    assert drawn["overlay"] != drawn["image"]
    assert drawn["width"] >= 20


def test_frames_lie_around_the_place():
    image = np.zeros((10, 10, 1), np.uint8)
    box = Box((2, 4), (3, 5), (10, 10))
    framed = audit_pictures.framed(image, box)
    rows, columns = np.nonzero(framed.any(2))
    scale = framed.shape[0] // 10
    assert (rows.min(), rows.max() + 1) == (2 * scale, 5 * scale)
    assert (columns.min(), columns.max() + 1) == (4 * scale, 9 * scale)
    assert not framed[3 * scale, 6 * scale].any()
