"""What the tests of the repository itself look at: its files, and the rooms of the package."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def project_files(root: Path) -> list[str]:
    """Every file of the project, tracked or about to be, with slashes, sorted."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    return sorted(name for name in set(listed.splitlines()) if (root / name).is_file())
