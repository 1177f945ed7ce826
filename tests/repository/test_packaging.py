"""What deploys a run: the Dockerfile's steps hold without an engine, and the unit is a unit."""

from __future__ import annotations

import configparser
import http.server
import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from convarium.cli import serve
from convarium.cli.parsing import Parser
from convarium.serve import check_bind


@pytest.fixture(scope="module")
def steps(root: Path) -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each with its words."""
    text = (root / "packaging/Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def told(steps: list[tuple[str, str]], word: str) -> str:
    return next(rest for name, rest in steps if name == word)


def parsed(words: list[str]) -> object:
    """The arguments of a command line that starts with `convarium serve`."""
    parser = Parser(prog="serve")
    serve.add_arguments(parser)
    assert words[0] == "serve"
    return parser.parse_args(words[1:])


def test_the_image_is_built_from_what_is_copied(
    root: Path, steps: list[tuple[str, str]], project_files: list[str], tmp_path: Path
) -> None:
    copied = [name for word, rest in steps if word == "COPY" for name in rest.split()[:-1]]
    ignore = (root / "packaging/Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert set(copied) == {line[1:] for line in ignore if line.startswith("!")}
    for name in copied:
        copy = shutil.copytree if (root / name).is_dir() else shutil.copy
        copy(root / name, tmp_path / name)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "made"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "made").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    whole = {name.removeprefix("src/") for name in project_files if name.startswith("src/")}
    assert whole <= names


def test_the_image_installs_pinned_extras_that_exist(
    root: Path, steps: list[tuple[str, str]]
) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    install = told(steps, "RUN")
    extras = set(re.findall(r"\[([\w,]+)\]", install)[0].split(","))
    assert {"serve", "openvino"} <= extras <= set(project["optional-dependencies"])
    assert "-c constraints.txt" in install
    tag = told(steps, "FROM").rpartition(":")[2]
    assert tag.startswith(project["requires-python"].removeprefix(">="))
    assert [name for name, _ in steps].index("USER") > [name for name, _ in steps].index("RUN")


def test_the_container_starts_what_the_command_takes(steps: list[tuple[str, str]]) -> None:
    assert json.loads(told(steps, "ENTRYPOINT")) == ["convarium"]
    given = vars(parsed(json.loads(told(steps, "CMD"))))
    assert str(given["port"]) == told(steps, "EXPOSE")
    check_bind(given["host"], given["token_file"])


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_asks_whether_it_is_ready(
    steps: list[tuple[str, str]], status: int, code: int
) -> None:
    asked = []

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            """Nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        _, *words = json.loads(told(steps, "HEALTHCHECK").partition("CMD ")[2])
        program = words[1].replace(":8000", f":{server.server_port}")
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
        server.shutdown()
    assert (done.returncode, asked) == (code, ["/readyz"])


def test_compose_builds_the_image_and_hides_the_token(root: Path) -> None:
    found = yaml.safe_load((root / "packaging/compose.yaml").read_text(encoding="utf-8"))
    service = found["services"]["convarium"]
    build = service["build"]
    assert (root / "packaging" / build["context"] / build["dockerfile"]).is_file()
    assert service["ports"] == ["127.0.0.1:8000:8000"]
    assert service["read_only"]
    assert service["secrets"] == [*found["secrets"]] == ["token"]


def test_the_unit_is_a_unit_and_starts_what_the_command_takes(root: Path, tmp_path: Path) -> None:
    text = (root / "packaging/convarium.service").read_text(encoding="utf-8")
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read_string(text)
    start = shlex.split(unit["Service"]["ExecStart"])
    given = vars(parsed(start[1:]))
    assert given["host"] == "127.0.0.1"
    assert given["token_file"].endswith(unit["Service"]["LoadCredential"].partition(":")[0])
    assert "-HUP" in unit["Service"]["ExecReload"]
    if shutil.which("systemd-analyze"):
        (tmp_path / "convarium.service").write_text(text.replace(start[0], sys.executable))
        command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "convarium.service")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = [line for line in done.stderr.splitlines() if "convarium.service" in line]
        assert (done.returncode, lines) == (0, []), done.stderr
