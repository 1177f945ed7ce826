"""Air temperature of a warming century (scenario A1B), four times finer, judged by decade.

Run it with `python examples/warming.py`, after `make data`. The scenario is under the UK Open
Government Licence.
"""

from __future__ import annotations

import sys
from pathlib import Path

from downscaled import coarse_file, data_file, played


def main() -> int:
    """Run the commands one after the other; gives the exit code of the first that fails."""
    scenario = data_file("iris-sample-data/A1B_north_america.nc")
    run = Path("runs/warming")
    read = ["--variable", "air_temperature", "--rows", "0:36", "--columns", "0:48"]
    read += ["--factor", "4", "--no-weighted"]
    parts = ["--validation", "20", "--test", "60"]
    trained = played(
        ["train", str(scenario), "--task", "downscale", *read, *parts, "--out", str(run)],
        ["evaluate", str(run), str(scenario), "--part", "test"],
    )
    if trained:
        return trained
    target = Path("runs/warming-coarse.nc")
    coarse = coarse_file(scenario, ["air_temperature"], (4, 4), target, 0, 36)
    return played(["downscale", str(run), str(coarse), "-o", "runs/warming-fine.nc"])


if __name__ == "__main__":
    sys.exit(main())
