"""Work that takes longer than a request."""

from __future__ import annotations

import threading
import time
import weakref

import pytest

from convarium.errors import ConvariumError, OptionError
from convarium.studio.jobs import Jobs


@pytest.fixture
def jobs():
    made = Jobs()
    yield made
    made.close()


def settled(jobs, key, work, **asked):
    """The last answer, when nothing is running any more."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        told = jobs.ask(key, work, **asked)
        if told["state"] == "done":
            return told
    pytest.fail("the work did not end")


def test_quick_work_is_answered_at_once_and_done_once(jobs):
    calls = []
    for _ in range(3):
        told = jobs.ask("sum", lambda progress: calls.append(1) or 2, wait=5)
    assert told == {"state": "done", "result": 2}
    assert calls == [1]


def test_slow_work_tells_how_far_it_is(jobs):
    go, begun = threading.Event(), threading.Event()

    def work(progress):
        progress.total += 4
        progress.advance(3)
        begun.set()
        go.wait(10)
        return "made"

    jobs.ask("slow", work, wait=0)
    begun.wait(10)
    assert jobs.ask("slow", work, wait=0) == {"state": "running", "done": 3, "total": 4}
    assert jobs.ask("other", lambda progress: 1, wait=0)["state"] == "waiting"
    go.set()
    assert settled(jobs, "slow", work)["result"] == "made"
    assert settled(jobs, "other", lambda progress: 1)["result"] == 1


def test_an_error_is_told_and_the_next_may_try_again(jobs):
    def fails(progress):
        raise OptionError("It cannot be done.")

    with pytest.raises(OptionError, match=r"It cannot be done\."):
        jobs.ask("work", fails, wait=5)
    assert jobs.ask("work", lambda progress: "done now", wait=5)["result"] == "done now"


def test_a_timeout_of_the_work_itself_is_its_error(jobs):
    def late(progress):
        raise TimeoutError("the disk")

    with pytest.raises(TimeoutError, match="the disk"):
        jobs.ask("late", late, wait=5)


def test_work_that_nobody_asks_about_ends_and_begins_anew(jobs):
    ends = []

    def work(progress):
        try:
            for _ in range(1000):
                time.sleep(0.005)
                progress.advance()
        finally:
            ends.append(progress.done)
        return "whole"

    jobs.ask("left", work, patience=0.05, wait=0)
    until = time.monotonic() + 10
    while not ends and time.monotonic() < until:
        time.sleep(0.01)
    assert 0 < ends[0] < 1000
    assert jobs.ask("left", lambda progress: "again", patience=9.0, wait=5)["result"] == "again"


def test_work_that_nobody_asks_about_gives_way_to_others(jobs, monkeypatch):
    monkeypatch.setattr("convarium.studio.jobs._CROWDED", 0.05)
    go = threading.Event()

    def work(progress):
        while not go.is_set():
            time.sleep(0.005)
            progress.advance()
        return "whole"

    jobs.ask("left", work, wait=0)
    time.sleep(0.2)
    assert jobs.ask("left", work, wait=0)["state"] == "running"  # nobody else waits
    assert settled(jobs, "other", lambda progress: "other")["result"] == "other"
    go.set()
    assert settled(jobs, "left", lambda progress: "again")["result"] == "again"


def test_a_result_is_made_anew_where_that_is_asked(jobs):
    calls = []
    for anew in (False, False, True, False):
        told = jobs.ask("read", lambda progress: calls.append(1) or len(calls), wait=5, anew=anew)
    assert told["result"] == len(calls) == 2


def test_work_that_gave_way_and_is_waited_for_gives_way_only_once(jobs, monkeypatch):
    monkeypatch.setattr("convarium.studio.jobs._CROWDED", 0.05)
    go, begun = threading.Event(), []

    def work(progress):
        begun.append(progress)
        while not go.is_set():
            time.sleep(0.005)
            progress.advance()
        return "whole"

    jobs.ask("rare", work, wait=0)
    assert settled(jobs, "other", lambda progress: 1)["result"] == 1
    jobs.ask("rare", work, wait=0)
    jobs.ask("third", lambda progress: 3, wait=0)
    time.sleep(0.3)
    assert jobs.ask("rare", work, wait=0)["state"] == "running"
    go.set()
    assert settled(jobs, "rare", work)["result"] == "whole"
    assert len(begun) == 2


def test_a_result_of_another_version_is_let_go_and_work_on_it_ends(jobs):
    class Data:
        """Much."""

    old = weakref.ref(jobs.ask("read", lambda progress: Data(), wait=5, version=1)["result"])
    ended = threading.Event()

    def work(progress):
        try:
            for _ in range(2000):
                time.sleep(0.005)
                progress.advance()
        finally:
            ended.set()

    assert jobs.ask("read", work, wait=0, version=2)["state"] != "done"
    assert old() is None
    assert jobs.ask("read", lambda progress: 3, wait=5, version=3)["result"] == 3
    assert ended.is_set()


def test_the_results_that_are_asked_about_are_kept(jobs):
    calls = []
    for k in range(60):
        jobs.ask(k, lambda progress: None, wait=5)
        jobs.ask("often", lambda progress: calls.append(1), wait=5)
    assert calls == [1]


def test_closing_ends_what_runs():
    jobs, ended, begun = Jobs(), threading.Event(), threading.Event()

    def work(progress):
        try:
            for _ in range(2000):
                begun.set()
                time.sleep(0.005)
                progress.advance()
        finally:
            ended.set()

    jobs.ask("long", work, wait=0)
    begun.wait(10)
    jobs.close()
    assert ended.wait(5)
    with pytest.raises(ConvariumError, match="The studio ends"):
        jobs.ask("late", work)
