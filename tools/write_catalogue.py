"""Write models/catalogue.json: what each network is, by its family, and what it costs and sees.

What is written here stands nowhere else: to change a row, change the family's file, and run this
again.

Run by `make families`, or: python tools/write_catalogue.py
"""

from __future__ import annotations

import sys
from typing import Any

from convarium import files
from convarium.measure.facts import facts
from convarium.models import catalogue, registry

COLUMNS = ("macs", "field", "field_stride")


def main() -> int:
    """Write every row anew, from the families' variants."""
    rows = (row(variant.name) for variant in registry.VARIANTS)
    files.write_text(catalogue.PATH, catalogue.text(rows))
    return 0


def row(name: str) -> dict[str, Any]:
    """One row: what the family gives, and the facts for one sample of the row's own size."""
    described = catalogue.describe(name)
    shape = (1, *described["parts"][0]["shape"])
    measured = facts(catalogue.without_memory(name), shape)
    return {**described, **{column: measured[column] for column in COLUMNS}}


if __name__ == "__main__":
    sys.exit(main())
