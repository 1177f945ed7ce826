"""What every benchmark shares: interleaved timing, provenance, and one JSON file a benchmark.

A benchmark says how fast something is against a named reference, timed in the same run: the two
take turns, so that a busy machine slows both, and the result is the median of the paired ratios.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from convarium.files import write_json
from convarium.graph import paired_timing
from convarium.measure.running import processor

RESULTS = Path(__file__).parent / "results"
PEERS = Path(__file__).parent / "peers"
PEER_PYTHON = PEERS.parents[1] / ".venv-peers" / "bin" / "python"

#: 97.5 % quantiles of Student's t, by degrees of freedom from 1 to 9.
_T: Final = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


class Peer:
    """A script of `peers/` in its own interpreter, which answers lines with JSON.

    Args:
        script: its file name.
        arguments: of its command line.
        python: the interpreter of `make env-peers`, or another.
    """

    def __init__(self, script: str, *arguments: str, python: Path = PEER_PYTHON) -> None:
        if not python.exists():
            raise SystemExit(f"There is no {python}; run: make env-peers")
        self.command = [str(python), str(PEERS / script), *arguments]
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        if self.process.wait():
            raise SystemExit(f"{self.command[1]} failed; is the environment of env-peers whole?")

    def answer(self) -> dict[str, Any]:
        """Its next line."""
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("The peer ended early; its error stands above.")
        return json.loads(line)

    def ask(self, line: str) -> dict[str, Any]:
        """Send a line and wait for the answer."""
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.answer()


def machine() -> dict[str, Any]:
    """Processor, cores, threads, memory, system and load; nothing that names the machine."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
        "memory_gib": round(pages / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load": round(os.getloadavg()[0], 2),
    }


def versions(*packages: str) -> dict[str, str]:
    """Python's version and those of the named packages."""
    found = {package: importlib.metadata.version(package) for package in packages}
    return {"python": platform.python_version(), **found}


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def alternate(
    calls: Mapping[str, Callable[[], object]], rounds: int, turn: float = 0.0
) -> dict[str, list[float]]:
    """Seconds of each call, `rounds` times in turns; a first round warms up and is dropped.

    With `turn`, a turn repeats its call for so many seconds and gives the median.
    """
    found = paired_timing(calls, rounds=rounds, warmup=1, turn=turn)
    return {name: list(timing.seconds) for name, timing in found.items()}


def summary(values: Sequence[float]) -> dict[str, float]:
    """Number, median and range of repeated values."""
    return {
        "n": len(values),
        "median": statistics.median(values),
        "lowest": min(values),
        "highest": max(values),
    }


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Mean and range of a number over seeds; from two on, Student's 95 % interval of the mean."""
    mean, n = statistics.mean(values), len(values)
    told = {"n": n, "mean": mean, "lowest": min(values), "highest": max(values)}
    if 1 < n <= len(_T) + 1:
        half = _T[n - 2] * statistics.stdev(values) / math.sqrt(n)
        told["interval"] = [mean - half, mean + half]
    return told


def cache() -> Path:
    """The folder that `make data` fills."""
    default = Path.home() / ".cache" / "convarium"
    return Path(os.environ.get("CONVARIUM_DATA", default))


def fetched(name: str) -> Path:
    """A folder of data in it."""
    folder = cache() / name
    if not folder.is_dir():
        raise SystemExit(f"There is no {folder}; run: make data")
    return folder


def ratio(ours: Sequence[float], reference: Sequence[float]) -> float:
    """Median of the ratios of values that were taken side by side."""
    return statistics.median(one / two for one, two in zip(ours, reference, strict=True))


def _without_machine(word: str) -> str:
    """A word of the command; a path of this machine only by its last part."""
    return Path(word).name if Path(word).is_absolute() else word


def provenance(*packages: str) -> dict[str, Any]:
    """Command, date, machine and versions, also those of the named packages."""
    return {
        "command": shlex.join(["python", *map(_without_machine, sys.argv)]),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions("convarium", "torch", *packages),
    }


def write(
    name: str,
    result: Mapping[str, Any],
    packages: Sequence[str] = (),
    *,
    by_processor: bool = False,
) -> Path:
    """Write `results/NAME.json`: the result beside command, machine and versions.

    Where the processor's arithmetic decides, such as in bf16, its name is part of the file's.
    """
    kind = "-".join(re.findall(r"\w+", re.sub(r"\(\w+\)", "", processor()))).lower()
    path = RESULTS / (f"{name}-{kind}.json" if by_processor else f"{name}.json")
    write_json(path, {"benchmark": name, **result, **provenance(*packages)})
    return path
