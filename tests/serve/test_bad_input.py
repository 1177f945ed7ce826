"""Whatever is sent, the answer is a 4xx with a reason, and the journal does not repeat it."""

from __future__ import annotations

import base64
import gzip
import json
import struct
import zlib

import pytest

from convarium.cli.parsing import Parser
from convarium.cli.serve import _hosts, add_arguments
from convarium.errors import OptionError
from convarium.serve import Limits, check_bind, read_token

SECRET = "do-not-tell-anybody"


def png_header(width, height):
    """A whole PNG that claims to be large, in a few bytes."""

    def chunk(kind, content):
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    whole = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + whole


def inputs(*values):
    return json.dumps({"inputs": [*values]}).encode()


JSON, FORM = "application/json", "multipart/form-data; boundary=x"
CODED = base64.b64encode(SECRET.encode()).decode()
#: What is sent (bytes, or a picture and how much of it), as which type, and what is answered.
IMAGES = {
    "cut short": (("a.jpg", 0.3), "image/jpeg", 422, "unreadable"),
    "half a png": (("a.png", 0.5), "image/png", 422, "unreadable"),
    "nothing": (b"", "image/png", 422, "unreadable"),
    "a text": (SECRET.encode(), "image/png", 422, "unreadable"),
    "a program": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "image/png", 422, "unreadable"),
    "an svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/png", 422, "unreadable"),
    "a bomb": (png_header(60000, 60000), "image/png", 413, "too_many_pixels"),
    "over the limit": (png_header(9000, 9000), "image/png", 413, "too_many_pixels"),
    "without a size": (png_header(0, 0), "image/png", 422, "unreadable"),
    "wrong type": (("a.png", 1), "application/pdf", 415, "wrong_type"),
    "no type at all": (("a.png", 1), "/", 415, "wrong_type"),
    "no json": (b'{"inputs": [' + SECRET.encode(), JSON, 400, "malformed"),
    "deep json": (b"[" * 100_000, JSON, 400, "malformed"),
    "another json": (b'{"images": []}', JSON, 400, "malformed"),
    "not utf-8": (b'{"inputs": ["\xff"]}', JSON, 400, "malformed"),
    "no sample": (inputs(), JSON, 400, "empty"),
    "nan": (b'{"inputs": [[[NaN, 1], [2, 3]]]}', JSON, 400, "malformed"),
    "infinity": (b'{"inputs": [[[1, -Infinity]]]}', JSON, 400, "malformed"),
    "long number": (b'{"inputs": [[[' + b"9" * 9000 + b"]]]}", JSON, 400, "malformed"),
    "fractions": (inputs([[0.5, 1], [2, 3]]), JSON, 422, "unusable"),
    "negative": (inputs([[-1, 1], [2, 3]]), JSON, 422, "unusable"),
    "over 255": (inputs([[256, 1], [2, 3]]), JSON, 422, "unusable"),
    "far over 255": (inputs([[10**30, 1], [2, 3]]), JSON, 422, "unusable"),
    "a text among numbers": (inputs([[1, "a" * 9000] * 1000]), JSON, 422, "unusable"),
    "true": (inputs([[True, False]]), JSON, 422, "unusable"),
    "deep lists": (inputs([[[[1]]]]), JSON, 422, "unusable"),
    "unequal rows": (inputs([[1, 2], [3]]), JSON, 422, "unusable"),
    "missing pixels": (inputs([[None, 1], [2, 3]]), JSON, 422, "unusable"),
    "a number": (inputs(7), JSON, 422, "unusable"),
    "an object": (inputs({"a": 1}), JSON, 422, "unusable"),
    "two channels": (inputs([[[1, 2]]]), JSON, 422, "unusable"),
    "no pixels": (inputs([[]]), JSON, 422, "unusable"),
    "no base64": (inputs("?" + SECRET), JSON, 422, "unusable"),
    "base64 of a text": (inputs(CODED), JSON, 422, "unreadable"),
    "no boundary": (b"--x--", "multipart/form-data", 400, "malformed"),
    "no end": (b"--x\r\n\r\nA", FORM, 400, "malformed"),
    "no part headers": (b"--x\r\nA\r\n--x--\r\n", FORM, 400, "malformed"),
    "a part of a wrong type": (
        b"--x\r\nContent-Type: text/html\r\n\r\nA\r\n--x--\r\n",
        *(FORM, 415, "wrong_type"),
    ),
}


