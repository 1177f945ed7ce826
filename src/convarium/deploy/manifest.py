"""`manifest.json` beside exported files: what each is, of what, by which versions, how fast here.

{"format_version": 1, "files": {"model.onnx": {...}, "model.xml": {...}}}
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from convarium import files
from convarium.errors import RunError
from convarium.graph import paired_timing
from convarium.measure.running import processor

NAME: Final = "manifest.json"
_FORMAT: Final = 1
_PACKAGES: Final = (
    *("convarium", "torch", "onnx", "onnxruntime", "onnxscript", "openvino", "nncf"),
    "executorch",
)
_ROUNDS, _SECONDS = 50, 0.5


def record(path: Path, entry: Mapping[str, Any]) -> None:
    """Write what is said of a file into the manifest beside it; entries of others stay.

    Raises:
        RunError: the manifest cannot be written.
    """
    import filelock

    place = path.parent / NAME
    with filelock.FileLock(path.parent / ".lock"):
        known = entries(path.parent)
        there = {name: value for name, value in known.items() if (path.parent / name).exists()}
        files.write_json(
            place, {"format_version": _FORMAT, "files": {**there, path.name: dict(entry)}}
        )


def entries(folder: Path) -> dict[str, Any]:
    """What a folder's manifest says of each file; nothing where there is none or it is damaged."""
    try:
        found = files.read_json(folder / NAME)
    except RunError:
        return {}
    known = found.get("files") if isinstance(found, dict) else None
    return known if isinstance(known, dict) else {}


def conditions() -> dict[str, Any]:
    """Versions and machine, by which a file or a time can be told from another."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {"versions": versions, "processor": processor(), "system": platform.system()}


def quick_latency(forward: Callable[[Tensor], Any], sample: Tensor) -> dict[str, Any]:
    """Milliseconds of a pass with one sample, the median of up to 50 passes in half a second."""
    calls = {"pass": lambda: forward(sample)}
    timing = paired_timing(calls, rounds=_ROUNDS, warmup=3, seconds=_SECONDS)["pass"]
    return {
        "batch_size": len(sample),
        "median_ms": 1e3 * timing.median,
        "p90_ms": 1e3 * timing.percentile(90),
        "n": timing.n,
        "threads": torch.get_num_threads(),
    }
