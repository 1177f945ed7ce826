"""Files are whole or absent: after errors, on a full disk, and when the writer is killed."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convarium import files
from convarium.errors import RunError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # Half of a surrogate pair is not text.
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abé\n\"'", max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file of this process may grow past 64 KiB, as if the disk ended there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@given(value=JSON)
def test_json_comes_back_as_it_went(tmp_path: Path, value: object) -> None:
    files.write_json(tmp_path / "value.json", value)
    assert files.read_json(tmp_path / "value.json") == value


@given(rows=st.lists(st.dictionaries(st.text("ab\n", max_size=3), JSON, max_size=3), max_size=5))
def test_json_lines_come_back_one_row_a_line(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    path = tmp_path / "rows.jsonl"
    files.write_jsonl(path, rows)
    assert files.read_jsonl(path) == rows
    assert path.read_bytes().count(b"\n") == len(rows)


def test_missing_folders_are_made_and_the_file_mode_is_that_of_open(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "text"
    files.write_text(path, "grün")
    with open(tmp_path / "plain", "w"):
        pass
    assert path.read_bytes() == "grün".encode()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_have_are_refused_and_nothing_is_written(
    tmp_path: Path, number: float
) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "value.json", {"loss": number})
    assert not any(tmp_path.iterdir())


def test_an_error_while_writing_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    files.write_text(path, "before")
    with pytest.raises(KeyError), files.atomic(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_whole_and_a_second_one_does_not_damage_it(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"

    def write(member: str) -> None:
        with files.atomic(path) as temporary:
            temporary.mkdir()
            (temporary / member).write_text(member)

    write("first")
    with pytest.raises(RunError, match="Cannot write"):
        write("second")
    assert [entry.name for entry in path.iterdir()] == ["first"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_does_not_take_the_name_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "place" / "inside").mkdir(parents=True)
    with pytest.raises(RunError, match="Cannot write"):
        files.write_text(tmp_path / "place", "text")
    assert (tmp_path / "place" / "inside").is_dir()


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_leaves_the_old_file_and_no_leftovers(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    files.write_bytes(path, b"before")
    with pytest.raises(RunError, match=r"Cannot write .*model.safetensors: File too large"):
        files.write_bytes(path, bytes(1 << 17))
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_inside_of_a_folder_names_the_folder_and_what_helps(tmp_path: Path) -> None:
    place = tmp_path / "checkpoint-1"
    with pytest.raises(RunError) as caught, files.atomic(place) as temporary:
        temporary.mkdir()
        files.write_tensors(temporary / "state.safetensors", {"a": torch.zeros(1 << 17)})
    assert str(caught.value) == (
        f"Cannot write {place}/state.safetensors: File too large; free some space and try again."
    )
    assert not any(tmp_path.iterdir())


def test_a_name_that_is_not_utf8_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not UTF-8; choose another"):
        files.write_text(tmp_path / "caf\udce9" / "card.json", "{}")
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_under_json_lines_is_one_sentence() -> None:
    with pytest.raises(RunError, match="Cannot write /dev/full: No space left on device"):
        files.append_jsonl("/dev/full", {"epoch": 1})


def test_a_place_under_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Cannot write"):
        files.write_text(tmp_path / "file" / "below", "text")


@pytest.mark.parametrize("content", [None, b"{", b"\xff\xfe"])
def test_json_that_cannot_be_read_names_the_file(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "card.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=r"card\.json as JSON"):
        files.read_json(path)


def test_rows_are_appended_and_a_missing_file_has_none(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    assert files.read_jsonl(path) == []
    for epoch in range(3):
        files.append_jsonl(path, {"epoch": epoch})
    assert files.read_jsonl(path) == [{"epoch": 0}, {"epoch": 1}, {"epoch": 2}]


@pytest.mark.parametrize("partial", [b'{"epoch": 2, "trai', b"{", b'{"epoch": 2}', b"x" * 9000])
def test_a_partial_last_line_is_left_out_and_cut_by_the_next_row(
    tmp_path: Path, partial: bytes
) -> None:
    path = tmp_path / "history.jsonl"
    files.append_jsonl(path, {"epoch": 1})
    with open(path, "ab") as file:
        file.write(partial)
    assert files.read_jsonl(path) == [{"epoch": 1}]
    files.append_jsonl(path, {"epoch": 2, "loss": 0.5})
    assert files.read_jsonl(path) == [{"epoch": 1}, {"epoch": 2, "loss": 0.5}]


def test_a_file_of_one_partial_line_starts_over(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(b'{"epo')
    files.append_jsonl(path, {"epoch": 1})
    assert files.read_jsonl(path) == [{"epoch": 1}]


def test_a_broken_line_in_the_middle_is_an_error_not_a_loss(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(b'{"epoch": 1}\n{"epo\n{"epoch": 3}\n')
    with pytest.raises(RunError, match="JSON lines"):
        files.read_jsonl(path)


def test_sha256_is_that_of_the_published_example(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2
    assert files.sha256(tmp_path / "abc") == expected


WRITER = """
import itertools, sys
from convarium import files
for number in itertools.count():
    files.write_json("whole.json", {"number": number, "fill": ["x" * 1000] * (number % 200)})
    files.append_jsonl("rows.jsonl", {"number": number, "fill": "x" * (number % 5000)})
"""


def test_a_writer_killed_at_any_moment_leaves_whole_files(tmp_path: Path, root: Path) -> None:
    moments = random.Random(7)
    environment = dict(os.environ, PYTHONPATH=str(root / "src"))
    for _ in range(10):
        rows_before = len(files.read_jsonl(tmp_path / "rows.jsonl"))
        with subprocess.Popen(
            [sys.executable, "-c", WRITER], cwd=tmp_path, env=environment
        ) as writer:
            wait_for_rows(tmp_path / "rows.jsonl", rows_before + 3)
            time.sleep(moments.uniform(0, 0.05))
            writer.send_signal(signal.SIGKILL)
        whole = json.loads((tmp_path / "whole.json").read_text())
        assert len(whole["fill"]) == whole["number"] % 200
        rows = files.read_jsonl(tmp_path / "rows.jsonl")
        assert len(rows) >= rows_before + 3
        assert all(len(row["fill"]) == row["number"] % 5000 for row in rows)


def wait_for_rows(path: Path, count: int) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.005)
    pytest.fail("the writer wrote nothing in 30 s")
