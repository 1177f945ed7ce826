"""The arrows between the rooms, and what may be imported when a room is."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from importlinter import cli as import_linter

from convarium.models import registry

# What runs a network may be imported on top of a file; everything else inside the function that
# needs it, so that a room costs little and works without the extras.
ON_TOP = {"convarium", "torch", "numpy", "lazy_loader", "PIL"}
EXTRAS = (
    *("sklearn", "scipy", "onnx", "onnxruntime", "onnxscript", "openvino", "nncf"),
    *("fastapi", "starlette", "uvicorn", "prometheus_client"),
)


@pytest.fixture(scope="module")
def contracts(root: Path) -> dict[str, Any]:
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    rows: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return {row["id"]: row for row in rows}


def test_rooms_import_from_below_only(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    code = import_linter.lint_imports(config_filename="pyproject.toml", no_cache=True)
    assert code == import_linter.EXIT_STATUS_SUCCESS, "run lint-imports to see the broken arrow"


def test_every_family_is_in_the_contract(contracts: dict[str, Any]) -> None:
    families = {family.__name__ for family in registry.FAMILIES}
    assert families == set(contracts["families"]["modules"])


def test_a_room_that_is_not_built_is_absent(root: Path, contracts: dict[str, Any]) -> None:
    named = {
        room.strip()
        for row in contracts["rooms"]["layers"]
        for room in row.replace("|", ":").split(":")
    }
    package = root / "src/convarium"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")}
    assert named == rooms | {path.stem for path in package.glob("*.py")} - {"__init__"}


def test_what_does_not_run_a_network_is_imported_where_it_is_used(root: Path) -> None:
    found = []
    for path in sorted((root / "src").rglob("*.py")):
        for node in top_imports(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names = names or [getattr(node, "module", "") or ""]
            roots = {name.split(".")[0] for name in names}
            if roots - ON_TOP - sys.stdlib_module_names - {"safetensors"}:
                found.append(f"{path.relative_to(root)}:{node.lineno}")
    assert found == []


def test_every_room_works_without_the_extras(root: Path) -> None:
    rooms = sorted(path.parent.name for path in (root / "src/convarium").glob("*/__init__.py"))
    program = f"""
import sys
for name in {EXTRAS!r}:
    sys.modules[name] = None
import importlib, pkgutil
for room in {rooms!r}:
    package = importlib.import_module("convarium." + room)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
    for name in package.__all__:
        getattr(package, name)
from convarium.cli import main
sys.exit(main(["train", "digits", "--out", "never"]))
"""
    done = run_python(program, root)
    assert done.returncode == 2, done.stderr
    assert "pip install 'convarium[digits]'" in done.stderr
    assert not (root / "never").exists()


def top_imports(tree: ast.Module) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]


def run_python(program: str, root: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(root / "src"), "PATH": "", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
