"""Fields over HTTP: what comes back is what `downscale` writes, and no file harms the server."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import threading
import time

import h5py
import numpy as np
import pytest
import xarray
from small_fields import fields

from convarium import predict
from convarium.errors import ConvariumError, DataError
from convarium.serve import Limits
from convarium.serve.admission import Ticket
from convarium.serve.field_process import Request, opened, receive, send
from convarium.serve.finer import Piece
from convarium.serve.opening import Opener
from convarium.serve.refusals import RefusedError

OPEN = Opener.open
NETCDF = {"Content-Type": "application/x-netcdf"}


@pytest.fixture(scope="module")
def opener():
    found = Opener(10.0)
    found.start()
    yield found
    found.close()


@pytest.fixture
def served(winds, serving, opener, monkeypatch):
    """A client of a server of the run, whose process that opens files is there already."""
    monkeypatch.setattr(Opener, "start", lambda self: None)
    monkeypatch.setattr(Opener, "open", lambda self, request: OPEN(opener, request))

    def opened_client(runs=(), **limits):
        return serving({"winds": winds, **dict(runs)}, Limits(deadline_ms=30_000, **limits))

    return opened_client


def opened_answer(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-netcdf"
    return xarray.load_dataset(io.BytesIO(answer.content), engine="h5netcdf")


@pytest.mark.parametrize("engine", ["h5netcdf", "scipy"])
def test_the_answer_is_what_the_command_writes(winds, served, tmp_path, engine, monkeypatch):
    monkeypatch.setattr("convarium.serve.finer._PIECE", 4 * 18 * 26)  # four times a piece
    coarse = fields(tmp_path / "coarse.nc", 10, 9, 13, engine=engine, title="made")
    predict.downscale([predict.open_run(winds)], coarse, tmp_path / "fine.nc")
    client = served()
    answer = client.post("/downscale", content=coarse.read_bytes(), headers=NETCDF)
    with opened_answer(answer) as own, xarray.load_dataset(tmp_path / "fine.nc") as expected:
        assert "convarium serve, run winds, version" in own.attrs.pop("history")
        expected.attrs.pop("history")
        xarray.testing.assert_identical(own, expected)
        assert own.u.shape == (10, 18, 26)
    form = {"file": ("coarse.nc", coarse.read_bytes(), "application/x-netcdf")}
    again = client.post("/runs/winds/downscale", files=form)
    assert opened_answer(again).u.equals(own.u)
    assert 'convarium_samples_total{run="winds"} 20.0' in client.get("/metrics").text
    told = client.get("/info").json()
    assert told["kind"] == "grids"
    assert "arrays" not in told["card"]["preprocessing"]


def other(path, **changed):
    """The fields of a file with something changed."""
    with xarray.load_dataset(fields(path)) as found:
        found = changed["change"](found)
    found.to_netcdf(path, engine="h5netcdf")
    return path.read_bytes()


def units(found):
    found.u.attrs["units"] = "km/h"
    return found


def gaps(found):
    found.u[0, 0, 0] = np.nan
    return found


REFUSED = {
    "no file": (lambda path: b"CDF", 422, "unreadable", "not a NetCDF file"),
    "empty": (lambda path: b"", 422, "unreadable", "not a NetCDF file"),
    "cut short": (lambda path: fields(path).read_bytes()[:3000], 422, "unreadable", ""),
    "cut short, classic": (
        lambda path: fields(path, engine="scipy").read_bytes()[:700],
        422,
        "unreadable",
        "",
    ),
    "other units": (lambda p: other(p, change=units), 422, "unreadable", "km/h"),
    "gaps": (lambda p: other(p, change=gaps), 422, "unreadable", "without gaps"),
    "other names": (
        lambda p: other(p, change=lambda found: found.rename(u="w")),
        422,
        "unusable",
        "no variable 'u'",
    ),
    "too many cells": (
        lambda path: fields(path, 30, 40, 40).read_bytes(),
        413,
        "too_many_cells",
        "more than the limit",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_with_a_reason(served, tmp_path, name):
    made, status, code, words = REFUSED[name]
    client = served(max_cells=100_000)
    answer = client.post("/downscale", content=made(tmp_path / "a.nc"), headers=NETCDF)
    assert (answer.status_code, answer.json()["error"]) == (status, code), answer.text
    assert words in answer.json()["reason"]
    assert str(tmp_path.parent.parent) not in answer.text
    assert client.service.gate.count == client.service.intake.room.taken == 0
    good = fields(tmp_path / "good.nc", 2).read_bytes()
    assert client.post("/downscale", content=good, headers=NETCDF).status_code == 200


def test_a_run_is_asked_for_what_it_is_for(photos, served, pictures):
    client = served({"photos": photos})
    for path in ("predict", "embed", "explain"):
        answer = client.post(f"/runs/winds/{path}", content=b"x", headers=NETCDF)
        assert (answer.status_code, answer.json()["error"]) == (400, "other_kind")
        assert "/downscale" in answer.json()["reason"]
    answer = client.post("/runs/photos/downscale", content=pictures["a.png"], headers=NETCDF)
    assert (answer.status_code, answer.json()["error"]) == (400, "other_kind")
    answer = client.post("/runs/winds/downscale", json={"inputs": [1]})
    assert (answer.status_code, answer.json()["error"]) == (415, "wrong_type")


def pointing(path, secret, how):
    """A file that has a part in another file."""
    fields(path, 1, 4, 4)
    with h5py.File(path, "a") as file:
        if how == "link":
            file["more"] = h5py.ExternalLink(str(secret), "/")
        elif how == "storage":
            file.create_dataset("v", (1, 4, 4), "f4", external=[(str(secret), 0, 64)])
        else:
            layout = h5py.VirtualLayout((1, 4, 4), "f4")
            layout[:] = h5py.VirtualSource(str(secret), "u", (1, 4, 4))
            file.create_virtual_dataset("v", layout)
    return path.read_bytes()


@pytest.mark.parametrize("how", ["link", "storage", "virtual"])
def test_a_file_that_points_to_another_one_is_not_followed(tmp_path, how):
    secret = tmp_path / "secret"
    if how == "virtual":
        fields(secret, 1, 4, 4)
    else:
        secret.write_bytes(np.arange(16, dtype="f4").tobytes())
    content = pointing(tmp_path / "a.nc", secret, how)
    with pytest.raises(DataError, match="points to other files"):
        opened(Request(content, ("u",), 10**6))


def test_a_server_begins_its_own_process_and_ends_it(winds, serving, tmp_path):
    client = serving({"winds": winds}, Limits(deadline_ms=30_000))
    process = client.service.intake._opener._process
    assert process.poll() is None
    content = fields(tmp_path / "a.nc", 3).read_bytes()
    answer = client.post("/downscale", content=content, headers=NETCDF)
    assert opened_answer(answer).u.shape == (3, 16, 24)
    client.service.close()
    assert process.poll() is not None


def test_a_process_that_is_killed_or_hangs_is_begun_anew(opener, tmp_path, monkeypatch):
    good = Request(fields(tmp_path / "a.nc").read_bytes(), ("u",), 10**6)
    first = opener.open(good)
    os.kill(opener._process.pid, signal.SIGKILL)
    opener._process.wait()
    assert np.array_equal(opener.open(good).source["u"], first.source["u"])
    os.kill(opener._process.pid, signal.SIGSTOP)
    monkeypatch.setattr(opener, "seconds", 0.2)
    begun = time.monotonic()
    with pytest.raises(DataError, match="too long"):
        opener.open(good)
    assert time.monotonic() < begun + 5
    monkeypatch.setattr(opener, "seconds", 10.0)
    assert len(opener.open(good)) == 6


def test_a_file_that_unpacks_to_very_much_does_no_harm(opener, tmp_path):
    path = fields(tmp_path / "a.nc", 1, 4, 4)
    with h5py.File(path, "a") as file:
        shape = (1, 60_000, 60_000)
        del file["u"]
        file.create_dataset("u", shape, "f4", chunks=(1, 30_000, 30_000), compression="gzip")
    assert path.stat().st_size < 2**16
    with pytest.raises(ConvariumError):
        opener.open(Request(path.read_bytes(), ("u",), 10**6))
    good = Request(fields(tmp_path / "b.nc").read_bytes(), ("u",), 10**6)
    assert len(opener.open(good)) == 6


def test_random_damage_is_a_reason_or_fields(opener, tmp_path):
    content = bytearray(fields(tmp_path / "a.nc", 2).read_bytes())
    random, found = np.random.default_rng(0), []
    for _ in range(40):
        damaged = bytearray(content)
        for place in random.integers(8, len(content), 20):
            damaged[place] = random.integers(256)
        try:
            found.append(len(opener.open(Request(bytes(damaged), ("u",), 10**6))))
        except ConvariumError as error:
            found.append(str(error))
    assert len(found) == 40
    assert any(isinstance(each, str) for each in found)


def test_times_go_through_the_network_in_pieces(served, tmp_path, monkeypatch):
    monkeypatch.setattr("convarium.serve.finer._PIECE", 2 * 16 * 24)
    client, needed = served(queue=8, max_cells=9 * 16 * 24), []
    need = Ticket.need
    monkeypatch.setattr(Ticket, "need", lambda self, n: (needed.append(n), need(self, n)))
    content = [fields(tmp_path / f"{k}.nc", k).read_bytes() for k in (8, 9, 10)]
    answers = [client.post("/downscale", content=each, headers=NETCDF) for each in content]
    assert [each.status_code for each in answers] == [200, 200, 413]
    assert answers[2].json()["error"] == "too_many_cells"
    assert max(needed) == 2  # of the eight places
    run = client.service.named("winds")
    for times, answer, sizes in zip((8, 9), answers, ([2] * 4, [3] * 3), strict=False):
        coarse = run.refiner.checked(opened(Request(content[times - 8], ("u",), 10**6)))
        assert [len(piece.ids) for piece in run.refiner.pieces(coarse, 4)] == sizes
        whole = run.refiner.made([Piece(coarse, np.arange(times))])[0]
        with opened_answer(answer) as found:
            np.testing.assert_allclose(found.u.values[:, None], whole, rtol=1e-5, atol=1e-6)


def test_a_file_is_not_blamed_for_the_end_of_another_process(opener, tmp_path, monkeypatch):
    good = Request(fields(tmp_path / "a.nc").read_bytes(), ("u",), 10**6)
    expected = opener.open(good).source["u"]
    asked = []

    def killed(stream, message):
        asked.append(opener._process.pid)
        if len(asked) == 1:
            os.kill(asked[0], signal.SIGKILL)
            opener._process.wait()
        send(stream, message)

    monkeypatch.setattr("convarium.serve.opening.send", killed)
    assert np.array_equal(opener.open(good).source["u"], expected)
    assert len(set(asked)) == 2


def test_a_file_that_ends_the_process_ends_one_alone(opener, tmp_path, monkeypatch):
    good = Request(fields(tmp_path / "a.nc", engine="scipy").read_bytes(), ("u",), 10**6)
    expected, asked = opener.open(good).source["u"], []

    def ending(stream, message):
        asked.append(opener._process.pid)
        os.kill(asked[-1], signal.SIGSTOP)  # it takes the file, and does not answer before its end
        send(stream, message)
        os.kill(asked[-1], signal.SIGKILL)

    with monkeypatch.context() as patched, pytest.raises(DataError, match="damaged"):
        patched.setattr("convarium.serve.opening.send", ending)
        opener.open(good)
    assert len(asked) == 1
    assert np.array_equal(opener.open(good).source["u"], expected)


def test_half_an_answer_is_the_end_of_the_process():
    whole = io.BytesIO()
    send(whole, DataError("damaged"))
    assert str(receive(io.BytesIO(whole.getvalue()))) == "damaged"
    for length in (0, 4, 9, len(whole.getvalue()) - 1):
        with pytest.raises(EOFError):
            receive(io.BytesIO(whole.getvalue()[:length]))


def test_a_server_that_ends_opens_no_more_files(tmp_path):
    ended = Opener(1.0)
    ended.close()
    with pytest.raises(RefusedError) as refused:
        ended.open(Request(b"", ("u",), 1))
    assert refused.value.status == 503
    assert refused.value.headers["Retry-After"]


def test_a_file_that_hangs_keeps_no_answer_from_being_written(winds, served, tmp_path):
    client = served()
    intake = client.service.intake
    hangs = threading.Event()
    held = intake._openers.submit(hangs.wait, 20)

    async def written():
        return await asyncio.wait_for(intake.writing(lambda: "written"), 5)

    assert asyncio.run(written()) == "written"
    hangs.set()
    assert held.result()
    assert intake._opener.seconds == min(intake.limits.timeout, intake.limits.deadline)
