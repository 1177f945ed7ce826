"""The house numbers: lines of files and functions, nesting, and what library code does not hold."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

FILE_LINES, FAMILY_LINES, TEST_LINES, FUNCTION_LINES, NESTING = 300, 350, 400, 50, 3
NO_NAMES = {"util", "utils", "helper", "helpers", "common", "misc"}
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK|NotImplemented" r"Error)\b")
STATES = re.compile(r"\bassert|raises\(|warns\(|fail\(")
BLOCKS = (ast.For, ast.While, ast.If, ast.With, ast.Try, ast.Match)


@pytest.fixture(scope="module")
def sources(root: Path, project_files: list[str]) -> dict[str, str]:
    """Every Python file by its name."""
    names = [name for name in project_files if name.endswith(".py")]
    return {name: (root / name).read_text(encoding="utf-8") for name in names}


@pytest.fixture(scope="module")
def library(sources: dict[str, str]) -> dict[str, ast.Module]:
    """The parsed files of the package."""
    return {name: ast.parse(text) for name, text in sources.items() if name.startswith("src/")}


def test_files_are_short(sources: dict[str, str]) -> None:
    def limit(name: str) -> int:
        if name.startswith("tests/"):
            return TEST_LINES
        family = name.startswith("src/convarium/models/") and "\nVARIANTS" in sources[name]
        return FAMILY_LINES if family else FILE_LINES

    lengths = {name: text.count("\n") for name, text in sources.items()}
    assert {name: n for name, n in lengths.items() if n > limit(name)} == {}


def test_functions_are_short(sources: dict[str, str]) -> None:
    long = {}
    for name, text in sources.items():
        for function in functions(ast.parse(text)):
            docstring = ast.get_docstring(function, clean=False) or ""
            lines = function.end_lineno - function.lineno + 1
            lines -= docstring.count("\n") + bool(docstring)
            if lines > FUNCTION_LINES:
                long[f"{name}:{function.lineno} {function.name}"] = lines
    assert long == {}


def test_nesting_is_shallow(library: dict[str, ast.Module]) -> None:
    deep = {
        f"{name}:{function.lineno} {function.name}": depth(function)
        for name, tree in library.items()
        for function in functions(tree)
        if depth(function) > NESTING
    }
    assert deep == {}


def test_nothing_is_called_utils_helpers_common_or_misc(project_files: list[str]) -> None:
    assert [name for name in project_files if NO_NAMES & {*Path(name).with_suffix("").parts}] == []


def test_nothing_is_left_unfinished(sources: dict[str, str]) -> None:
    assert [name for name, text in sources.items() if UNFINISHED.search(text)] == []


def test_library_code_does_not_print_or_assert(library: dict[str, ast.Module]) -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, tree in library.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
        or (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print")
    ]
    assert found == []


def test_no_error_is_swallowed(library: dict[str, ast.Module]) -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, tree in library.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or getattr(node.type, "id", "") in ("Exception", "BaseException"))
        and all(isinstance(line, ast.Pass) for line in node.body)
    ]
    assert found == []


def test_every_test_states_something(sources: dict[str, str]) -> None:
    silent = []
    for name, text in sources.items():
        if not name.startswith("tests/"):
            continue
        bodies = {function.name: ast.unparse(function) for function in functions(ast.parse(text))}
        stating = {helper for helper, body in bodies.items() if STATES.search(body)}
        calls = re.compile(rf"\b({'|'.join(stating) or 'none'})\(")
        tests = (function for function in bodies if function.startswith("test_"))
        silent += [
            f"{name} {test}"
            for test in tests
            if not calls.search(bodies[test][4:]) and test not in stating
        ]
    assert silent == []


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def depth(node: ast.AST, inside: int = 0) -> int:
    """How deep blocks stand in one another; an `elif` stands beside its `if`."""
    deepest = inside
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        beside = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        step = isinstance(child, BLOCKS) and not beside
        deepest = max(deepest, depth(child, inside + step))
    return deepest
