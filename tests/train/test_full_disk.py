"""A full disk while training: one sentence, exit code 2, and the run can go on afterwards."""

from __future__ import annotations

import resource

import pytest

from convarium.cli import main

WORDS = ["train", "digits", "--epochs", "1", "--model", "lenet5", "--size", "32", "--test", "0.5"]


@pytest.fixture
def small_files():
    """No file of this process may grow past 300,000 bytes until the fixture is called."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))

    def room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    yield room
    room()


def test_no_room_for_a_checkpoint_is_one_sentence_and_resume_goes_on(small_files, tmp_path, capsys):
    run = tmp_path / "run"
    assert main([*WORDS, "--out", str(run)]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"convarium: Cannot write {run}/checkpoint-")
    assert last.endswith("/state.safetensors: File too large; free some space and try again.")
    names = {path.name for path in run.iterdir()}
    assert not [name for name in names if name.endswith(".tmp")]
    # the first checkpoint fits, the one with the optimiser's memory does not
    assert [name for name in names if name.startswith("checkpoint")] == ["checkpoint-0"]
    assert "card.json" not in names
    small_files()
    assert main([*WORDS, "--out", str(run), "--resume"]) == 0
    assert (run / "report.html").exists()
