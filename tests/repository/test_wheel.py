"""The wheel holds the package, whole, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import convarium


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of this checkout, built without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_is_the_package_and_its_metadata(
    wheel: zipfile.ZipFile, project_files: list[str]
) -> None:
    source = {name.removeprefix("src/") for name in project_files if name.startswith("src/")}
    inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert inside == source
    assert {"convarium/py.typed", "convarium/models/catalogue.json"} <= inside
    assert any(name.endswith(".jinja") for name in inside)


def test_the_metadata_say_what_the_project_says(wheel: zipfile.ZipFile) -> None:
    (path,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    facts = Parser().parsestr(wheel.read(path).decode())
    core = {need.split(">")[0] for need in facts.get_all("Requires-Dist") if "extra" not in need}
    assert facts["Version"] == convarium.__version__
    assert facts["License-Expression"] == "Apache-2.0"
    assert core == {
        "filelock",
        "jinja2",
        "lazy-loader",
        "matplotlib",
        "numpy",
        "pillow",
        "pyarrow",
        "safetensors",
        "simplejpeg",
        "tomli-w",
        "torch<2.14,",
    }


def test_the_wheel_brings_command_and_licence(wheel: zipfile.ZipFile) -> None:
    folder = f"convarium-{convarium.__version__}.dist-info"
    entry = wheel.read(f"{folder}/entry_points.txt").decode()
    assert "convarium = convarium.cli:main" in entry
    assert b"Apache License" in wheel.read(f"{folder}/licenses/LICENSE")
