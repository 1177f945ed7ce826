"""A damaged cache of real data is one sentence, whatever is wrong with it."""

from __future__ import annotations

import gzip
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def fetch_data(root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("fetch_data", root / "tools" / "fetch_data.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fetch_data", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def bring(module: ModuleType, name: str, cache: Path) -> str:
    (source,) = (each for each in module.SOURCES if each.name == name)
    (cache / name).mkdir(exist_ok=True)
    with pytest.raises(module.FetchError) as caught:
        module.bring(source, cache)
    return str(caught.value)


WHOLE = gzip.compress(bytes(range(256)) * 64)


@pytest.mark.parametrize(
    "damaged",
    [None, b"", WHOLE[:-9], WHOLE[:40] + b"\xff" * 40 + WHOLE[80:], b"no gzip at all", WHOLE],
    ids=["missing", "empty", "cut", "scribbled", "no gzip", "other content"],
)
def test_a_damaged_archive_says_to_remove_the_folder(
    fetch_data: ModuleType, tmp_path: Path, damaged: bytes | None
) -> None:
    (tmp_path / "fashion-mnist").mkdir()
    if damaged is not None:
        (tmp_path / "fashion-mnist" / "train-images-idx3-ubyte.gz").write_bytes(damaged)
    text = bring(fetch_data, "fashion-mnist", tmp_path)
    assert str(tmp_path / "fashion-mnist") in text
    assert "folder and run again." in text


@pytest.mark.parametrize("names", [[], ["a.pth", "b.pth"]])
def test_weights_that_are_missing_or_twice_there_say_so(
    fetch_data: ModuleType, tmp_path: Path, names: list[str]
) -> None:
    (tmp_path / "efficientnet-lite0").mkdir()
    for name in names:
        (tmp_path / "efficientnet-lite0" / name).write_bytes(b"")
    text = bring(fetch_data, "efficientnet-lite0", tmp_path)
    assert f"is not whole: it has {len(names)} files *.pth" in text
    assert "remove the folder and run again." in text


def test_a_damaged_set_does_not_stop_the_others(
    fetch_data: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for source in fetch_data.SOURCES:
        (tmp_path / source.name).mkdir()
    assert fetch_data.main([str(tmp_path)]) == 1
    error = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in error] == [s.name for s in fetch_data.SOURCES]
