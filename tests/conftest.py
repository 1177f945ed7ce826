"""Settings and fixtures that every room's tests share."""

from __future__ import annotations

import os

# Two tests run side by side, and a test's own processes inherit this: one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "convarium",
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("convarium")

Convarium = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def convarium(root: Path) -> Convarium:
    """Run the command in a process of its own: `convarium("list", cwd=tmp_path)`."""

    def run(
        *words: str | Path, cwd: Path, timeout: float = 150
    ) -> subprocess.CompletedProcess[str]:
        environment = dict(os.environ, PYTHONPATH=str(root / "src"))
        command = [sys.executable, "-m", "convarium", *map(str, words)]
        return subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            timeout=timeout,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that `make data` fills; only tests marked `long` ask for it."""
    default = Path.home() / ".cache" / "convarium"
    folder = Path(os.environ.get("CONVARIUM_DATA", default))
    if not (folder / "fashion-mnist").is_dir():
        pytest.fail(f"no real data under {folder}; run: make data")
    return folder
