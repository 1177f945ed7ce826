"""The words of a measurement."""

from __future__ import annotations

from convarium.cli import main


def test_a_small_number_is_told_once(tmp_path, capsys, monkeypatch):
    (tmp_path / "tiny.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Conv1d(1, 5, 1)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["measure", "tiny:net", "--input", "1x9"]) in (0, None)
    words = capsys.readouterr().out
    assert "45 for 1 sample" in words
    assert "90, two for each MAC" in words
