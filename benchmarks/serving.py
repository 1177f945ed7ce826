"""A server against a loop in a process: throughput, overload, new versions, and a graceful end.

Photographs of 500x375 as JPEG, single ones in each request, by clients on the cores of the server.
The loop decodes the same bytes by the same steps and runs the same form of the network, one by one
and in batches of 16; the faster of both counts. Server and loop take turns.

Bounds: at least .85 (ResNet-50) and .60 (MobileNetV1) of the loop's images a second; with requests
at twice the rate that the server reaches none unanswered, the 99th percentile of those let in under
the deadline, and memory that grows by less than 5 %; 20 new versions and an end under load without
a request lost. Requests of the overload are due at times of a clock, and their seconds count from
then, also where the clients are late. Memory is looked at twice a second; the median of the last
tenth of the time is held against that of the first, after as much time to settle. New versions have
other weights and files, and come by a link, as docs/deployment.md has it. The networks have their
initial weights, so that int8 is not judged here.

Run: python benchmarks/serving.py [--networks resnet50 ...] [--minutes 0.5] [--seconds 8]
For the numbers of ten minutes: python benchmarks/serving.py --minutes 10
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clients import Load, asking, at_rate, closed, resident, server, version
from convarium import data, deploy, models, predict
from convarium.files import read_json
from convarium.serve.served import Served, open_served
from harness import RESULTS, provenance, ratio, summary, write
from loader import write_photographs

BOUNDS = {"resnet50": 0.85, "mobilenet_v1": 0.60}
BATCH = 16
DEADLINE = 2.0
SETTLE = 0.2  # of the overload, before its time begins
LOOKS = 0.5  # seconds between two looks at the memory
GROWTH = 0.05
PACKAGES = ("fastapi", "uvicorn", "openvino", "simplejpeg", "pillow")
POINTS = 1000.0  # nothing that a form answers is too wrong


def main() -> int:
    """Measure each network and write its row; those of other networks stay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=[*BOUNDS])
    parser.add_argument("--engines", nargs="+", default=["openvino"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="of a round")
    parser.add_argument("--minutes", type=float, default=0.5, help="of overload")
    parser.add_argument("--reloads", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        photographs = Path(name) / "photographs"
        photographs.mkdir()
        write_photographs(photographs, 64)
        bodies = [path.read_bytes() for path in sorted(photographs.rglob("*.jpg"))]
        path = RESULTS / "serving.json"
        rows = {row["network"]: row for row in read_json(path)["rows"]} if path.exists() else {}
        for network in arguments.networks:
            row = asyncio.run(measured(network, Path(name) / network, bodies, arguments))
            rows[network] = {**row, **provenance()}
            write("serving", {"rows": list(rows.values()), "bounds": BOUNDS}, PACKAGES)
    holds = {network: rows[network]["holds"] for network in arguments.networks}
    print(f"{path}; within the bounds: {holds}")
    return 0 if all(holds.values()) else 1


def within(name: str, row: dict[str, Any]) -> bool:
    """Whether a network meets every bound."""
    over, new, end = row["overload"], row["reloads"], row["end"]
    none = over["unanswered"], new["lost"], end["lost"], end["exit_code"]
    return (
        not any(none)
        and new["taken"] == new["versions"]
        and row["share_of_loop"] >= BOUNDS[name]
        and over["let_in_since_due_ms"][99] < over["deadline_ms"]
        and over["memory_growth"] < GROWTH
    )


async def measured(
    name: str, folder: Path, bodies: Sequence[bytes], arguments: argparse.Namespace
) -> dict[str, Any]:
    """One network: the ratio of throughputs, then overload, new versions and the end."""
    runs = [folder.with_name(f"{name}-{seed}") for seed in range(2)]
    for seed, run in enumerate(runs):
        make_run(name, run, arguments.engines, seed=seed)
    folder.symlink_to(runs[0])
    served = open_served(name, folder)
    async with server(folder, "--watch", "0", "--deadline-ms", str(1000 * DEADLINE)) as process:
        rates = await turns(process, served, bodies, arguments)
        best = "loop" if np.median(rates["loop"]) > np.median(rates["batches"]) else "batches"
        share = ratio(rates["server"], rates[best])
        print(
            f"{name}: {share:.3f} of the {best}, {summary(rates['server'])['median']:.1f} a second"
        )
        rate = 2 * float(np.median(rates["server"]))
        overload = await overloaded(process, bodies, rate, 60 * arguments.minutes)
        print(f"{name}: overload: {overload}")
        reloads = await reloaded(process, folder, runs, bodies, arguments.reloads)
        print(f"{name}: new versions: {reloads}")
        end = await ended(process, bodies)
        print(f"{name}: end: {end}")
    row = {
        "network": name,
        "form": served.form,
        "share_of_loop": share,
        "reference": best,
        "images_per_second": {key: summary(values) for key, values in rates.items()},
        "overload": overload,
        "reloads": reloads,
        "end": end,
    }
    return {**row, "holds": within(name, row)}


def make_run(name: str, folder: Path, engines: Sequence[str], *, seed: int = 0) -> None:
    """A run of a network with its initial weights, tuned for this machine."""
    torch.manual_seed(seed)
    network = models.create(name).eval()
    classes = tuple(f"class {k}" for k in range(1000))
    moments = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    steps = data.Preprocessing((3, 224, 224), *moments, classes=classes, resize=256)
    models.save(network, folder, {"task": "classification", **steps.to_card()})
    samples = torch.rand(16, *steps.input_shape)
    with torch.no_grad():
        labelled = [(samples, network(samples).argmax(1))]
    found = deploy.tune(
        network,
        predict.open_run(folder).tuned,
        samples=samples[:4],
        calibration=samples,
        labelled=labelled,
        engines=engines,
        points=POINTS,
        seconds=600.0,
    )
    print(f"{name}: {found.sentence()}")


async def turns(
    process: subprocess.Popen[str],
    served: Served,
    bodies: Sequence[bytes],
    arguments: argparse.Namespace,
) -> dict[str, list[float]]:
    """Images a second of the server and of both loops, side by side, each first once in three."""

    async def asked_for(seconds: float) -> float:
        begun = time.perf_counter()
        load = await closed(process, bodies, seconds)
        if not set(load.statuses) <= {"200", "503"}:
            raise SystemExit(f"The server answered {load.statuses}.")
        return len(load.seconds) / (time.perf_counter() - begun)

    async def loop(seconds: float, size: int) -> float:
        return looped(served, bodies, size, seconds)

    calls: dict[str, Callable[[float], Any]] = {
        "server": asked_for,
        "loop": lambda seconds: loop(seconds, 1),
        "batches": lambda seconds: loop(seconds, BATCH),
    }
    for call in calls.values():
        await call(min(2.0, arguments.seconds))
    rates: dict[str, list[float]] = {name: [] for name in calls}
    order = collections.deque(calls)
    for _ in range(arguments.rounds):
        for name in order:
            rates[name].append(await calls[name](arguments.seconds))
        order.rotate(-1)
    return rates


def looped(served: Served, bodies: Sequence[bytes], size: int, seconds: float) -> float:
    """Images a second of a loop that decodes, prepares and computes, `size` at once."""
    steps, count, start = served.preprocessing, 0, time.perf_counter()
    while time.perf_counter() < start + seconds:
        some = [bodies[(count + k) % len(bodies)] for k in range(size)]
        served.records([steps.apply(data.read_image(body)) for body in some])
        count += size
    return count / (time.perf_counter() - start)


async def overloaded(
    process: subprocess.Popen[str], bodies: Sequence[bytes], rate: float, seconds: float
) -> dict[str, Any]:
    """Requests at a rate, whatever becomes of those before, and the memory of the server."""
    await at_rate(process, bodies, rate, SETTLE * seconds)
    memory, over = [], asyncio.Event()

    async def look() -> None:
        while not over.is_set():
            memory.append(resident(process))
            await asyncio.sleep(LOOKS)

    looking = asyncio.ensure_future(look())
    sent, load = await at_rate(process, bodies, rate, seconds)
    over.set()
    await looking
    tenth = max(1, len(memory) // 10)
    before, after = statistics.median(memory[:tenth]), statistics.median(memory[-tenth:])
    answered = load.statuses.get("200", 0) + load.statuses.get("503", 0)
    return {
        "seconds": seconds,
        "rate": rate,
        "sent": sent,
        "statuses": load.statuses,
        "unanswered": sent - answered,
        "let_in_ms": percentiles(load.seconds),
        "let_in_since_due_ms": percentiles(load.since_due),
        "deadline_ms": 1e3 * DEADLINE,
        "memory_mib": [before / 2**20, after / 2**20],
        "memory_peak_mib": max(memory) / 2**20,
        "memory_growth": after / before - 1,
    }


def percentiles(seconds: Sequence[float]) -> dict[int, float]:
    """Median, 90th and 99th percentile in milliseconds; none of no requests."""
    return {p: 1e3 * float(np.percentile(seconds, p)) for p in (50, 90, 99) if seconds}


async def reloaded(
    process: subprocess.Popen[str],
    link: Path,
    runs: Sequence[Path],
    bodies: Sequence[bytes],
    count: int,
) -> dict[str, Any]:
    """New versions under load: how many were taken, and what the clients were answered."""
    load, on, taken = Load(), [True], 0
    clients = asyncio.ensure_future(asking(process, bodies, load, lambda: bool(on)))
    before, times = await version(process), []
    for number in range(count):
        new = link.with_name("next")
        new.symlink_to(runs[(number + 1) % len(runs)])
        new.replace(link)
        process.send_signal(signal.SIGHUP)
        start = time.perf_counter()
        while (now := await version(process)) == before and time.perf_counter() < start + 60:
            await asyncio.sleep(0.05)
        times.append(time.perf_counter() - start)
        taken, before = taken + (now != before), now
    on.clear()
    await clients
    told = {"versions": count, "taken": taken, "statuses": load.statuses}
    told |= {"seconds": summary(times), "let_in_ms": percentiles(load.seconds)}
    return {**told, "refused": load.statuses.get("503", 0), "lost": lost(load)}


def lost(load: Load) -> int:
    """Requests that were neither answered nor told to come again."""
    return sum(n for status, n in load.statuses.items() if status not in ("200", "503"))


async def ended(process: subprocess.Popen[str], bodies: Sequence[bytes]) -> dict[str, Any]:
    """A graceful end under load: the exit code, its seconds, and what the clients were answered."""
    load = Load()
    clients = asyncio.ensure_future(asking(process, bodies, load, lambda: True))
    await asyncio.sleep(2.0)
    start = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    await clients
    code = await asyncio.to_thread(process.wait, 30)
    taken = time.perf_counter() - start
    return {"exit_code": code, "seconds": taken, "statuses": load.statuses, "lost": lost(load)}


if __name__ == "__main__":
    raise SystemExit(main())