@pytest.mark.parametrize("case", IMAGES)
@pytest.mark.parametrize("path", ["/predict", "/embed", "/explain"])
def test_what_is_no_image_is_refused_with_a_reason(photos, pictures, serving, path, case):
    sent, kind, status, code = IMAGES[case]
    if isinstance(sent, tuple):
        whole = pictures[sent[0]]
        sent = whole[: int(sent[1] * len(whole))]
    client = serving({"photos": photos}, Limits(max_pixels=10_000_000))
    answer = client.post(path, content=sent, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]) == (status, code), answer.text
    assert len(answer.json()["reason"]) > 10
    good = client.post("/predict", content=pictures["a.png"], headers={"Content-Type": "image/png"})
    assert good.status_code == 200
    assert SECRET not in client.lines.getvalue()
    assert client.service.gate.count == client.service.intake.room.taken == 0


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("a text", "unusable"),
        ([], "unusable"),
        ([[1, 2], [3]], "unusable"),
        ([["1", "2"], [3, 4]], "unusable"),
        ([[True, 2], [3, 4]], "unusable"),
        ([[[1], [2]], [[3], [4]]], "unusable"),
        ([1, 2, 3], "unreadable"),  # one channel, and the run takes two
        ([[None, None], [None, None]], "unreadable"),
        ({"values": [[1, 2], [3, 4]], "rate": -1}, "unusable"),
        ({"values": [[1, 2], [3, 4]], "rate": "fast"}, "unusable"),
        ({"rate": 5}, "unusable"),
        ([[10**400, 1], [2, 3]], "unusable"),
    ],
)
def test_what_is_no_series_is_refused_with_a_reason(curves, serving, value, code):
    client = serving({"curves": curves})
    answer = client.post("/predict", json={"inputs": [value]})
    assert (answer.status_code, answer.json()["error"]) == (422, code), answer.text


def test_series_that_would_fill_the_memory_are_refused(curves, serving):
    client = serving({"curves": curves})
    long = client.post("/predict", json={"inputs": [[[0] * 2000] * 2]})
    assert (long.status_code, long.json()["error"]) == (413, "too_long")


def test_scans_without_end_are_refused(photos, pictures, serving):
    client = serving({"photos": photos})
    for scans, status in ((90, 200), (101, 413)):
        body = pictures["a.jpg"] + b"\xff\xda" * scans
        answer = client.post("/predict", content=body, headers={"Content-Type": "image/jpeg"})
        assert answer.status_code == status, answer.text
    assert answer.json()["error"] == "too_many_scans"


def test_texts_without_end_are_refused(reviews, serving):
    client = serving({"reviews": reviews})
    for sent in ({"json": {"inputs": ["a " * 600_000]}}, {"content": b"a " * 600_000}):
        answer = client.post("/predict", **sent)
        assert (answer.status_code, answer.json()["error"]) == (413, "too_long")


@pytest.mark.parametrize("value", [7, None, ["a"], "", " \n", "\ud800"])
def test_what_is_no_text_is_refused_with_a_reason(reviews, serving, value):
    client = serving({"reviews": reviews})
    body = json.dumps({"inputs": [value]}).encode()
    answer = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    other = client.post("/predict", content=b"\xff\xfe\xff", headers={"Content-Type": "text/plain"})
    assert (other.status_code, other.json()["error"]) == (422, "unreadable")


def test_one_of_several_that_cannot_be_read_is_named(photos, pictures, serving):
    client = serving({"photos": photos})
    whole = base64.b64encode(pictures["a.png"]).decode()
    answer = client.post("/predict", json={"inputs": [whole, whole[:400]]})
    assert answer.status_code == 422
    assert answer.json()["reason"].startswith("Input 1: ")


def test_long_bodies_and_too_many_samples_are_refused(photos, serving):
    client = serving({"photos": photos}, Limits(max_bytes=1000, queue=4))
    png = {"Content-Type": "image/png"}
    declared = client.post("/predict", content=b"x" * 1001, headers=png)
    chunked = client.post("/predict", content=iter([b"x" * 600] * 3), headers=png)
    assert [declared.status_code, chunked.status_code] == [413, 413]
    assert declared.json()["error"] == "too_long"
    many = client.post("/predict", json={"inputs": [[[1]]] * 5})
    assert (many.status_code, many.json()["error"]) == (413, "too_many")
    assert client.service.intake.room.taken == 0


@pytest.mark.parametrize(
    "path",
    [
        *("/nowhere", "/predict/", "/runs/other/predict", "/runs/../../etc/passwd"),
        *("/runs/%2e%2e/info", "/runs/%2fetc%2fpasswd/predict", "/runs/photos/../predict/x"),
        *("/runs/%00/predict", "//predict", "/docs", "/static/../app.py"),
        *(f"/{SECRET}", f"/runs/{SECRET}/predict"),
    ],
)
def test_paths_that_are_none_are_refused(photos, serving, path):
    client = serving({"photos": photos})
    answer = client.post(path, content=b"x")
    assert answer.status_code in (404, 405), answer.text
    assert answer.json()["reason"]
    assert SECRET not in client.lines.getvalue()


def test_methods_and_options_that_are_none_are_refused(photos, pictures, serving):
    client = serving({"photos": photos})
    assert client.get("/predict").status_code == 405
    assert client.request("TRACE", "/predict").status_code == 405
    for query in ("method=score_cam", "method=nothing", "target=dog", "layer=nowhere"):
        answer = client.post(f"/explain?{query}", content=pictures["a.png"])
        assert (answer.status_code, answer.json()["error"]) == (422, "unusable"), query
    odd = client.post("/predict?probabilities=perhaps", content=pictures["a.png"])
    assert odd.status_code == 422
    assert "perhaps" not in odd.json()["reason"]
    two = client.post("/explain", json={"inputs": [[[1]], [[1]]]})
    assert (two.status_code, two.json()["error"]) == (413, "too_many")


