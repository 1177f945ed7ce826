"""The matrix of a 64 -> 64 3x3 convolution on 32x32: time and memory, against scipy's own pieces.

The reference is how the matrix is put together with scipy.sparse alone: for each tap t, the
Kronecker product of its weights (C', C) with the shift of the map by t, and their sum. Each matrix
is built in a process of its own, the two in turns; the time is that of the first call, and the
growth is how far resident memory rose above where it stood before it (VmHWM and VmRSS of
/proc/self/status), the matrix included. Both must give what the layer gives on a random input.

Bounds: ours under 2 s and under 500 MB.

Run: python benchmarks/conv_matrix.py [ROUNDS]
"""

from __future__ import annotations

import gc
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import nn

from convarium.measure.operator import conv_matrix
from harness import ratio, seconds, summary, write

CHANNELS, SIZE = 64, 32
BOUNDS = {"seconds": 2.0, "growth_mb": 500.0}
TOLERANCE = 1e-5


def kronecker(layer: nn.Conv2d) -> scipy.sparse.csr_array:
    """The sum over taps of weights x shift of rows x shift of columns."""
    weight = layer.weight.detach().numpy()

    def shift(by: int) -> scipy.sparse.csr_array:
        return scipy.sparse.eye_array(SIZE, k=by, format="csr", dtype=np.float32)

    parts = [
        scipy.sparse.kron(
            weight[:, :, a, b], scipy.sparse.kron(shift(a - 1), shift(b - 1)), format="csr"
        )
        for a, b in itertools.product(range(3), repeat=2)
    ]
    total = parts.pop()
    while parts:
        total = total + parts.pop()
    return total


BUILDERS = {
    "convarium": lambda layer: conv_matrix(layer, (1, CHANNELS, SIZE, SIZE)),
    "scipy.sparse.kron": kronecker,
}


def status(field: str) -> float:
    """A field of /proc/self/status in MB (10^6 bytes)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(field))


def build(name: str) -> dict[str, float]:
    """Build one matrix in this process and check it against the layer."""
    torch.manual_seed(0)
    layer = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
    x = torch.randn(1, CHANNELS, SIZE, SIZE)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before, made = status("VmRSS"), []
    elapsed = seconds(lambda: made.append(BUILDERS[name](layer)))
    growth, (matrix,) = status("VmHWM") - before, made
    expected = layer(x).detach().flatten().numpy()
    return {
        "seconds": elapsed,
        "growth_mb": growth,
        "entries": int(matrix.nnz),
        "difference": float(abs(matrix @ x.flatten().numpy() - expected).max()),
    }


def measure(name: str) -> dict[str, float]:
    """The figures of one way, from a new process."""
    command = [sys.executable, __file__, "--build", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def main(rounds: int) -> int:
    """Build with both in turns, write the result, and say whether the bounds hold."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in BUILDERS}
    for turn in range(rounds):
        for name in sorted(BUILDERS, reverse=bool(turn % 2)):
            found[name].append(measure(name))
    rows: dict[str, Any] = {
        name: {figure: summary([run[figure] for run in runs]) for figure in BOUNDS}
        for name, runs in found.items()
    }
    ours, theirs = found.values()
    difference = max(run["difference"] for runs in found.values() for run in runs)
    entries = {run["entries"] for runs in found.values() for run in runs}
    within = all(rows["convarium"][figure]["median"] <= bound for figure, bound in BOUNDS.items())
    result = {
        "layer": f"Conv2d({CHANNELS}, {CHANNELS}, 3, padding=1) on {SIZE}x{SIZE}, float32",
        "entries": sorted(entries),
        "n": rounds,
        "ways": rows,
        "ratio": {
            figure: ratio([run[figure] for run in ours], [run[figure] for run in theirs])
            for figure in BOUNDS
        },
        "difference_from_layer": difference,
        "bounds": {**BOUNDS, "difference_from_layer": TOLERANCE},
        "holds": within and difference <= TOLERANCE and len(entries) == 1,
    }
    path = write("conv_matrix", result, ["numpy", "scipy"])
    for name, row in rows.items():
        print(
            f"{name:<18} {row['seconds']['median']:6.2f} s, "
            f"{row['growth_mb']['median']:6.0f} MB (n = {rounds})"
        )
    print(f"difference from the layer {difference:.0e}; holds: {result['holds']}; {path}")
    return 0 if result["holds"] else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--build"]:
        print(json.dumps(build(sys.argv[2])))
        sys.exit()
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
