"""Words that belong to one machine, and not to the project, are in none of its files."""

from __future__ import annotations

import re
from pathlib import Path

# Home folders and the like; addresses of package registries, which belong to each user's settings.
PLACES = re.compile(r"(?<![\w.~])/(home|root|Users|mnt|srv)/\w")
REGISTRIES = re.compile(r"index" r"-url|://\S*/sim" r"ple\b|find" r"-links", re.IGNORECASE)
PICTURES = {".png", ".jpg"}


def test_no_machines_paths_and_no_registry_addresses(root: Path, project_files: list[str]) -> None:
    found = []
    for name in project_files:
        if Path(name).suffix in PICTURES:
            continue
        for number, line in enumerate((root / name).read_text(encoding="utf-8").splitlines(), 1):
            if PLACES.search(line) or REGISTRIES.search(line):
                found.append(f"{name}:{number}: {line.strip()[:100]}")
    assert found == []


def test_files_end_with_one_line_end_and_have_no_tabs(root: Path, project_files: list[str]) -> None:
    for name in project_files:
        if Path(name).suffix not in (".py", ".pyi", ".md", ".toml", ".yml", ".cff"):
            continue
        text = (root / name).read_text(encoding="utf-8")
        assert "\t" not in text, name
        assert not text or (text.endswith("\n") and not text.endswith("\n\n")), name
