"""Requests made from the server's own OpenAPI document, and around it: no answer outside of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convarium.serve.finer import MEDIA
from convarium.serve.samples import READERS

KINDS = ("photos", "reviews", "curves", "scans")
JUNK = st.text(st.characters(codec="ascii", min_codepoint=33), max_size=12)


@pytest.fixture
def client(photos, reviews, curves, scans, serving):
    return serving({"photos": photos, "reviews": reviews, "curves": curves, "scans": scans})


@pytest.fixture
def document(client):
    return client.get("/openapi.json").json()


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a schema allows, as far as it says; anything where it says nothing."""
    anything = st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
        max_leaves=12,
    )
    if "anyOf" in schema:
        return st.one_of(*map(values, schema["anyOf"]))
    kind = schema.get("type")
    if kind == "array":
        least = schema.get("minItems", 0)
        return st.lists(values(schema["items"]), min_size=least, max_size=4)
    if kind == "object":
        entries = {name: values(part) for name, part in schema.get("properties", {}).items()}
        needed = {name: entries[name] for name in schema.get("required", ())}
        others = {name: own for name, own in entries.items() if name not in needed}
        return st.fixed_dictionaries(needed, optional=others)
    plain = {
        "string": st.binary(max_size=60)
        if schema.get("format") == "binary"
        else st.text(max_size=20),
        "number": st.floats(0, allow_nan=False, exclude_min=True),
        "boolean": st.booleans(),
    }
    return plain.get(kind, anything)


def grids():
    """What a run may well take: small pictures and series, some of them uneven."""
    numbers = st.integers(-3, 300) | st.none() | st.floats(allow_nan=False, allow_infinity=False)
    row = st.lists(numbers, max_size=6)
    return st.lists(row | st.lists(row, max_size=3), max_size=6)


def bodies(content: dict[str, Any]) -> st.SearchStrategy[tuple[str, bytes]]:
    """A type that the document names, or junk, with a body that it describes, or junk."""
    described = []
    for media, about in content.items():
        own = st.binary(max_size=80)
        if media == "application/json":
            documents = values(about["schema"]) | st.fixed_dictionaries(
                {"inputs": st.lists(grids(), min_size=1, max_size=3)}
            )
            own = documents.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))
        described.append(st.tuples(st.just(media), own))
    junk = st.tuples(JUNK | st.sampled_from([*content]), st.binary(max_size=80))
    return st.one_of(*described, junk)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_every_answer_is_in_the_document(client, document, draw_from):
    draw = draw_from.draw
    path = draw(st.sampled_from([p for p, ways in document["paths"].items() if "post" in ways]))
    about = document["paths"][path]["post"]
    query, place = {}, path
    for parameter in about.get("parameters", ()):
        allowed = values(parameter["schema"]).filter(lambda value: isinstance(value, str | bool))
        value = draw(st.none() | JUNK | allowed | st.sampled_from(KINDS))
        if parameter["in"] == "path":
            place = path.replace("{run}", draw(st.sampled_from([*KINDS, "x", "..", "%00"])))
        elif value is not None:
            query[parameter["name"]] = str(value).encode("utf-8", "replace").decode()
    media, content = draw(bodies(about["requestBody"]["content"]))
    headers = {"Content-Type": media.encode("ascii", "replace").decode()}
    answer = client.post(place, content=content, params=query, headers=headers)
    assert str(answer.status_code) in about["responses"] or answer.status_code == 404
    assert answer.status_code < 500, answer.text
    told = answer.json()
    if answer.status_code != 200:
        assert {"error", "reason"} <= set(told)
        assert told["reason"]
    assert client.service.gate.count == 0


def test_the_document_names_what_a_body_may_be(document):
    taken = {media for reader in READERS.values() for media in reader.media}
    for path, own in (("/predict", taken), ("/embed", taken), ("/downscale", {*MEDIA})):
        content = document["paths"][path]["post"]["requestBody"]["content"]
        assert own <= {*content}
        assert "multipart/form-data" in content


def test_the_document_names_every_path(document):
    paths = set(document["paths"])
    answered = {"predict", "embed", "explain", "downscale", "info"}
    expected = {f"{prefix}/{name}" for prefix in ("", "/runs/{run}") for name in answered}
    assert paths == expected | {"/healthz", "/readyz", "/metrics", "/runs"}
