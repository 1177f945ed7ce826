"""Clients of `benchmarks/serving.py`: a server in a process of its own, and those who ask it.

They speak HTTP/1.1 by themselves, a few dozen microseconds a request, since they share the cores of
the server. One request holds one photograph.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CLIENTS = 8
PAUSE = 0.05  # seconds, after a request that was refused


@dataclass
class Load:
    """What clients saw: the statuses, and the seconds of requests that were let in.

    Args:
        statuses: of answers, or why there was none, with their numbers.
        seconds: from when a request was sent.
        since_due: from when it was due.
    """

    statuses: dict[str, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    since_due: list[float] = field(default_factory=list)

    def add(self, status: str, seconds: float, late: float = 0.0) -> None:
        """One answer, or why there was none; `late` is when it was sent, after it was due."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status == "200":
            self.seconds.append(seconds)
            self.since_due.append(seconds + late)


@contextlib.asynccontextmanager
async def server(folder: Path, *words: str) -> AsyncIterator[subprocess.Popen[str]]:
    """A server of a run, in a process of its own."""
    command = [sys.executable, "-m", "convarium", "serve", str(folder), "--port", "0", "--json"]
    command += words
    with tempfile.TemporaryFile("w") as journal:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=journal, text=True)
        lines = ""
        while not lines or lines.count("{") != lines.count("}"):
            line = process.stdout.readline()
            if not line:
                raise SystemExit("The server ended early.")
            lines += line
        process.port = int(json.loads(lines)["address"].rpartition(":")[2])
        try:
            yield process
        finally:
            process.kill()
            process.wait()


async def closed(process: subprocess.Popen[str], bodies: Sequence[bytes], seconds: float) -> Load:
    """Clients that each ask again once they are answered, for so long."""
    load, until = Load(), time.perf_counter() + seconds
    await asking(process, bodies, load, lambda: time.perf_counter() < until)
    return load


async def asking(
    process: subprocess.Popen[str], bodies: Sequence[bytes], load: Load, on: Callable[[], bool]
) -> None:
    """Clients that ask while they may, each on connections of its own."""

    async def client(number: int) -> None:
        connection: Any = None
        while on():
            number = (number + 1) % len(bodies)
            try:
                connection = connection or await asyncio.open_connection("127.0.0.1", process.port)
            except ConnectionRefusedError:
                return
            refused = load.statuses.get("503", 0)
            if not await asked(connection, bodies[number], load):
                connection = None
            if load.statuses.get("503", 0) > refused:
                await asyncio.sleep(PAUSE)
        if connection is not None:
            connection[1].close()

    await asyncio.gather(*map(client, range(CLIENTS)))


async def asked(connection: Any, body: bytes, load: Load, *, due: float | None = None) -> bool:
    """One request; whether the connection may be used again."""
    reader, writer = connection
    start = time.perf_counter()
    late = 0.0 if due is None else max(0.0, start - due)
    try:
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(lines.partition(b"content-length:")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
    except (ConnectionError, asyncio.IncompleteReadError) as error:
        load.add(type(error).__name__, 0.0)
        return False
    load.add(lines.split()[1].decode(), time.perf_counter() - start, late)
    if b"connection: close" in lines:
        writer.close()
        return False
    return True


async def version(process: subprocess.Popen[str]) -> str:
    """The version that answers now."""
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    writer.write(b"GET /runs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["runs"][0]["version"])


def resident(process: subprocess.Popen[str]) -> int:
    """Bytes of memory that a process holds."""
    pages = Path(f"/proc/{process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


async def at_rate(
    process: subprocess.Popen[str], bodies: Sequence[bytes], rate: float, seconds: float
) -> tuple[int, Load]:
    """Requests that are due so many times a second: how many, and what became of them."""
    load, free, running = Load(), [], set()
    start = time.perf_counter()

    async def one(number: int) -> None:
        connection: Any = None
        while free and connection is None:  # one that the server closed meanwhile is none
            connection = free.pop()
            connection = None if connection[0].at_eof() else connection
        body, due = bodies[number % len(bodies)], start + number / rate
        try:
            connection = connection or await asyncio.open_connection("127.0.0.1", process.port)
            if await asked(connection, body, load, due=due):
                free.append(connection)
        except Exception as error:  # whatever it is, it is a request without an answer
            load.add(type(error).__name__, 0.0)

    sent, total = 0, int(rate * seconds)
    while sent < total:
        due = min(total, int((time.perf_counter() - start) * rate) + 1)
        for number in range(sent, due):
            task = asyncio.ensure_future(one(number))
            running.add(task)
            task.add_done_callback(running.discard)
        sent = due
        await asyncio.sleep(max(0.0, start + sent / rate - time.perf_counter()))
    await asyncio.gather(*running)
    for _, writer in free:
        writer.close()
    return sent, load
