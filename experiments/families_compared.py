"""The families side by side: what their parameters and multiply-adds are worth on this machine.

    python experiments/families_compared.py --threads 1
    python experiments/families_compared.py --input 3x32x32 --threads 1
    python experiments/families_compared.py resnet18 resnet50 --out compared.json

One network of each family, as `measure.compare_families` has it: parameters, multiply-adds, layers
on the longest way, the field after each stage, memory, the time of a pass, and published accuracy.
The result is a JSON file with its provenance, and beside it the table in Markdown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import evidence
from convarium.cli.show import shape
from convarium.files import write_json, write_text
from convarium.measure import FamilyRow, compare_families
from convarium.progress import Progress

HEADS = (
    "family", "network", "parameters, M", "GMACs", "layers", "field after each stage",
    "MB an image", "ms", "ms a GMAC", "top-1, %", "% a million parameters", "accuracy from",
)  # fmt: skip
WORDS = (0, 1, 5, 11)  # columns of words; the others hold numbers


def table(rows: Sequence[FamilyRow]) -> str:
    """The rows in Markdown, numbers to the right."""
    lines = [HEADS, tuple("---" if k in WORDS else "---:" for k in range(len(HEADS)))]
    lines += [cells(row) for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cells(row: FamilyRow) -> tuple[str, ...]:
    """A row in words; nothing where nothing is known."""
    name = row.name + "".join(f", {key}={value}" for key, value in row.options.items())
    source = f"{row.accuracy_data} at {row.accuracy_size}, {row.accuracy_source}"
    return (
        row.family,
        name,
        f"{row.parameters / 1e6:.2f}",
        f"{row.macs / 1e9:.3f}",
        str(row.depth),
        ", ".join(str(n) if n else "?" for n in row.fields),
        f"{row.memory_mb:.3g}",
        number(row.latency_ms),
        number(row.ms_per_gmac),
        "" if row.accuracy is None else f"{row.accuracy:.2f}",
        number(row.accuracy_per_million),
        "" if row.accuracy is None else source,
    )


def number(value: float | None) -> str:
    """Three digits."""
    return "" if value is None else f"{value:.3g}"


def main() -> int:
    """Measure, and write both files."""
    arguments = parsed()
    given = arguments.input
    whole = (arguments.batch, *((3, given, given) if isinstance(given, int) else given))
    with Progress(0, "compare", unit="networks") as progress:
        rows = compare_families(
            whole,
            names=arguments.names or None,
            threads=arguments.threads,
            fresh=arguments.fresh,
            progress=progress,
        )
    told: dict[str, Any] = {
        "experiment": "families_compared",
        "input_shape": list(whole),
        "threads": arguments.threads or torch.get_num_threads(),
        "rows": [row.to_json() for row in rows],
    }
    out = arguments.out or evidence.RESULTS / f"families_{'x'.join(map(str, whole[1:]))}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, told | evidence.provenance())
    write_text(out.with_suffix(".md"), table(rows))
    evidence.say(table(rows))
    return 0


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="networks; none takes one of each family")
    parser.add_argument(
        "--input", type=shape, default=(3, 224, 224), help="of a sample (3x224x224)"
    )
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--fresh", action="store_true", help="measure anew what was kept")
    parser.add_argument("--out", type=Path, help="the JSON file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
