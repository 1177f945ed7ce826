"""The journal says what happened, line by line, and nothing that a client could have written."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading

from convarium.serve import Service
from convarium.serve.journal import Forwarding, Journal


def lines(journal):
    return [json.loads(line) for line in journal.stream.getvalue().splitlines()]


def test_each_event_is_one_line_from_any_thread():
    journal = Journal(io.StringIO())
    threads = [
        threading.Thread(target=lambda k=k: [journal.write("seen", thread=k) for _ in range(50)])
        for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = lines(journal)
    assert sorted(line["thread"] for line in told) == sorted([*range(4)] * 50)
    assert all(line["time"].endswith("Z") for line in told)


def test_of_an_error_there_is_its_kind_and_its_place():
    journal = Journal(io.StringIO())
    try:
        int("secret")
    except ValueError as error:
        journal.failure("failed", error, id="7")
    (told,) = lines(journal)
    assert (told["event"], told["error"], told["id"]) == ("failed", "ValueError", "7")
    place = "test_of_an_error_there_is_its_kind_and_its_place"
    assert told["at"][0].startswith("test_journal.py:")
    assert told["at"][0].endswith(place)
    assert "secret" not in journal.stream.getvalue()


def test_what_other_libraries_log_loses_its_details():
    journal = Journal(io.StringIO())
    logger = logging.Logger("other")
    logger.addHandler(Forwarding(journal))
    try:
        int("secret")
    except ValueError:
        logger.exception("Task exception was never retrieved\nfuture: <Task secret>")
    logger.warning("Invalid request of %s", "secret")
    logger.info("a visit")
    first, second = lines(journal)
    assert (first["words"], first["error"]) == ("Task exception was never retrieved", "ValueError")
    assert second["words"] == "Invalid request of %s"
    assert "secret" not in journal.stream.getvalue()


def test_a_full_disk_keeps_no_version_from_being_taken(photos):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    service = Service({"photos": photos}, journal=Journal(Full()))
    taken = asyncio.run(service.reload())
    service.close()
    assert taken == {"photos": True}
