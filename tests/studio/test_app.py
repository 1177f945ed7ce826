"""The studio's server: who may ask, what is answered, and that no path leads out of the runs."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import math
import threading
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from convarium import studio
from convarium.errors import OptionError
from convarium.serve.limits import Limits
from convarium.studio.answers import plain
from convarium.studio.binding import bound
from convarium.studio.pages import page_files
from convarium.studio.routes import ROUTES, TABLE

MOST_BYTES = 250_000


def test_every_route_names_a_function_and_stands_once():
    assert len(TABLE) == len(ROUTES)
    for route in ROUTES:
        file, _, name = route.function.partition(":")
        function = getattr(importlib.import_module(f"convarium.studio.{file}"), name)
        assert inspect.getdoc(function), route
        assert route.path.startswith("/api/")


def test_the_page_is_small_and_names_no_other_address():
    files = page_files()
    assert sum(len(each.content) for each in files.values()) < MOST_BYTES
    for name, file in files.items():
        text = file.content.decode()
        text = text.replace("http://www.w3.org/2000/svg", "")  # a name, which nobody asks
        assert "://" not in text, name
        assert "eval(" not in text, name
        assert "innerHTML" not in text, name


def test_the_page_and_its_files_are_served_with_a_policy(asking, photos):
    client = asking(photos)
    for path, file in page_files().items():
        found = client.get(path)
        assert (found.status_code, found.content) == (200, file.content)
        assert found.headers["content-security-policy"].startswith("default-src 'self'")
        assert found.headers["x-content-type-options"] == "nosniff"
    assert client.get("/api/about").json()["runs"] == ["photos"]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Host": "evil.example"}, 421, "wrong_host"),
        ({"Host": "127.0.0.1.evil.example:80"}, 421, "wrong_host"),
        ({"Origin": "http://evil.example"}, 403, "wrong_origin"),
        ({"Origin": "null"}, 403, "wrong_origin"),
        ({"Origin": "http://127.0.0.1:1"}, 403, "wrong_origin"),
        ({"Origin": "https://127.0.0.1"}, 403, "wrong_origin"),
        ({"Origin": "http://127.0.0.1"}, 200, None),
        ({"Host": "localhost:8000", "Origin": "http://localhost:8000"}, 200, None),
    ],
)
def test_foreign_hosts_and_origins_are_refused(asking, photos, headers, status, code):
    client = asking(photos)
    found = client.get("/api/about", headers=headers)
    assert (found.status_code, found.json().get("error")) == (status, code)
    body = json.dumps({"run": "photos", "path": "x"})
    sent = {**headers, "Content-Type": "application/json"}
    posted = client.post("/api/runs/correct", headers=sent, content=body)
    assert posted.status_code == (422 if status == 200 else status)


@pytest.mark.parametrize(
    "path",
    [
        "/page/../app.py",
        "/page/%2e%2e/app.py",
        "/page/..%2f..%2fcli%2fstudio.py",
        "//etc/passwd",
        "/page//etc/passwd",
        "/page/index.html/../../desk.py",
        "/api",
        "/api/runs",
        "/api/runs/../runs/list/x",
        "/page/%00",
    ],
)
def test_other_paths_are_no_addresses(asking, photos, path):
    found = asking(photos).get(path)
    assert (found.status_code, found.json()["error"]) == (404, "no_such_path")


NAMES = ("..", "../photos", "/etc", "photos/..", "photos/../photos", "%2e%2e", "photos\0", "")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "path", ["/api/runs/history", "/api/runs/report", "/api/runs/settings", "/api/audit/page"]
)
def test_no_name_of_a_run_leads_elsewhere(asking, photos, name, path):
    key = "name" if "audit" in path else "run"
    found = asking(photos).get(path, params={key: name})
    assert (found.status_code, found.json()["error"]) == (422, "not_done")
    assert "Traceback" not in found.text


def test_links_that_lead_out_of_a_run_are_not_followed(asking, photos, tmp_path):
    secret = tmp_path / "secret"
    (secret / "inner").mkdir(parents=True)
    (secret / "audit.json").write_text("{}")
    (secret / "page.html").write_text("hidden words")
    runs = tmp_path / "runs"
    run = runs / "one"
    run.mkdir(parents=True)
    (run / "card.json").write_bytes((photos / "card.json").read_bytes())
    (run / "report.html").symlink_to(secret / "page.html")
    (run / "audit").symlink_to(secret)
    (runs / "two").symlink_to(photos)
    client = asking(runs)
    assert client.get("/api/about").json()["runs"] == ["one"]
    assert client.get("/api/audit/list").json() == {"audits": []}
    found = client.get("/api/runs/report", params={"run": "one"})
    assert found.status_code == 422
    assert "hidden" not in found.text


def test_what_is_asked_wrongly_is_a_sentence(asking, photos):
    client = asking(photos)
    cases = {
        "/api/runs/history": "'run' is missing",
        "/api/runs/history?run=photo": "Did you mean 'photos'?",
        "/api/runs/history?run=photos&aftr=1": "Did you mean 'after'?",
        "/api/runs/history?run=photos&after=x": "a whole number",
        "/api/runs/history?run=photos&desk=1": "no option 'desk'",
        "/api/look/heat?run=photos&sample=x": "load it again",
    }
    for path, words in cases.items():
        found = client.get(path)
        assert words in found.json()["reason"]
        assert 400 <= found.status_code < 500


def test_bodies_that_are_too_long_or_no_json_are_refused(photos):
    desk = studio.Desk([photos], limits=Limits(max_bytes=1000))
    with TestClient(studio.build_studio(desk), base_url="http://127.0.0.1") as client:
        long = client.post("/api/look/show?run=photos", content=b"x" * 1001)
        assert (long.status_code, long.json()["error"]) == (413, "too_long")
        for body in (b"{", b"[]", b"\xff", b"[" * 900):
            sent = {"Content-Type": "application/json"}
            found = client.post("/api/runs/correct", content=body, headers=sent)
            assert found.status_code == 422
            assert "JSON" in found.json()["reason"]


def asked(app, path, body, leaves):
    """The statuses that a request over ASGI is answered; `leaves` is waited for by the client."""
    head = {"type": "http", "method": "POST", "path": path, "query_string": b"run=photos"}
    head["headers"] = [(b"host", b"127.0.0.1"), (b"content-type", b"image/png")]
    given, told = [{"type": "http.request", "body": body}], []

    async def receive():
        if given:
            return given.pop()
        await leaves.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        told.append(message.get("status"))

    async def answered():
        await app(head, receive, send)
        return told[0]

    return answered()


def test_what_waits_is_dropped_where_its_client_has_left_and_bodies_keep_their_room(photos):
    desk = studio.Desk([photos])
    edge = studio.build_studio(desk)
    go, app = threading.Event(), edge.app

    async def played():
        stays, leaves = asyncio.Event(), asyncio.Event()
        app.slow.submit(go.wait)
        one = asyncio.ensure_future(asked(edge, "/api/look/show", b"x" * 700, stays))
        other = asyncio.ensure_future(asked(edge, "/api/look/show", b"x" * 300, leaves))
        while app.room.taken < 1000:
            await asyncio.sleep(0.01)
        leaves.set()
        gone = await other
        kept = app.room.taken
        go.set()
        return gone, kept, await one, app.room.taken

    assert asyncio.run(played()) == (499, 700, 422, 0)
    app.slow.shutdown()


class Body:
    """A body that says whether it is still there."""

    def __init__(self, content):
        self.media, self.content = "image/png", content


def test_bodies_are_let_go_when_they_are_refused_or_their_client_has_left(photos, monkeypatch):
    made = []

    def received(media, content):
        body = Body(content)
        made.append(weakref.ref(body))
        return body

    monkeypatch.setattr("convarium.studio.app.received", received)
    edge = studio.build_studio(studio.Desk([photos]))
    go, app = threading.Event(), edge.app

    async def answered(stays):
        leaves, before = asyncio.Event(), len(made)
        asks = asyncio.ensure_future(asked(edge, "/api/look/show", b"x" * 300, leaves))
        while len(made) == before:
            await asyncio.sleep(0.01)
        if not stays:
            leaves.set()
        return await asks

    statuses = [asyncio.run(answered(True))]
    app.slow.submit(go.wait, 30)
    statuses += [asyncio.run(answered(False)) for _ in range(2)]
    there = [each() for each in made]
    go.set()
    app.slow.shutdown()
    assert statuses == [422, 499, 499]
    assert there == [None] * 3


def test_how_far_work_is_told_while_a_network_runs(asking, photos):
    client, go = asking(photos), threading.Event()
    network = client.app.app.slow.submit(go.wait, 20)
    found = client.get("/api/runs/corrections", params={"run": "photos"})
    runs = network.running()
    go.set()
    assert (found.status_code, runs) == (200, True)


def test_a_studio_that_ends_begins_nothing_new(asking, photos):
    client = asking(photos)
    client.app.service.draining = True
    found = client.get("/api/runs/list")
    assert (found.status_code, found.json()["error"]) == (503, "ends")


def test_an_error_that_nobody_foresaw_is_told_without_its_words(asking, photos, monkeypatch):
    import io

    from convarium.studio import runs
    from convarium.studio.desk import Failures

    journal = Failures(io.StringIO())
    client = asking(photos, journal=journal)
    monkeypatch.setattr(runs, "listed", lambda desk: {}["secret"])
    found = client.get("/api/runs/list")
    assert (found.status_code, found.json()["error"]) == (500, "failed")
    (line,) = journal.stream.getvalue().splitlines()
    assert json.loads(line)["error"] == "KeyError"
    assert "secret" not in line


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), st.lists(st.none())
)


@settings(max_examples=50)
@given(VALUES, st.sampled_from([int, float, bool, str]))
def test_an_argument_has_its_type_or_is_refused(value, kind):
    def function(value):
        """Takes one value."""

    function.__annotations__ = {"value": kind}
    found = None
    with contextlib.suppress(OptionError):
        found = bound(function, {"value": value}, {})["value"]
    assert found is None or type(found) is kind
    usual = type(value) is kind and (kind is not float or math.isfinite(value))
    assert found == value if usual else kind is not float or found is None or math.isfinite(found)


@settings(max_examples=30)
@given(st.recursive(VALUES, lambda inner: st.dictionaries(st.text(), inner) | st.tuples(inner)))
def test_answers_are_json_that_browsers_read(value):
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == plain(value)
