"""Bodies are read within their limits, and their parts come out as they went in."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convarium.serve.admission import Room
from convarium.serve.bodies import parts_of, read_body, received, values_of
from convarium.serve.refusals import RefusedError


async def chunks(parts, pause=0.0):
    for part in parts:
        await asyncio.sleep(pause)
        yield part


def read(parts, *, declared=None, most=100, room=None, pause=0.0, seconds=5.0):
    room = Room(1000) if room is None else room
    stream = chunks(parts, pause)
    return asyncio.run(read_body(stream, declared, most=most, seconds=seconds, room=room))


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_a_body_is_all_its_chunks_or_too_long(parts):
    room, whole = Room(1000), b"".join(parts)
    if len(whole) <= 100:
        assert read(parts, room=room) == whole
        assert room.taken == len(whole)
    else:
        with pytest.raises(RefusedError, match="longer than 100 bytes"):
            read(parts, room=room)
        assert room.taken == 0


def test_a_body_that_says_it_is_too_long_is_not_read():
    seen = []

    async def watched():
        seen.append(1)
        yield b"x"

    with pytest.raises(RefusedError) as refusal:
        asyncio.run(read_body(watched(), "101", most=100, seconds=1.0, room=Room(1000)))
    assert refusal.value.status == 413
    assert seen == []


def test_a_slow_body_is_given_up():
    room = Room(1000)
    with pytest.raises(RefusedError) as refusal:
        read([b"a"] * 100, room=room, pause=0.02, seconds=0.1)
    assert (refusal.value.status, refusal.value.headers) == (408, {"Connection": "close"})
    assert room.taken == 0


def test_bodies_share_the_memory():
    room = Room(150)
    read([b"x" * 100], room=room)
    with pytest.raises(RefusedError) as refusal:
        read([b"x" * 30, b"x" * 30], room=room)
    assert refusal.value.status == 503
    assert room.taken == 100


@given(
    st.lists(st.tuples(st.binary(max_size=60), st.sampled_from(["image/png", "text/plain"]))),
    st.text("abcdefghijklmnopqrstuvwxyz0123456789'()+_,-./:=?", min_size=8, max_size=20),
)
def test_parts_come_out_as_they_went_in(parts, boundary):
    edge = b"--" + boundary.encode()
    form = b"".join(
        edge + b"\r\nContent-Disposition: form-data\r\nContent-Type: " + kind.encode() + b"\r\n\r\n"
        + content + b"\r\n"
        for content, kind in parts
        if edge not in b"\r\n" + content
    )  # fmt: skip
    expected = [(c, kind) for c, kind in parts if edge not in b"\r\n" + c]
    body = received(f'multipart/form-data; boundary="{boundary}"', form + edge + b"--\r\n")
    if not expected:
        with pytest.raises(RefusedError):
            parts_of(body, 100)
    else:
        assert [(part.content, part.media) for part in parts_of(body, len(expected))] == expected


@given(st.binary(max_size=80))
def test_any_bytes_are_values_or_refused(content):
    try:
        found = values_of(content, 100)
    except RefusedError as refusal:
        found = refusal
    assert isinstance(found, list) or (found.status == 400 and found.reason.endswith("."))


def test_types_are_read_without_case_and_parameters():
    assert received("IMAGE/Png; a=b", b"").media == "image/png"
    assert received(None, b"").media == "application/octet-stream"
    assert received("no type", b"").media == "text/plain"


def test_more_parts_than_are_taken_are_not_split():
    part = b"--x\r\n\r\nA\r\n"
    body = received("multipart/form-data; boundary=x", part * 100_000 + b"--x--\r\n")
    tracemalloc.start()
    with pytest.raises(RefusedError, match="At most 3 samples"):
        parts_of(body, 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * len(body.content)
    with pytest.raises(RefusedError, match="At most 3 samples"):
        values_of(b'{"inputs": [1, 2, 3, 4]}', 3)
