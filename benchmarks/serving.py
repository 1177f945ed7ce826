"""A server against a loop in a process: throughput, overload, new versions, and a graceful end.

Photographs of 500x375 as JPEG, single ones in each request, by clients on the cores of the server.
The loop decodes the same bytes by the same steps and runs the same form of the network, one by one
and in batches of 16; the faster of both counts. Server and loop take turns.

Bounds: at least .85 (ResNet-50) and .60 (MobileNetV1) of the loop's images a second; with requests
at twice the rate that the server reaches none unanswered, the 99th percentile of those let in under
the deadline, and memory that grows by less than 5 %; 20 new versions and an end under load without
a request lost. The networks have their initial weights, so that int8 is not judged here.

Run: python benchmarks/serving.py [--networks resnet50 ...] [--minutes 0.5] [--seconds 8]
For the numbers of ten minutes: python benchmarks/serving.py --minutes 10
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clients import Load, asked, asking, closed, resident, server, version
from convarium import data, deploy, models, predict
from convarium.files import read_json, write_json
from convarium.serve.served import Served, open_served
from harness import ratio, summary, write
from loader import write_photographs

BOUNDS = {"resnet50": 0.85, "mobilenet_v1": 0.60}
BATCH = 16
DEADLINE = 2.0
WARM = 0.3  # of the overload, before memory is looked at for the first time
POINTS = 1000.0  # nothing that a form answers is too wrong


def main() -> None:
    """Measure each network and write the result."""
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
        rows = [
            asyncio.run(measured(network, Path(name) / network, bodies, arguments))
            for network in arguments.networks
        ]
    packages = ("fastapi", "uvicorn", "openvino", "simplejpeg", "pillow")
    print(write("serving", {"rows": rows, "bounds": BOUNDS}, packages))


async def measured(
    name: str, folder: Path, bodies: Sequence[bytes], arguments: argparse.Namespace
) -> dict[str, Any]:
    """One network: the ratio of throughputs, then overload, new versions and the end."""
    make_run(name, folder, arguments.engines)
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
        reloads = await reloaded(process, folder, bodies, arguments.reloads)
        print(f"{name}: new versions: {reloads}")
        end = await ended(process, bodies)
        print(f"{name}: end: {end}")
    return {
        "network": name,
        "form": served.form,
        "share_of_loop": share,
        "reference": best,
        "images_per_second": {key: summary(values) for key, values in rates.items()},
        "overload": overload,
        "reloads": reloads,
        "end": end,
    }


def make_run(name: str, folder: Path, engines: Sequence[str]) -> None:
    """A run of a network with its initial weights, tuned for this machine."""
    torch.manual_seed(0)
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
    """Images a second of the server and of both loops, side by side."""
    rates: dict[str, list[float]] = {"server": [], "loop": [], "batches": []}
    await closed(process, bodies, 2.0)
    for _ in range(arguments.rounds):
        rates["loop"].append(looped(served, bodies, 1, arguments.seconds))
        begun = time.perf_counter()
        load = await closed(process, bodies, arguments.seconds)
        if not set(load.statuses) <= {"200", "503"}:
            raise SystemExit(f"The server answered {load.statuses}.")
        rates["server"].append(len(load.seconds) / (time.perf_counter() - begun))
        rates["batches"].append(looped(served, bodies, BATCH, arguments.seconds))
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
    """Requests at a rate, whatever becomes of those before; memory after a while and at the end."""
    load, free, running = Load(), [], set()

    async def one(body: bytes) -> None:
        connection: Any = None
        while free and connection is None:  # one that the server closed meanwhile is none
            connection = free.pop()
            connection = None if connection[0].at_eof() else connection
        connection = connection or await asyncio.open_connection("127.0.0.1", process.port)
        if await asked(connection, body, load):
            free.append(connection)

    start, sent, before = time.perf_counter(), 0, 0
    while time.perf_counter() < start + seconds:
        if not before and time.perf_counter() > start + WARM * seconds:
            before = resident(process)
        due = int((time.perf_counter() - start) * rate)
        for sent in range(sent, due):  # noqa: B020
            task = asyncio.ensure_future(one(bodies[sent % len(bodies)]))
            running.add(task)
            task.add_done_callback(running.discard)
        sent = due
        await asyncio.sleep(0.01)
    await asyncio.gather(*running)
    after = resident(process)
    return {
        "seconds": seconds,
        "rate": rate,
        "sent": sent,
        "statuses": load.statuses,
        "unanswered": sent - load.statuses.get("200", 0) - load.statuses.get("503", 0),
        "let_in_ms": {p: 1e3 * float(np.percentile(load.seconds, p)) for p in (50, 90, 99)},
        "deadline_ms": 1e3 * DEADLINE,
        "memory_mib": [before / 2**20, after / 2**20],
        "memory_growth": after / before - 1,
    }


async def reloaded(
    process: subprocess.Popen[str], folder: Path, bodies: Sequence[bytes], count: int
) -> dict[str, Any]:
    """New versions under load: how many were taken, and what the clients were answered."""
    load, on, taken = Load(), [True], 0
    clients = asyncio.ensure_future(asking(process, bodies, load, lambda: bool(on)))
    before = await version(process)
    for number in range(count):
        write_json(folder / "card.json", read_json(folder / "card.json") | {"number": number})
        process.send_signal(signal.SIGHUP)
        until = time.perf_counter() + 60
        while (now := await version(process)) == before and time.perf_counter() < until:
            await asyncio.sleep(0.05)
        taken, before = taken + (now != before), now
    on.clear()
    await clients
    lost = sum(n for status, n in load.statuses.items() if status not in ("200", "503"))
    return {"versions": count, "taken": taken, "statuses": load.statuses, "lost": lost}


async def ended(process: subprocess.Popen[str], bodies: Sequence[bytes]) -> dict[str, Any]:
    """A graceful end under load: the exit code, its seconds, and what the clients were answered."""
    load = Load()
    clients = asyncio.ensure_future(asking(process, bodies, load, lambda: True))
    await asyncio.sleep(2.0)
    start = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    await clients
    code = await asyncio.to_thread(process.wait, 30)
    lost = sum(n for status, n in load.statuses.items() if status not in ("200", "503"))
    taken = time.perf_counter() - start
    return {"exit_code": code, "seconds": taken, "statuses": load.statuses, "lost": lost}


if __name__ == "__main__":
    main()
