"""A server in a process of its own: signals, floods, slow clients, and what its command refuses."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from small_fields import fields

from convarium.cli import main
from convarium.serve.server import nobody_waits

PNG = {"Content-Type": "image/png"}
ANY = {"Content-Type": "application/octet-stream"}


@contextlib.contextmanager
def server(*words, **how):
    """A running server, with its address, and with its journal's events as `process.events()`."""
    command = [
        sys.executable,
        "-m",
        "convarium",
        "serve",
        *map(str, words),
        "--port",
        "0",
        "--json",
    ]
    with tempfile.TemporaryFile("w+") as journal:
        piped = {"stdout": subprocess.PIPE, "stderr": journal, "text": True}
        process = subprocess.Popen(command, **piped, **how)
        try:
            text = ""
            while not text or text.count("{") != text.count("}"):
                line = process.stdout.readline()
                assert line, lines_of(journal)
                text += line
            process.address = json.loads(text)["address"].removeprefix("http://").split(":")
            process.events = lambda: [json.loads(line)["event"] for line in lines_of(journal)]
            yield process
        finally:
            process.kill()
            process.communicate()


def lines_of(journal):
    journal.seek(0)
    return journal.read().splitlines()


def ask(process, path="/predict", body=b""):
    """One request on a connection of its own: the status, and what was answered."""
    host, port = process.address
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    connection.request("POST" if body else "GET", path, body or None, PNG if body else {})
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def load(process, body, threads, seen, until, path="/predict", headers=PNG):
    """Clients that ask one request after the other, and note what each was answered."""

    def client():
        host, port = process.address
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        while not until.is_set():
            try:
                connection.request("POST", path, body, headers)
            except ConnectionRefusedError:
                break
            try:
                answer = connection.getresponse()
                answer.read()
            except (ConnectionError, http.client.HTTPException) as error:
                seen.append(type(error).__name__)
                break
            waits = answer.status != 503 or answer.getheader("Retry-After")
            seen.append(answer.status if waits else "503 without Retry-After")
        connection.close()

    found = [threading.Thread(target=client) for _ in range(threads)]
    for thread in found:
        thread.start()
    return found


