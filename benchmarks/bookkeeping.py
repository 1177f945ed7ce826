"""What a million files cost in memory: listing, labels, survey and split, in each process.

A table of a million generated rows is opened, gets the results of a survey (random digests, one
size; nothing is decoded), is split and written, and is sent to a spawned process; in one case as
many rows again have no label and are skipped. Each case runs in a process of its own and reports
the highest resident memory above that at its start. The reference is what a Python list of
(path, label) costs in the same run.

Bound: 200 MB at the highest point of every case.

Run: python benchmarks/bookkeeping.py [FILES]
"""

from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.queues
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from convarium import data
from convarium.data.dataset import Survey
from harness import write

BOUND_MB = 200.0
CLASSES = 1000


def status(field: str) -> float:
    """A field of /proc/self/status in MB (10^6 bytes)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(field)


def highest(work: Callable[[], object]) -> float:
    """MB by which resident memory rose at its highest during `work`."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    kept = work()
    rise = status("VmHWM") - before
    del kept
    return rise


def row(i: int) -> str:
    """A path of 52 letters and its label."""
    label = f"class_{i % CLASSES:04d}"
    return f"train/{label}/image_with_a_longer_name_{i:07d}.jpeg,{label}"


def listing(file: Path, files: int) -> None:
    """Write the table, and beside it one with as many rows again that have no label."""
    with open(file, "w", encoding="utf-8") as out:
        out.write("path,label\n")
        out.writelines(row(i) + "\n" for i in range(files))
    with open(with_skipped(file), "w", encoding="utf-8") as out:
        out.write("path,label\n")
        rows = map(row, range(files))
        out.writelines(f"{each}\n{each.partition(',')[0]},\n" for each in rows)


def with_skipped(file: Path) -> Path:
    """The second table."""
    return file.with_suffix(".skipped.csv")


def skipping(file: Path) -> data.Dataset:
    """The data set of the second table."""
    dataset = surveyed(with_skipped(file))
    if len(dataset.skipped) != len(dataset):
        raise ValueError(f"{len(dataset.skipped)} rows were skipped, not {len(dataset)}")
    return dataset


def surveyed(file: Path) -> data.Dataset:
    """The data set with a survey in which nothing was decoded; 1 % are copies."""
    dataset = data.open_dataset(file)
    n = len(dataset)
    digests = np.random.default_rng(0).integers(1, 2**63, n, dtype=np.uint64)
    digests[: n // 100] = digests[n // 100 : 2 * (n // 100)]
    sides = np.full(n, 256, np.int32), np.full(n, 256, np.int32)
    dataset._survey = Survey(digests, *sides, np.zeros(0, np.int64), 3)
    return dataset


def split(file: Path) -> data.Parts:
    """Open, survey, fingerprint, split and write, as `train` does."""
    dataset = surveyed(file)
    dataset.fingerprint()
    parts = data.split(dataset)
    parts.write(file.with_suffix(".parquet"))
    return parts


def plain_list(file: Path) -> list[tuple[str, int]]:
    """The reference: one tuple a file."""
    with open(file, encoding="utf-8") as rows:
        next(rows)
        pairs = (line.rstrip("\n").split(",") for line in rows)
        return [(path, int(label[-4:])) for path, label in pairs]


def spawned(file: Path) -> float:
    """What the data set adds to the highest memory of a spawned process that asks for each name."""
    warm = file.with_name("warm.csv")
    return _worker_peak(surveyed(file)) - _worker_peak(surveyed(warm))


def _worker_peak(dataset: data.Dataset) -> float:
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    process = context.Process(target=_worker, args=(dataset, results))
    process.start()
    peak: float = results.get()
    process.join()
    return peak


def _worker(dataset: data.Dataset, results: multiprocessing.queues.SimpleQueue[float]) -> None:
    for i in range(len(dataset)):
        dataset.name(i)
    results.put(status("VmHWM"))


def case(name: str, file: Path) -> float:
    """One case in this process."""
    warm = file.with_name("warm.csv")
    listing(warm, 2 * CLASSES)
    if name == "spawned process":
        return spawned(file)
    calls = {
        "open": surveyed,
        "open, as many skipped": skipping,
        "open, split and write": split,
        "list of (path, label)": plain_list,
    }
    calls[name](warm)
    return highest(lambda: calls[name](file))


def main(files: int) -> int:
    """Run every case in a process of its own and write the result."""
    names = (
        "open",
        "open, as many skipped",
        "open, split and write",
        "spawned process",
        "list of (path, label)",
    )
    rises = {}
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "listing.csv"
        listing(table, files)
        for name in names:
            command = [sys.executable, __file__, "--case", name, str(table)]
            found = subprocess.run(command, check=True, capture_output=True, text=True)
            rises[name] = float(found.stdout)
    reference = rises[names[-1]]
    holds = max(rises[name] for name in names[:-1]) < BOUND_MB * files / 1_000_000
    result = {
        "n_files": files,
        "highest_rise_mb": {name: round(rise, 1) for name, rise in rises.items()},
        "ratio_to_list": {name: round(rises[name] / reference, 3) for name in names[:-1]},
        "bounds": {"highest_rise_mb": BOUND_MB},
        "holds": holds,
    }
    path = write("bookkeeping", result, ["numpy", "pyarrow"])
    for name, rise in rises.items():
        print(f"{name:<24} {rise:7.1f} MB for {files} files")
    print(f"bounds hold: {holds}; {path}")
    return 0 if holds else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--case"]:
        print(case(sys.argv[2], Path(sys.argv[3])))
        sys.exit(0)
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
