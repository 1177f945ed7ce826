"""Damaged files of fields and volumes, sent as the server's document says: a reason, no harm."""

from __future__ import annotations

import gzip
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_fields import fields

from convarium.serve import Limits

nibabel = pytest.importorskip("nibabel")
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, list[bytes]]:
    """Whole files, by what they are sent to."""
    folder = tmp_path_factory.mktemp("files")
    voxels = np.random.default_rng(0).normal(40, 20, (12, 10, 9)).astype(np.float32)
    plain, packed = io.BytesIO(), io.BytesIO()
    np.save(plain, voxels)
    np.savez_compressed(packed, volume=voxels, spacing=np.array([2.0, 1.0, 1.5]))
    image = nibabel.Nifti1Image(voxels, np.diag([1.0, 2.0, 1.0, 1.0])).to_bytes()
    grids = [fields(folder / f"{name}.nc", 2, engine=name) for name in ("h5netcdf", "scipy")]
    return {
        "winds": [each.read_bytes() for each in grids],
        "scans": [plain.getvalue(), packed.getvalue(), image, gzip.compress(image)],
    }


@st.composite
def damaged(draw, whole: bytes) -> bytes:
    """A file with a few bytes changed, some of them left out, or as it is."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(0, 6))):
        place = draw(st.integers(0, min(len(content), 2000) - 1) | st.integers(0, len(content) - 1))
        content[place : place + 1] = draw(st.binary(min_size=1, max_size=4))
    start = draw(st.just(0) | st.integers(0, len(content)))
    end = draw(st.just(len(content)) | st.integers(start, len(content)))
    return bytes(content[start:end])


@pytest.fixture(scope="module")
def client(winds, scans):
    from starlette.testclient import TestClient

    from convarium import serve

    limits = Limits(deadline_ms=20_000, max_pixels=100_000, max_cells=100_000)
    service = serve.Service(
        {"winds": winds, "scans": scans}, limits, journal=serve.Journal(io.StringIO())
    )
    with TestClient(serve.build_app(service), raise_server_exceptions=False) as found:
        found.service = service
        yield found


@pytest.fixture(scope="module")
def document(client) -> dict[str, Any]:
    return client.get("/openapi.json").json()


@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_damaged_files_are_answered_as_the_document_says(client, document, files, draw_from):
    draw = draw_from.draw
    run = draw(st.sampled_from(["winds", "scans"]))
    verb = "downscale" if run == "winds" else draw(st.sampled_from(["predict", "embed", "explain"]))
    about = document["paths"][f"/runs/{{run}}/{verb}"]["post"]
    content = draw(damaged(draw(st.sampled_from(files[run]))))
    media = draw(st.sampled_from([*about["requestBody"]["content"]]))
    if draw(st.booleans()):
        sent = {"files": {"file": ("a", content, media)}}
    else:
        sent = {"content": content, "headers": {"Content-Type": media}}
    answer = client.post(f"/runs/{run}/{verb}", **sent)
    assert str(answer.status_code) in about["responses"]
    assert answer.status_code < 500 or "Retry-After" in answer.headers, answer.text
    if answer.status_code != 200:
        assert {"error", "reason"} <= set(answer.json())
        assert answer.json()["reason"]
    assert client.service.gate.count == client.service.intake.room.taken == 0
    assert client.get("/readyz").status_code == 200
