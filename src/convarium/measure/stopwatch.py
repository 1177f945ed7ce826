"""The latencies of many forms of networks: what was kept is not measured again."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch

from convarium.measure.candidates import Form
from convarium.measure.running import processor
from convarium.measure.speed import latency
from convarium.progress import Progress

_WARMUP: Final = 2
_ROUNDS: Final = 30
_SECONDS: Final = 0.4
_NOISY: Final = 1.25
_TRIES: Final = 3
_MEMORY_SHARE: Final = 0.5


@dataclass(frozen=True)
class FormTime:
    """Milliseconds of a pass: the median, what nine in ten take at most, and how many passes."""

    median_ms: float
    p90_ms: float
    n: int


def times(
    forms: Sequence[Form], *, threads: int | None = None, progress: Progress | None = None
) -> dict[str, FormTime]:
    """How long a pass of each form takes on the processor, by the form's label.

    Each is built with fresh weights and measured for 0.4 seconds, three passes at least. Where
    other work disturbs it (one pass in ten takes a quarter longer than the median) it is measured
    again, up to three times, and the fastest median counts: other work only ever adds. A form that
    would take more than half of the machine's memory is left out.

    Args:
        forms: in the order in which they are measured.
        threads: that torch computes with; None leaves its own number.
        progress: counts the forms.
    """
    count = torch.get_num_threads() if threads is None else threads
    if progress is not None:
        progress.total += len(forms)
    found = {}
    for form in forms:
        time = _one(form, count)
        if time is not None:
            found[form.label] = time
        if progress is not None:
            progress.advance(note=form.label)
    return found


def _one(form: Form, threads: int) -> FormTime | None:
    key = _key(form, threads)
    time = _checked(form.kept.get("latency", key))
    if time is None and form.memory < _MEMORY_SHARE * _memory():
        time = _measured(form, threads)
        form.kept.put("latency", key, asdict(time))
    return time


def _measured(form: Form, threads: int) -> FormTime:
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        network = form.build()
    tries: list[FormTime] = []
    while len(tries) < _TRIES:
        (row,) = latency(
            network,
            form.input_shape,
            threads=threads,
            warmup=_WARMUP,
            rounds=_ROUNDS,
            seconds=_SECONDS,
        ).rows
        tries.append(FormTime(row.median_ms, row.p90_ms, row.n))
        if row.p90_ms < _NOISY * row.median_ms:
            break
    return min(tries, key=lambda time: time.median_ms)


def _key(form: Form, threads: int) -> dict[str, Any]:
    """All that a latency depends on, as far as a program can see it."""
    conditions = {"threads": threads, "processor": processor(), "cores": os.cpu_count()}
    return form.key("layers", "models") | conditions


def _checked(found: Any) -> FormTime | None:
    """A time that was kept, if it is one."""
    if not isinstance(found, dict) or set(found) != {"median_ms", "p90_ms", "n"}:
        return None
    whole = all(type(n) in (int, float) and math.isfinite(n) and n > 0 for n in found.values())
    return FormTime(**found) if whole else None


def _memory() -> float:
    """Bytes of memory that the machine has."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return math.inf
