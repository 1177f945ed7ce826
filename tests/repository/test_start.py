"""Starting is quick: the import costs little beyond torch's, and asking loads no torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from convarium.cli import VERBS

ASK = """
import sys
from convarium.cli import main
code = main({words!r})
heavy = {{"torch", "matplotlib", "pyarrow", "PIL", "sklearn", "onnx"}} & set(sys.modules)
sys.stderr.write(",".join(sorted(heavy)) or "none")
sys.exit(code)
"""
# Each time in a copy of a process that has imported torch; seconds of the processor, so that what
# else runs on the machine does not count.
IMPORT = """
import os, time, torch
for _ in range(5):
    if os.fork() == 0:
        start = time.process_time()
        import convarium
        convarium.create, convarium.open_run, convarium.data.open_dataset
        print(time.process_time() - start, flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["list"],
        ["list", "resnet*", "--json"],
        ["show", "resnet50"],
        *([verb, "--help"] for verb in VERBS),
    ],
    ids=" ".join,
)
def test_asking_the_command_loads_no_torch(root: Path, words: list[str]) -> None:
    done = python(root, ASK.format(words=words))
    assert (done.returncode, done.stderr) == (0, "none")
    assert done.stdout


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["tran", "x"], "'train'"),
        (["show", "resnet5O"], "'resnet50'"),
        (["list", "renset18"], "net18"),
    ],
)
def test_close_matches_load_no_torch(root: Path, words: list[str], near: str) -> None:
    done = python(root, ASK.format(words=words))
    assert done.returncode == 2
    assert done.stderr.startswith("convarium: ")
    assert near in done.stderr
    assert done.stderr.endswith("none")


def test_import_costs_little_beyond_torch(root: Path) -> None:
    beyond = [float(line) for line in python(root, IMPORT).stdout.split()]
    assert len(beyond) == 5
    assert min(beyond[1:]) <= 0.3  # the first one also warms the disk's cache


def test_import_alone_loads_no_torch(root: Path) -> None:
    done = python(root, "import convarium, sys; print('torch' in sys.modules)")
    assert done.stdout.strip() == "False"


def python(root: Path, program: str) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, PYTHONPATH=str(root / "src"))
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
