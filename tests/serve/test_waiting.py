"""What waits holds little, ends in time, and is left where nobody needs it any more."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
import time
import tracemalloc

import pytest

from convarium import serve
from convarium.data import read_image
from convarium.predict import open_run
from convarium.serve.explaining import Asked
from convarium.serve.intake import Sent
from convarium.serve.refusals import RefusedError
from convarium.serve.samples import Given, prepared


def sent(values):
    """A body of JSON, as it arrives."""

    async def chunks():
        yield json.dumps({"inputs": values}).encode()

    return Sent("application/json", None, chunks())


def service_of(folder, **limits):
    journal = serve.Journal(io.StringIO())
    return serve.Service({"run": folder}, serve.Limits(**limits), journal=journal)


def test_texts_among_numbers_take_no_room(photos):
    """A thousand short texts and a long one would be an array of a thousand long ones."""
    service = service_of(photos)
    rows = [["a" * 200_000, *["b"] * 1000]]
    tracemalloc.start()
    with pytest.raises(RefusedError):
        asyncio.run(service.predict(None, sent([rows])))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    service.close()
    assert peak < 20 * 2**20


def test_pixels_of_full_size_are_let_go_of(photos, reviews, pictures):
    limits = serve.Limits()
    image = Given(lambda content, _: read_image(content), pictures["a.png"])
    read, sample = prepared(image, open_run(photos).preprocessing, limits)
    assert read is None
    assert tuple(sample.shape) == (3, 32, 32)
    text = Given(lambda content, _: content, "a red hat")
    assert prepared(text, open_run(reviews).preprocessing, limits)[0] == "a red hat"


def test_decoding_ends_where_one_is_refused(photos, pictures, monkeypatch):
    service, begun = service_of(photos, workers=1), []

    def slow(content, **settings):
        begun.append(content)
        time.sleep(0.02)
        return read_image(content)

    monkeypatch.setattr("convarium.serve.samples.read_image", slow)
    whole = base64.b64encode(pictures["a.png"]).decode()

    async def run():
        with pytest.raises(RefusedError, match="Input 0"):
            await service.predict(None, sent([whole[:8], *[whole] * 30]))
        await asyncio.sleep(0.2)

    asyncio.run(run())
    service.close()
    assert len(begun) <= 3


def test_the_deadline_counts_while_samples_are_decoded(photos, pictures, monkeypatch):
    service, go = service_of(photos, deadline_ms=100), threading.Event()
    monkeypatch.setattr(
        "convarium.serve.samples.read_image", lambda content, **settings: go.wait(5)
    )
    whole = base64.b64encode(pictures["a.png"]).decode()

    async def run():
        start = time.monotonic()
        with pytest.raises(RefusedError) as refusal:
            await service.predict(None, sent([whole]))
        go.set()
        return refusal.value, time.monotonic() - start

    refusal, seconds = asyncio.run(run())
    service.close()
    assert (refusal.status, refusal.code) == (503, "late")
    assert seconds < 1
    assert service.gate.count == 0


def test_the_limit_of_heat_counts_while_its_network_is_copied(photos, monkeypatch):
    service, go = service_of(photos, timeout=0.1), threading.Event()
    monkeypatch.setattr("convarium.serve.served.copy.deepcopy", lambda model: go.wait(5))

    async def run():
        asked = Asked()
        with pytest.raises(RefusedError) as refusal:
            await service.explain(None, sent([[[1]]]), asked, picture=False)
        go.set()
        return refusal.value

    refusal = asyncio.run(run())
    service.close()
    assert (refusal.status, refusal.code) == (503, "late")
