"""The reference job of downscaling: 16 x 16 cells of monthly winds to 64 x 64, by one command each.

Run it with `python examples/reference_field.py`, after `make data`. The winds are public domain.
"""

from __future__ import annotations

import sys
from pathlib import Path

from downscaled import coarse_file, data_file, played

ROWS, COLUMNS = (4, 68), (40, 104)  # from 80 S to 77.5 N, in the Pacific


def main() -> int:
    """Run the commands one after the other; gives the exit code of the first that fails."""
    winds = data_file("ferret-datasets/monthly_navy_winds.cdf")
    run = Path("runs/reference-field")
    read = ["--variable", "uwnd", "--predictors", "vwnd", "--factor", "4", "--no-weighted"]
    read += ["--rows", "{}:{}".format(*ROWS), "--columns", "{}:{}".format(*COLUMNS)]
    parts = ["--validation", "8", "--test", "24"]
    trained = played(
        ["train", str(winds), "--task", "downscale", *read, *parts, "--out", str(run)],
        ["evaluate", str(run), str(winds), "--part", "test"],
    )
    if trained:
        return trained
    path = Path("runs/reference-field-coarse.nc")
    coarse = coarse_file(winds, ["UWND", "VWND"], (4, 4), path, *ROWS)
    return played(["downscale", str(run), str(coarse), "-o", "runs/reference-field-fine.nc"])


if __name__ == "__main__":
    sys.exit(main())
