"""The command in a process that dies at a chosen shard: `python mortal.py SHARD WORDS...`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from convarium import files
from convarium.cli import main


def dying(shard: int) -> None:
    """Let the process die when the shard is written, and not yet listed."""
    write = files.write_jsonl

    def listed(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
        if path.name == f"_part-{shard:05}.skipped.jsonl":
            os.kill(os.getpid(), signal.SIGKILL)
        write(path, rows)

    files.write_jsonl = listed


if __name__ == "__main__":
    dying(int(sys.argv[1]))
    raise SystemExit(main(sys.argv[2:]))
