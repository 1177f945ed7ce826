"""The ways into a checkout: pinned installs, no banned packages, and CI that calls make."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

BANNED = {"torchvision", "torchaudio", "timm", "albumentations"}
COMPROMISED = ("2.6.2", "2.6.3")  # releases of lightning and pytorch-lightning
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([\w.!]+)$")


def pins(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    matches = [PIN.match(line) for line in lines if line and not line.startswith("#")]
    assert all(matches), f"{path.name} holds exact pins only"
    return {normal(match[1]): match[2] for match in matches if match}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_runs_these_tests_is_what_is_pinned(root: Path) -> None:
    pinned = pins(root / "constraints.txt")
    needed = needs("convarium", {"test", "digits", "hub", "onnx"})
    missing = sorted(needed - set(pinned))
    assert missing == []
    installed = {name: importlib.metadata.version(name).split("+")[0] for name in needed}
    assert {name: version for name, version in installed.items() if version != pinned[name]} == {}


def test_banned_packages_are_in_no_environment_of_the_product(root: Path) -> None:
    assert BANNED.isdisjoint(pins(root / "constraints.txt"))
    here = {normal(found.metadata["Name"]) for found in importlib.metadata.distributions()}
    assert BANNED.isdisjoint(here)
    peers = pins(root / "constraints-peers.txt")
    assert "torchvision" in peers
    assert peers["torch"] == pins(root / "constraints.txt")["torch"]


def test_compromised_releases_are_never_allowed(root: Path) -> None:
    for name in ("constraints.txt", "constraints-peers.txt"):
        found = pins(root / name)
        for package in ("lightning", "pytorch-lightning"):
            assert found.get(package) not in COMPROMISED, name
    extras = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (needed,) = map(Requirement, extras["optional-dependencies"]["lightning"])
    assert not any(needed.specifier.contains(version) for version in COMPROMISED)
    assert needed.specifier.contains("2.6.6")


def test_every_install_is_pinned(root: Path) -> None:
    lines = (root / "Makefile").read_text(encoding="utf-8").splitlines()
    installs = [line for line in lines if line.startswith("\t") and "$(PIP_INSTALL)" in line]
    assert len(installs) == 4
    for line in installs:
        assert re.search(r"-c constraints\.txt|-r constraints-(peers|docs)\.txt", line)
    assert {"zensical"} <= set(pins(root / "constraints-docs.txt"))


def test_ci_calls_make_and_nothing_else_twice(root: Path) -> None:
    script = (root / ".ci/run").read_text(encoding="utf-8")
    workflow = (root / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    assert script.index("make check") < script.index("make test")
    assert "set -euo pipefail" in script
    assert "bash .ci/run" in workflow
    assert "pip install" not in script + workflow


@pytest.mark.parametrize("target", ["help", "env", "test", "check", "demo", "docs"])
def test_make_knows_its_targets(root: Path, target: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", target], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_make_says_what_is_missing_when_python_cannot_make_environments(
    root: Path, tmp_path: Path
) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((root / name).read_bytes())
    lean = tmp_path / "lean-python"
    lean.write_text(
        f'#!/bin/sh\ncase "$*" in *ensurepip*) exit 1;; esac\nexec "{sys.executable}" "$@"\n'
    )
    lean.chmod(0o755)
    for python, words in (
        (lean, "apt-get install python3-venv"),
        ("/none", "Python 3.11"),
    ):
        done = subprocess.run(
            ["make", f"PYTHON={python}", "env"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode != 0
        assert words in done.stderr
    assert not (tmp_path / ".venv").exists()


def needs(package: str, extras: set[str]) -> set[str]:
    """All packages that an installed package stands on, itself left out."""
    seen: set[str] = set()
    waiting = [(package, extra) for extra in extras | {""}]
    while waiting:
        name, extra = waiting.pop()
        for line in importlib.metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            need_name = normal(requirement.name)
            if need_name not in seen and need_name != package:
                seen.add(need_name)
                waiting += [(need_name, inner) for inner in requirement.extras | {""}]
    return seen
