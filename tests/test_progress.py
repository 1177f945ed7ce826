"""Progress for people: one rewritten line on a terminal, plain lines elsewhere, or silence."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convarium.errors import OptionError
from convarium.progress import Progress, duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_plain_lines_with_count_rate_and_time_left() -> None:
    stream = io.StringIO()
    with Progress(10, "Reading", stream=stream, interval=0.0) as progress:
        progress.advance(5, note="loss 0.5")
    line = stream.getvalue()
    assert line.startswith("Reading: 5/10, ")
    assert "samples/s, 0 s left, loss 0.5" in line
    assert line.endswith("\n")
    assert "\r" not in line


def test_a_log_stays_silent_where_the_work_is_over_at_once() -> None:
    stream = io.StringIO()
    with Progress(10, "Reading", stream=stream) as progress:
        progress.advance(10)
    assert stream.getvalue() == ""


def test_a_terminal_gets_one_rewritten_line_that_ends_with_the_total() -> None:
    stream = Terminal()
    with Progress(3, "Reading", stream=stream) as progress:
        progress._interval = 0.0
        progress.advance(1, note="a note that is long")
        progress.advance(2)
    lines = stream.getvalue().split("\r")
    assert stream.getvalue().count("\n") == 1
    assert lines[-1].startswith("Reading: 3/3")
    assert len(lines[2]) >= len(lines[1]), "a shorter line must cover the longer one before it"


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_nothing_is_written_when_not_enabled(stream: io.StringIO) -> None:
    with Progress(3, "Reading", stream=stream, enabled=False, interval=0.0) as progress:
        progress.advance(3)
    assert stream.getvalue() == ""
    assert progress.done == 3


def test_work_of_an_earlier_run_does_not_count_into_the_rate() -> None:
    progress = Progress(1000, "Training", stream=io.StringIO(), done=900, unit="steps")
    assert progress.line() == "Training: 900/1000, 0 steps/s"


def test_no_work_at_all_is_fine_and_less_is_refused() -> None:
    with Progress(0, "Reading", stream=Terminal()) as progress:
        assert progress.line().startswith("Reading: 0/0")
    with pytest.raises(OptionError, match=r"total \(=-1\)"):
        Progress(-1, "Reading")


@given(st.floats(0, 1e6))
def test_durations_are_said_to_the_second(seconds: float) -> None:
    words = duration(seconds).split()
    units = {"h": 3600, "min": 60, "s": 1}
    said = sum(
        int(number) * units[unit] for number, unit in zip(words[::2], words[1::2], strict=True)
    )
    assert abs(said - seconds) <= (0.5 if seconds < 3599 else 60)
