"""What training takes where another program has one of the cores, as the command sets its threads.

Torch's threads (GNU's OpenMP) wait for each other by spinning, for milliseconds as they come: where
another program has a core, they then spin against the thread that they wait for. The command lets
them sleep soon (GOMP_SPINCOUNT=10000). The same training, with and without, on an idle machine and
beside one other busy process; settings take turns. The other process is started as from another
terminal or by a service (setsid): Linux shares the cores among those first (autogroups), so that a
process of the same terminal disturbs far less.

Run: python benchmarks/neighbour.py [ROUNDS]
Bounds: at most half the time beside another program; at most 1.05 of it on an idle machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from harness import alternate, ratio, summary, write

TRAINING = ["train", "digits"]
EPOCHS = {"idle": 10, "beside another program": 1}
# 300000 is what GNU's OpenMP has where nothing is set
SPINS = {"as OpenMP has it": "300000", "as the command sets it": "10000"}
BOUNDS = {"idle": 1.05, "beside another program": 0.5}


def train(spins: str, epochs: int) -> None:
    """The command in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    with tempfile.TemporaryDirectory() as folder:
        out = ["--epochs", str(epochs), "--out", str(Path(folder) / "run")]
        subprocess.run(
            [sys.executable, "-m", "convarium", *TRAINING, *out],
            env=environment | {"GOMP_SPINCOUNT": spins},
            check=True,
            capture_output=True,
        )


def measured(kind: str, rounds: int) -> dict[str, object]:
    """Seconds of both settings, alone or beside a process that takes all of a core."""
    with ExitStack() as stack:
        if kind != "idle":
            busy = [sys.executable, "-c", "while True: pass"]
            other = subprocess.Popen(busy, start_new_session=True)
            stack.callback(other.wait)
            stack.callback(other.kill)
        calls = {name: lambda s=spins: train(s, EPOCHS[kind]) for name, spins in SPINS.items()}
        taken = alternate(calls, rounds)
    usual, ours = taken.values()
    found = ratio(ours, usual)
    return {
        "kind": kind,
        "epochs": EPOCHS[kind],
        "seconds": {name: summary(values) for name, values in taken.items()},
        "ratio": found,
        "bound": BOUNDS[kind],
        "holds": found <= BOUNDS[kind],
    }


def main(rounds: int) -> int:
    """Measure both kinds, write the result, and say whether the bounds hold."""
    rows = [measured(kind, rounds) for kind in EPOCHS]
    path = write("neighbour", {"rows": rows})
    for row in rows:
        medians = [round(told["median"], 1) for told in row["seconds"].values()]
        print(f"{row['kind']}: {medians} s, ratio {row['ratio']:.2f}, holds: {row['holds']}")
    print(path)
    return 0 if all(row["holds"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