def test_a_server_ends_gracefully_under_load_and_loses_nothing(photos, pictures):
    seen, until = [], threading.Event()
    with server(photos, "--deadline-ms", "60000") as process:
        clients = load(process, pictures["a.png"], 4, seen, until)
        time.sleep(1.0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
        until.set()
        for thread in clients:
            thread.join(20)
        events = process.events()
    assert len(seen) > 10
    assert set(seen) == {200}
    assert events[0] == "ready"
    assert events[-1] == "ended"
    assert events.count("request") == len(seen)


@pytest.mark.parametrize("whole_group", [pytest.param(False, marks=pytest.mark.long), True])
def test_fields_and_volumes_are_answered_before_the_end(winds, scans, tmp_path, whole_group):
    volume = io.BytesIO()
    np.save(volume, np.zeros((12, 12, 12), np.float32))
    content = fields(tmp_path / "a.nc", 6).read_bytes()
    seen, until = [], threading.Event()
    with server(winds, scans, "--deadline-ms", "60000", start_new_session=True) as process:
        clients = load(process, content, 2, seen, until, "/runs/winds/downscale", ANY)
        clients += load(process, volume.getvalue(), 2, seen, until, "/runs/scans/predict", ANY)
        until_answered = time.monotonic() + 60
        while seen.count(200) < 5 and time.monotonic() < until_answered:
            time.sleep(0.05)
        before = len(seen)
        (os.killpg if whole_group else os.kill)(process.pid, signal.SIGTERM)
        assert process.wait(60) == 0
        until.set()
        for thread in clients:
            thread.join(20)
        events = process.events()
    assert seen[:before].count(200) > 4
    assert set(seen[:before]) <= {200, 503}
    assert set(seen[before:]) <= {200}
    assert events[-1] == "ended"
    assert events.count("request") == len(seen)


def test_who_is_new_is_answered_while_a_server_lingers(photos, pictures):
    with server(photos, "--linger", "1.5s") as process:
        process.send_signal(signal.SIGTERM)
        begun, ready, seen = time.monotonic(), [], []
        while time.monotonic() < begun + 1.2:  # each on a connection of its own
            ready.append(ask(process, "/readyz")[0])
            seen.append(ask(process, body=pictures["a.png"])[0])
        assert process.wait(15) == 0
        with pytest.raises(ConnectionRefusedError):
            ask(process, "/readyz")
    assert set(seen) == {200}
    assert set(ready) - {200} == {503}
    assert ready[-1] == 503


def test_a_socket_that_holds_a_connection_is_not_closed():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server = SimpleNamespace(sockets=[listening])
        assert nobody_waits([server])
        with socket.create_connection(listening.getsockname()):
            assert not nobody_waits([server])
            listening.accept()[0].close()
            assert nobody_waits([server])


def test_a_hangup_brings_the_new_version_and_loses_nothing(photos, pictures, tmp_path):
    folder = shutil.copytree(photos, tmp_path / "photos")
    seen, until = [], threading.Event()
    with server(folder, "--watch", "0") as process:
        clients = load(process, pictures["a.png"], 2, seen, until)
        _, before = ask(process, "/info")
        versions = set()
        for number in range(3):
            card = json.loads((folder / "card.json").read_text()) | {"number": number}
            (tmp_path / "card.json").write_text(json.dumps(card))
            os.replace(tmp_path / "card.json", folder / "card.json")
            process.send_signal(signal.SIGHUP)
            for _ in range(200):
                time.sleep(0.02)
                _, now = ask(process, "/info")
                if now["version"] not in versions | {before["version"]}:
                    break
            versions.add(now["version"])
        until.set()
        for thread in clients:
            thread.join(20)
    assert len(versions - {before["version"]}) == 3
    assert set(seen) == {200}


def test_a_flood_is_answered_and_passes(photos, pictures):
    seen, until = [], threading.Event()
    with server(photos, "--queue", "2", "--deadline-ms", "500") as process:
        clients = load(process, pictures["a.jpg"], 12, seen, until)
        time.sleep(1.5)
        until.set()
        for thread in clients:
            thread.join(20)
        status, told = ask(process, body=pictures["a.png"])
        assert (status, len(told["predictions"])) == (200, 1)
    assert set(seen) == {200, 503}


def test_slow_clients_and_headers_without_end_are_let_go(photos, pictures):
    with server(photos, "--timeout", "0.5s", "--connections", "8") as process:
        address = (process.address[0], int(process.address[1]))
        with socket.create_connection(address) as slow, socket.create_connection(address) as long:
            slow.sendall(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\nabc"
            )
            long.settimeout(10)
            with contextlib.suppress(ConnectionError):
                for _ in range(100):
                    long.sendall(b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 4000)
            slow.settimeout(10)
            assert b" 408 " in slow.recv(4096)
        with socket.create_connection(address) as trickling:
            trickling.settimeout(0.2)
            trickling.sendall(b"GET / HTTP/1.1\r\nX: ")
            begun, closed = time.monotonic(), False
            while not closed and time.monotonic() < begun + 8:
                try:
                    trickling.sendall(b"y")
                    closed = trickling.recv(10) == b""
                except TimeoutError:
                    pass
                except ConnectionError:
                    closed = True
            assert closed
        idle = [socket.create_connection(address) for _ in range(8)]
        with socket.create_connection(address) as ninth:
            ninth.settimeout(10)
            assert ninth.recv(4096).startswith(b"HTTP/1.1 503 ")
        for each in idle:
            each.close()
        time.sleep(0.1)
        assert ask(process, body=pictures["a.png"])[0] == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"no http at all\r\n\r\n", b" 400 "),
        (b"GET /predict HTTP/9.9\r\n\r\n", b" 400 "),
        (b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", b" 404 "),
        (b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", b" 400 "),
        (b"GET /" + b"a" * 100_000, b" 431 "),
    ],
)
def test_what_is_no_http_is_refused(photos, running, sent, status):
    with socket.create_connection((running.address[0], int(running.address[1]))) as client:
        client.settimeout(10)
        client.sendall(sent)
        answer = whole(client)
    assert status in answer.split(b"\r\n")[0] + b" "
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["reason"]


def whole(client):
    """An answer with all of its body, which may come in pieces."""
    answer = b""
    while not answer.endswith(b"}"):
        piece = client.recv(4096)
        if not piece:
            break
        answer += piece
    return answer


@pytest.fixture(scope="module")
def running(photos):
    with server(photos) as process:
        yield process


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{run}", "--host", "0.0.0.0"], "--token-file"),
        (["{run}", "--port", "70000"], "must be below 65536"),
        (["{run}", "--queue", "0"], "must be 1 or more"),
        (["{run}", "--token-file", "/nowhere"], "cannot be read"),
        (["{run}", "x={run}", "x={run}"], "Two runs are called 'x'"),
        (["/nowhere"], "no run folder"),
        (["{run}", "--port", "{taken}"], "Cannot listen"),
    ],
)
def test_the_command_refuses_with_a_remedy(photos, words, told, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        given = [word.replace("{run}", str(photos)).replace("{taken}", port) for word in words]
        assert main(["serve", *given]) == 2
    assert told in capsys.readouterr().err.strip().splitlines()[-1]
