"""A full disk while training: one sentence, exit code 2, and the run can go on afterwards."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

WORDS = ["digits", "--epochs", "2", "--model", "lenet5", "--size", "32"]


def test_no_room_for_a_checkpoint_is_one_sentence_and_resume_goes_on(root, tmp_path):
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    environment = dict(os.environ, PYTHONPATH=str(root / "src"))
    command = [sys.executable, "-m", "convarium", "train", *WORDS, "--out", str(tmp_path / "run")]

    def call(extra=(), **keywords):
        return subprocess.run(
            [*command, *extra], env=environment, capture_output=True, text=True, check=False,
            timeout=150, **keywords,
        )  # fmt: skip

    full = call(preexec_fn=small_files)
    assert full.returncode == 2, full.stderr
    last = full.stderr.strip().splitlines()[-1]
    assert last.startswith("convarium: Cannot write")
    assert "Traceback" not in full.stderr
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert not [name for name in names if name.endswith(".tmp")]
    # the first checkpoint fits, the one with the optimiser's memory does not
    assert [name for name in names if name.startswith("checkpoint")] == ["checkpoint-0"]
    assert "card.json" not in names
    again = call(["--resume"])
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "run" / "report.html").exists()
