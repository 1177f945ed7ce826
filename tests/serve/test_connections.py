"""Connections on which nothing moves are closed, and those that are used are not."""

from __future__ import annotations

import asyncio
import contextlib

import uvicorn
from uvicorn.server import ServerState

from convarium.serve.connections import guarded

LARGE = 32 * 2**20  # more than the system keeps for a client that does not read


async def application(scope, receive, send):
    """Answers /large with many bytes, and everything else with two."""
    size = LARGE if scope["path"] == "/large" else 2
    length = [(b"content-length", str(size).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": b"x" * size})


def asked(client, *, seconds=0.15, most=4, told=lambda code: None):
    """What a client returns that is given a way to connect to a server with these guards."""

    async def run():
        config = uvicorn.Config(application, http=guarded(seconds, most, told), log_config=None)
        config.load()
        state, loop = ServerState(), asyncio.get_running_loop()

        def protocol():
            return config.http_protocol_class(config=config, server_state=state, app_state={})

        server = await loop.create_server(protocol, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            return await client(lambda: asyncio.open_connection("127.0.0.1", port), state)
        finally:
            server.close()

    return asyncio.run(run())


def request(path="/"):
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def test_a_client_that_does_not_read_its_answer_is_let_go():
    async def client(connect, state):
        _, writer = await connect()
        writer.transport.pause_reading()
        writer.write(request("/large"))
        for _ in range(100):
            await asyncio.sleep(0.05)
            if not state.connections:
                break
        left = len(state.connections)
        writer.transport.abort()
        return left

    assert asked(client) == 0


def test_a_client_that_reads_slowly_gets_its_whole_answer():
    async def client(connect, state):
        reader, writer = await connect()
        writer.write(request("/large"))
        await reader.readuntil(b"\r\n\r\n")
        count = 0
        while count < LARGE:
            count += len(await reader.read(2**22))
            await asyncio.sleep(0.01)
        writer.close()
        return count

    assert asked(client) == LARGE


def test_a_connection_in_use_stays_and_an_idle_one_is_closed():
    async def client(connect, state):
        reader, writer = await connect()
        for _ in range(8):
            writer.write(request())
            await reader.readuntil(b"\r\n\r\nxx")
            await asyncio.sleep(0.06)
        idle = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        return idle

    assert asked(client) == b""


def gone(reader):
    """Whether the server has let go, with an end or, where more was sent to it, a reset."""
    return reader.at_eof() or isinstance(reader.exception(), ConnectionError)


def test_headers_that_trickle_in_are_no_movement():
    async def client(connect, state):
        reader, writer = await connect()
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        for _ in range(200):
            if gone(reader):
                break
            writer.write(b"y")
            await asyncio.sleep(0.02)
        writer.transport.abort()
        return gone(reader)

    assert asked(client)


def test_one_connection_too_many_is_turned_away():
    async def client(connect, state):
        held = [await connect() for _ in range(2)]
        reader, writer = await connect()
        answer = await asyncio.wait_for(reader.read(), 5)
        for _, each in (*held, (reader, writer)):
            each.close()
        return answer

    refused = []
    answer = asked(client, most=2, told=refused.append)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 1\r\n" in answer
    assert refused == ["full"]


def test_no_refusal_takes_the_place_of_an_earlier_answer():
    async def client(connect, state):
        reader, writer = await connect()
        writer.write(request() + b"no http at all\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        return answer

    answer = asked(client)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"xx")


def test_a_client_that_asks_far_ahead_is_let_go():
    async def answers(connect, count):
        reader, writer = await connect()
        writer.write(request() * count)
        found = b""
        with contextlib.suppress(ConnectionError):
            while piece := await asyncio.wait_for(reader.read(2**16), 5):
                found += piece
        writer.close()
        return found.count(b" 200 OK")

    async def client(connect, state):
        return [await answers(connect, count) for count in (5, 500)]

    few, many = asked(client)
    assert few == 5
    assert many < 500
