"""Field and cost of large networks, from name to result, against torchinfo's summary.

EfficientNet-B7 at 600 x 600 and DenseNet-264 at 224 x 224, with batch 1. Ours builds the network
without weights and measures it; the peer builds it with weights and describes it. They are compared
without the building, and from name to result. Each runs in a fresh process each time, so that
nothing is warm but the imports, with one thread, and they take turns.

Bounds: each of field and cost, from name to result, under 1 s and under 50 MB of memory; without
the building, the cost of B7 takes a third of torchinfo's time at most, that of DenseNet-264 no more
than its time.

Run: python benchmarks/measuring.py [ROUNDS]
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from harness import Peer, alternate, ratio, summary, write

NETWORKS = {"efficientnet_b7": ((1, 3, 600, 600), 1 / 3), "densenet264": ((1, 3, 224, 224), 1.0)}
SECONDS, MEGABYTES = 1.0, 50.0

CHILD = """
import json, resource, sys, time
import convarium, torch
from convarium import measure
name, verb, shape = sys.argv[1], getattr(measure, sys.argv[2]), tuple(map(int, sys.argv[3:]))
convarium.create, torch.set_num_threads(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
with torch.device("meta"):
    network = convarium.create(name)
built = time.perf_counter()
found = verb(network, shape)
end = time.perf_counter()
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
answer = getattr(found, "macs", None) or found.size
taken = {"building": built - start, "measuring": end - built, "seconds": end - start}
print(json.dumps({**taken, "megabytes": grown * 1024 / 1e6, "result": answer}))
"""


def ours(name: str, verb: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Seconds and memory of one measurement in a process of its own."""
    command = [sys.executable, "-c", CHILD, name, verb, *map(str, shape)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def theirs(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Seconds of torchinfo's summary in a process of its own, its version beside them."""
    with Peer("summaries.py") as peer:
        versions = peer.answer()
        building = peer.ask(json.dumps({"name": name, "shape": shape}))["building"]
        found = peer.ask("summary")
    taken = {"measuring": found["seconds"], "seconds": building + found["seconds"]}
    return found | versions | taken


def compare(name: str, rounds: int) -> dict[str, Any]:
    """Seconds, megabytes and the ratio to the peer, of one network."""
    shape, bound = NETWORKS[name]
    taken: dict[str, list[dict[str, Any]]] = {"cost": [], "receptive_field": [], "torchinfo": []}
    calls = {
        "cost": lambda: taken["cost"].append(ours(name, "cost", shape)),
        "torchinfo": lambda: taken["torchinfo"].append(theirs(name, shape)),
        "receptive_field": lambda: taken["receptive_field"].append(
            ours(name, "receptive_field", shape)
        ),
    }
    alternate(calls, rounds)
    seconds = {key: [row["seconds"] for row in rows[1:]] for key, rows in taken.items()}
    memory = {key: max(row["megabytes"] for row in taken[key]) for key in list(taken)[:2]}
    measuring = {key: [row["measuring"] for row in rows[1:]] for key, rows in taken.items()}
    found = ratio(measuring["cost"], measuring["torchinfo"])
    medians = {key: summary(values) for key, values in seconds.items()}
    quick = all(medians[key]["median"] < SECONDS for key in memory)
    return {
        "network": name,
        "shape": shape,
        "seconds from name to result": medians,
        "seconds without building": {key: summary(values) for key, values in measuring.items()},
        "megabytes": memory,
        "macs": taken["cost"][0]["result"],
        "macs of torchinfo": taken["torchinfo"][0]["macs"],
        "torchinfo": taken["torchinfo"][0]["torchinfo"],
        "field": taken["receptive_field"][0]["result"],
        "ratio of cost to torchinfo": found,
        "ratio from name to result": ratio(seconds["cost"], seconds["torchinfo"]),
        "bound": bound,
        "holds": found <= bound and quick and max(memory.values()) < MEGABYTES,
    }


def main(rounds: int) -> int:
    """Compare each network and write the result."""
    rows = [compare(name, rounds) for name in NETWORKS]
    for row in rows:
        for kind in ("seconds from name to result", "seconds without building"):
            print(row["network"], kind, {k: round(v["median"], 3) for k, v in row[kind].items()})
        ratios = {key: round(row[key], 3) for key in row if key.startswith("ratio")}
        print(row["network"], ratios, {key: round(v, 1) for key, v in row["megabytes"].items()})
    holds = all(row["holds"] for row in rows)
    bounds = {"seconds": SECONDS, "megabytes": MEGABYTES}
    result = {"bounds": bounds, "rows": rows, "holds": holds}
    print(f"holds: {holds}; {write('measuring', result)}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
