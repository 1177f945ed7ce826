"""Write studio/depth.json: what the studio shows of the experiment on plain and residual networks.

What is written here stands nowhere else: to change it, run the experiment, and run this again.

Run by `make results`, or: python tools/write_depth.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from convarium import files
from convarium.studio import depth

RESULT = Path(__file__).parents[1] / "experiments" / "results" / "plain_against_residual.json"


def main() -> int:
    """Write the file anew from the experiment's result."""
    files.write_text(depth.PATH, text())
    return 0


def text() -> str:
    """The file's content: one line, since nobody reads it but the studio."""
    return json.dumps(depth.shortened(files.read_json(RESULT))) + "\n"


if __name__ == "__main__":
    sys.exit(main())
