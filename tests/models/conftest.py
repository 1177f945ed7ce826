"""A Hub of one folder, for the tests that fetch and upload."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A Hub with nothing in it."""
    folder = tmp_path / "repositories"
    folder.mkdir()
    running = Server(folder)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()
