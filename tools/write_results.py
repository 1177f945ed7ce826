"""Write docs/results/claims.md: every figure of the stored results, with what stands behind it.

Each file of benchmarks/results and experiments/results becomes a section: figures with n and their
interval or range, what was asked of them, and the command, machine, versions and date that the file
holds. `results_known.py` says what the figures of a file are; of a file that it does not know,
every summary (n with a mean or median) is a row.

Run by `make results`, or: python tools/write_results.py
"""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import results_fields
import results_figures
import results_known
from write_families import running, table

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results" / "claims.md"
FOLDERS = (ROOT / "benchmarks" / "results", ROOT / "experiments" / "results")
HEADS = ("what", "figure", "n", "interval or range", "asked for")
OPENING = """# Every figure

Each figure of the project that a benchmark or an experiment stored, with its n, its 95 % interval
over seeds or samples ("to", in brackets) or the range of its rounds, and what was asked for. Speeds
are ratios to a reference timed in the same run, taking turns; where the ratios of the single rounds
were not kept, "within" says what the ranges of both sides allow at most. What they mean, and what
was tried beside them, stands in [what they say](README.md).

Written by `make results` from the JSON files that are named under each table; `make bench` and the
experiments' commands write those anew.
"""


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    return 0


@functools.cache
def page() -> str:
    """The whole page."""
    found = [(path, json.loads(path.read_text(encoding="utf-8"))) for path in results()]
    kept = [(path, result) for path, result in found if is_result(result)]
    return "\n".join([OPENING, overview(kept), *(section(path, it) for path, it in kept)])


def results() -> list[Path]:
    """The stored files, in the order of their names, the benchmarks first."""
    return [path for folder in FOLDERS for path in sorted(folder.glob("*.json"))]


def is_result(result: Any) -> bool:
    """Whether a file is the result of a benchmark or an experiment."""
    return isinstance(result, dict) and {"command", "machine", "versions"} <= set(result)


def name_of(result: Mapping[str, Any]) -> str:
    """The name of the benchmark or experiment."""
    return str(result.get("benchmark") or result.get("experiment"))


def title_of(path: Path, result: Mapping[str, Any]) -> str:
    """The heading: the known title, and the processor or the part in which files differ."""
    known = results_known.KNOWN.get(name_of(result))
    title = known.title if known else name_of(result).replace("_", " ").capitalize()
    name = name_of(result)
    if path.stem.startswith(f"{name}-"):
        processor = re.sub(r"\(\w+\)", "", result["machine"]["processor"])
        return f"{title}, on: {processor}"
    further = path.stem.removeprefix(f"{name}_").replace("_", " ")
    return title if path.stem.removeprefix(f"{name}_") == path.stem else f"{title}: {further}"


def command_of(path: Path, result: Mapping[str, Any]) -> str:
    """The command, from the root of the repository on."""
    python, script, *rest = str(result["command"]).split(" ")
    folder = path.parents[1]
    if "/" not in script and (folder / script).is_file():
        script = f"{folder.name}/{script}"
    return " ".join([python, script, *rest])


def overview(found: list[tuple[Path, Mapping[str, Any]]]) -> str:
    """A line for each file: whether all that was asked for holds."""
    rows = []
    for path, result in found:
        bounds = [results_figures.holds(it) for it in figures_of(result) if it.asked]
        verdicts = stored_verdicts(result)
        words = "in the table" if bounds or "bounds" in result else "nothing"
        if False in (*verdicts, *bounds):
            words = "**does not hold here**"
        elif verdicts or (bounds and None not in bounds):
            words = "holds"
        title = title_of(path, result)
        command = f"`{command_of(path, result)}`"
        rows.append((f"[{running(title)}](#{slug(title)})", words, command))
    return table(("result", "what was asked for", "command"), rows) + "\n"


def stored_verdicts(result: Mapping[str, Any]) -> list[bool]:
    """Whether what was asked for holds, as a file or its parts say it themselves."""
    parts = [it for it in result.values() if isinstance(it, dict)]
    told = [it["holds"] for it in ([result] if "holds" in result else parts) if "holds" in it]
    flat = [[*it.values()] if isinstance(it, dict) else [it] for it in told]
    return [bool(each) for it in flat for each in it]


def figures_of(result: Mapping[str, Any]) -> Sequence[results_figures.Figure]:
    """The rows of a result."""
    known = results_known.KNOWN.get(name_of(result))
    return known.figures(result) if known else results_figures.summaries(result)


def slug(title: str) -> str:
    """The anchor of a heading."""
    kept = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")


def section(path: Path, result: Mapping[str, Any]) -> str:
    """Heading, sentence, figures and provenance of one file."""
    known = results_known.KNOWN.get(name_of(result))
    figures = figures_of(result)
    sentence = known.sentence if known else str(result.get("claim", ""))
    if name_of(result) in results_fields.KNOWN:
        sentence = f"{sentence} {result.get('claim', '')}".strip()
    cells = [tuple(running(cell) for cell in figure) for figure in figures]
    blocks = [
        f"## {title_of(path, result)}",
        running(sentence),
        table(HEADS, cells),
        provenance(path, result),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def provenance(path: Path, result: Mapping[str, Any]) -> str:
    """Command, machine, versions, date and file, in one paragraph."""
    machine = result["machine"]
    place = (
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} "
        f"thread{'s' if machine['threads'] != 1 else ''}, {machine['memory_gib']} GiB, "
        f"{machine['system']}, load {machine['load']}"
    )
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    file = path.relative_to(ROOT).as_posix()
    told = f"`{command_of(path, result)}` on {result['date']}: {place}; {versions}. File: `{file}`."
    rows = [row for row in result.get("rows", ()) if "command" in row]
    runs = {(row["command"], row["date"], row["machine"]["processor"]): row for row in rows}
    runs.pop((result["command"], result["date"], machine["processor"]), None)
    others = [f"`{run}` on {date}, {where}" for run, date, where in runs]
    return " ".join([told, *(f"Other rows: {run}." for run in others)])


if __name__ == "__main__":
    sys.exit(main())
