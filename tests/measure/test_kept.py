"""Kept facts: what is damaged or foreign does not count; processes side by side lose nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from convarium.errors import OptionError
from convarium.measure import kept
from convarium.measure.kept import Kept, code

KEY = {"network": "a", "shape": [1, 3], "threads": 1}


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_what_was_put_is_found_under_its_own_key(tmp_path):
    kept = Kept(tmp_path / "new")
    assert kept.get("time", KEY) is None
    kept.put("time", KEY, [1.5, 2])
    assert kept.get("time", KEY) == [1.5, 2]
    assert Kept(tmp_path / "new").get("time", {**KEY, "shape": (1, 3)}) == [1.5, 2]
    for other in ({**KEY, "threads": 2}, {**KEY, "torch": "2"}, {"network": "a"}):
        assert kept.get("time", other) is None
    assert kept.get("field", KEY) is None


def test_the_digest_of_a_room_holds_its_inner_folders_too(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "_PACKAGE", tmp_path)
    (tmp_path / "room/inner").mkdir(parents=True)
    digests = set()
    for place, text in (("room/a.py", "1"), ("room/inner/a.py", "1"), ("room/inner/a.py", "2")):
        (tmp_path / place).write_text(text)
        code.cache_clear()
        digests.add(code("room"))
    code.cache_clear()
    assert len(digests) == 3


def test_fresh_does_not_read_but_replaces(tmp_path):
    Kept(tmp_path).put("time", KEY, 1)
    fresh = Kept(tmp_path, fresh=True)
    assert fresh.get("time", KEY) is None
    fresh.put("time", KEY, 2)
    assert Kept(tmp_path).get("time", KEY) == 2


def test_false_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = Kept(False)
    kept.put("time", KEY, 1)
    assert kept.get("time", KEY) is None
    assert list(tmp_path.iterdir()) == []


def test_true_is_the_users_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    Kept(True).put("time", KEY, 1)
    assert only_file(tmp_path / "convarium" / "measured").suffix == ".json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    Kept(True).put("time", KEY, 1)
    assert only_file(tmp_path / "home" / ".cache" / "convarium" / "measured").is_file()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\x00\xff not text",
        b'{"format": 1, "key"',
        b"[1, 2]",
        b"null",
        b'{"format": 99, "key": {}, "value": 3}',
        b'{"format": 1, "value": 3}',
    ],
)
def test_a_damaged_file_does_not_count_and_is_written_anew(tmp_path, damage):
    kept = Kept(tmp_path)
    kept.put("time", KEY, 1)
    only_file(tmp_path).write_bytes(damage)
    assert kept.get("time", KEY) is None
    kept.put("time", KEY, 2)
    assert kept.get("time", KEY) == 2
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_of_another_key_does_not_count(tmp_path):
    kept = Kept(tmp_path)
    kept.put("time", KEY, 1)
    found = json.loads(only_file(tmp_path).read_text())
    only_file(tmp_path).write_text(json.dumps(found | {"key": {**KEY, "network": "b"}}))
    assert kept.get("time", KEY) is None


def test_where_nothing_can_be_written_one_warning_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    kept = Kept(tmp_path / "file" / "cache")
    with pytest.warns(UserWarning, match="is not kept"):
        kept.put("time", KEY, 1)
    kept.put("time", KEY, 2)  # a second warning would be an error
    assert kept.get("time", KEY) is None


def test_an_empty_name_is_no_folder():
    with pytest.raises(OptionError, match="cache"):
        Kept("")


WRITER = """
import sys
from convarium.measure.kept import Kept
kept, own = Kept(sys.argv[1]), int(sys.argv[2])
for n in range(60):
    kept.put("time", {"shared": n % 5}, [n] * 400)
    found = kept.get("time", {"shared": n % 5})
    assert isinstance(found, list) and len(found) == 400 and len(set(found)) == 1, found
    kept.put("time", {"own": own, "n": n}, n)
"""


def test_two_processes_at_once_lose_and_spoil_nothing(tmp_path, root):
    environment = dict(os.environ, PYTHONPATH=str(root / "src"))
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(own)], env=environment)
        for own in (0, 1)
    ]
    assert [process.wait(timeout=60) for process in running] == [0, 0]
    kept = Kept(tmp_path)
    for own in (0, 1):
        assert [kept.get("time", {"own": own, "n": n}) for n in range(60)] == list(range(60))
    assert len(list(tmp_path.iterdir())) == 2 * 60 + 5


def test_the_digest_of_code_depends_on_the_rooms():
    assert code("layers") == code("layers")
    assert len({code("layers"), code("models"), code("layers", "models")}) == 3