def test_words_of_a_query_are_never_passed_over(photos, pictures, serving):
    client = serving({"photos": photos}, Limits(max_pixels=10**6))
    given = {"content": pictures["a.png"], "headers": {"Content-Type": "image/png"}}
    for path, hint in (
        ("/predict?probabilites=true", "Did you mean 'probabilities'?"),
        ("/runs/photos/explain?class=ape", "one of method, target, layer"),
        ("/runs/photos/predict?run=other", "one of probabilities"),
        ("/runs/photos/embed?x=1", "must be left out"),
    ):
        answer = client.post(path, **given)
        assert (answer.status_code, answer.json()["error"]) == (422, "unusable")
        assert hint in answer.json()["reason"]
    assert "'card' is no word of this query" in client.get("/info?card=1").json()["reason"]
    odd = client.get("/info", params={"é\n" + 999 * "x": "1"}).json()["reason"]
    assert odd.startswith("'\\xe9\\n" + 38 * "x" + "' is no word")
    packed = {**given["headers"], "Content-Encoding": "gzip"}
    answer = client.post("/predict", content=gzip.compress(pictures["a.png"]), headers=packed)
    assert (answer.status_code, answer.json()["error"]) == (415, "encoded")
    bomb = client.post("/predict", **{**given, "content": png_header(60000, 60000)})
    assert "limit of 1,000,000" in bomb.json()["reason"]
    assert client.service.gate.count == 0


def test_heat_of_what_is_no_image_is_no_picture(reviews, serving):
    client = serving({"reviews": reviews})
    answer = client.post("/explain", json={"inputs": ["a hat"]}, headers={"Accept": "image/png"})
    assert (answer.status_code, answer.json()["error"]) == (406, "no_picture")


def test_a_token_is_asked_for_everywhere_but_by_probes(photos, pictures, serving):
    token = "0123456789abcdef"
    client = serving({"photos": photos}, token=token)
    for path in ("/predict", "/info", "/metrics", "/openapi.json", "/nowhere"):
        for header in ({}, {"Authorization": f"Bearer {SECRET}"}, {"Authorization": token}):
            answer = client.post(path, content=b"", headers=header)
            assert (answer.status_code, answer.json()["error"]) == (401, "no_token")
            assert answer.headers["www-authenticate"] == "Bearer"
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
    shown = {"Authorization": f"Bearer {token}"}
    assert client.post("/predict", content=pictures["a.png"], headers=shown).status_code == 200
    assert SECRET not in client.lines.getvalue()
    assert token not in client.lines.getvalue()


def test_other_names_are_refused_where_they_are_said(photos, serving):
    client = serving({"photos": photos}, hosts=("localhost", "[::1]", "Models.example"))
    for host in ("localhost", "localhost:8000", "[::1]:8000", "models.example", "LOCALHOST:1"):
        assert client.get("/info", headers={"Host": host}).status_code == 200, host
    for host in (SECRET, "evil.example:8000", "localhost.evil.example", "localhost:80:80", "::1"):
        answer = client.get("/info", headers={"Host": host})
        assert (answer.status_code, answer.json()["error"]) == (421, "wrong_host"), host
    assert client.get("/healthz", headers={"Host": "10.0.0.1"}).status_code == 200
    assert SECRET not in client.lines.getvalue()


def test_the_command_takes_local_names_alone():
    def hosts(*words):
        parser = Parser()
        add_arguments(parser)
        return _hosts(parser.parse_args(["run", *words]))

    assert hosts() == ("localhost", "127.0.0.1", "[::1]", "127.0.0.1")
    assert hosts("--allow-host", "a.example")[-1] == "a.example"
    assert hosts("--token-file", "token") is None
    assert hosts("--host", "0.0.0.0", "--allow-public-without-token") is None


def test_a_public_address_needs_a_token():
    with pytest.raises(OptionError, match=r"0\.0\.0\.0.*--token-file"):
        check_bind("0.0.0.0", None)
    with pytest.raises(OptionError, match="example"):
        check_bind("example.org", None)
    check_bind("0.0.0.0", "0123456789abcdef")
    check_bind("::", None, forced=True)
    check_bind("localhost", None)


def test_token_files_hold_a_token(tmp_path):
    file = tmp_path / "token"
    with pytest.raises(OptionError, match="cannot be read"):
        read_token(file)
    for content in (b"", b"short", b"a blank in the middle", b"\xff" * 32):
        file.write_bytes(content)
        with pytest.raises(OptionError):
            read_token(file)
    file.write_text("0123456789abcdef0123\n")
    assert read_token(file) == "0123456789abcdef0123"
