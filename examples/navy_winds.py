"""Monthly winds over the oceans, four times finer: train, evaluate, and make a coarse file finer.

Run it with `python examples/navy_winds.py`, after `make data`. The winds are public domain.
"""

from __future__ import annotations

import sys
from pathlib import Path

from downscaled import coarse_file, data_file, played


def main() -> int:
    """Run the commands one after the other; gives the exit code of the first that fails."""
    winds = data_file("ferret-datasets/monthly_navy_winds.cdf")
    run = Path("runs/navy-winds")
    read = ["--variable", "uwnd", "--predictors", "vwnd", "--rows", "4:68"]
    read += ["--factor", "4", "--no-weighted"]
    parts = ["--validation", "8", "--test", "24"]
    trained = played(
        ["train", str(winds), "--task", "downscale", *read, *parts, "--out", str(run)],
        ["evaluate", str(run), str(winds), "--part", "test"],
        ["measure", str(run)],
    )
    if trained:
        return trained
    coarse = coarse_file(winds, ["UWND", "VWND"], (4, 4), Path("runs/navy-winds-coarse.nc"), 4, 68)
    fine = ["-o", "runs/navy-winds-fine.nc", "--draws", "3"]
    return played(["downscale", str(run), str(coarse), *fine])


if __name__ == "__main__":
    sys.exit(main())
