"""The views of networks, of learning and of data over HTTP: whatever is asked, a sentence comes."""

from __future__ import annotations

import importlib
import inspect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convarium.studio.routes import ROUTES

OWN = [row for row in ROUTES if row.path.split("/")[2] in ("networks", "learn", "data")]
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 2**40), st.floats(), st.text(max_size=8),
    st.sampled_from(["resnet18", "../../etc/passwd", "%2e%2e/x", "shapes", "9" * 30, "1x1x1"]),
    st.lists(st.one_of(st.integers(-2, 2), st.text(max_size=2), st.none()), max_size=3),
)  # fmt: skip


@pytest.fixture(scope="module")
def client(shapes):
    from starlette.testclient import TestClient

    from convarium import studio

    desk = studio.Desk([], str(shapes))
    app = studio.build_studio(desk)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as opened:
        yield opened


@pytest.mark.parametrize("route", OWN, ids=lambda row: row.path)
def test_what_is_asked_badly_is_refused_in_a_sentence(client, route):
    file, _, name = route.function.partition(":")
    function = getattr(importlib.import_module(f"convarium.studio.{file}"), name)
    names = [*{*inspect.signature(function).parameters} - {"desk"}, "path"]

    @settings(max_examples=8)
    @given(st.dictionaries(st.sampled_from(sorted(names)), VALUES, max_size=4))
    def ask(values):
        if route.path.endswith("/choose"):
            values = values | {"pattern": "nothing-has-this-name"}  # so that nothing is measured
        sent = {"json": values} if route.method == "POST" else {"params": values}
        try:
            answer = client.request(route.method, route.path, **sent)
        except ValueError:  # what JSON cannot hold is not sent
            return
        assert answer.status_code in (200, 422), answer.text
        if answer.status_code == 422 and "image" not in answer.headers["content-type"]:
            reason = answer.json()["reason"]
            assert reason
            assert "\n" not in reason
            assert "Traceback" not in reason

    ask()


def test_a_picture_is_asked_for_by_its_number_alone(client):
    assert (
        client.get("/api/data/picture?id=0&path=/etc/passwd")
        .json()["reason"]
        .startswith("There is no option 'path'.")
    )
    for id in ("../0", "%2e%2e%2f0", "0/../1", "1e3", ""):
        assert client.get(f"/api/data/picture?id={id}").status_code == 422
    while client.get("/api/data/overview").json()["state"] != "done":
        pass
    found = client.get("/api/data/picture?id=0")
    assert found.headers["content-type"] == "image/png"
    assert found.headers["x-content-type-options"] == "nosniff"


def test_the_same_numbers_come_over_http(client):
    asked = {"kernel": [1, 2], "picture": [0, 1, 0], "stride": 1}
    assert client.post("/api/learn/slid", json=asked).json()["map"] == [2.0, 1.0]
    told = client.get("/api/learn/tree?num_layers=3&kernel_size=3").json()
    assert told["field"] == 29
    row = client.get("/api/networks/every").json()["networks"][0]
    whole = client.post("/api/networks/network", json={"name": row["name"]}).json()
    assert whole["facts"]["parameters"] == row["parameters"]
