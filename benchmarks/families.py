"""Forward and backward of each family against the same architecture of torchvision or timm.

One training step on one thread (loss: mean square of the logits), the same batch for all. The three
networks live in one process and take turns step by step, so that they share one torch, one
allocator and one state of the machine. Where a network's weights happen to lie in memory moves its
time by some per cent for as long as a process lives, so the ratio is the median over pairs of steps
in several fresh processes, in half of which theirs is built first. Parameter counts must agree, so
that it is the same network.

The bound is for the architecture in plain PyTorch calls: the library's network, its activations
leaving their input alone as ours do, so that any map can be read. The ratio to the network as it is
shipped, where many activations overwrite their input, stands beside it.

Run: python benchmarks/families.py [ROUNDS A PROCESS [NAME ...]]

Names that are given are measured anew, and the rows of the others stay.
"""

from __future__ import annotations

import copy
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Any

from convarium.files import read_json
from harness import PEER_PYTHON, PEERS, RESULTS, alternate, summary, write

if TYPE_CHECKING:
    from torch import nn

BOUND = 1.03
SHAPE = (4, 3, 128, 128)
KINDS = ("plain", "shipped")
PROCESSES = 6

# Ours: the library and its name.
NETWORKS = {
    "alexnet": ("torchvision", "alexnet"),
    "vgg11": ("torchvision", "vgg11"),
    "vgg11_bn": ("torchvision", "vgg11_bn"),
    "resnet18": ("torchvision", "resnet18"),
    "resnet50": ("torchvision", "resnet50"),
    "resnetv2_50": ("timm", "resnetv2_50"),
    "densenet121": ("torchvision", "densenet121"),
    "squeezenet1_1": ("torchvision", "squeezenet1_1"),
    "mobilenet_v1": ("timm", "mobilenetv1_100"),
    "mobilenet_v2": ("torchvision", "mobilenet_v2"),
    "mobilenet_v3_large": ("torchvision", "mobilenet_v3_large"),
    "mnasnet1_0": ("torchvision", "mnasnet1_0"),
    "efficientnet_b0": ("torchvision", "efficientnet_b0"),
    "efficientnet_lite0": ("timm", "tf_efficientnet_lite0"),
    "efficientnet_v2_s": ("torchvision", "efficientnet_v2_s"),
    "convnext_tiny": ("torchvision", "convnext_tiny"),
}


def built(name: str) -> tuple[str, nn.Module]:
    """Distribution and network of the peer, in training mode, on this interpreter's torch.

    The packages of .venv-peers come last in the search path, so that torch is ours.
    """
    sys.path += [str(PEERS), *map(str, (PEER_PYTHON.parents[1] / "lib").glob("*/site-packages"))]
    from torchvision_operators import declare

    declare()
    library, theirs = NETWORKS[name]
    if library == "timm":
        import timm

        return library, timm.create_model(theirs).train()
    from torchvision.models import get_model

    return library, get_model(theirs).train()


def plain(network: nn.Module) -> nn.Module:
    """A copy of the network with no activation that overwrites its input."""
    network = copy.deepcopy(network)
    for module in network.modules():
        if getattr(module, "inplace", False):
            module.inplace = False
    return network


def child(name: str, rounds: int, turn: int) -> dict[str, Any]:
    """Seconds of each network's steps, in this process."""
    import torch

    import convarium

    torch.set_num_threads(1)
    ours = plain(convarium.create(name).train()) if turn % 2 else None
    library, shipped = built(name)
    networks = {"plain": plain(shipped), "shipped": shipped}
    networks["ours"] = ours or plain(convarium.create(name).train())
    counts = {key: sum(p.numel() for p in net.parameters()) for key, net in networks.items()}
    if len(set(counts.values())) > 1:
        raise SystemExit(f"{name} and {library}'s network are not the same: {counts}.")
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))

    def step(network: nn.Module) -> Callable[[], None]:
        def run() -> None:
            network.zero_grad()
            network(x).square().mean().backward()

        return run

    times = alternate({key: step(network) for key, network in networks.items()}, rounds)
    return {"version": importlib.metadata.version(library), "seconds": times}


def compare(name: str, rounds: int) -> dict[str, Any]:
    """Seconds of the three networks, and their ratios, over several fresh processes."""
    times: dict[str, list[float]] = {kind: [] for kind in ("ours", *KINDS)}
    for turn in range(PROCESSES):
        command = [sys.executable, __file__, "--process", name, str(rounds), str(turn)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout)
        for kind in times:
            times[kind] += found["seconds"][kind]
    seconds = {key: summary(values) for key, values in times.items()}
    library, theirs = NETWORKS[name]
    row = {"network": name, "peer": f"{library} {found['version']} {theirs}", "seconds": seconds}
    for kind in KINDS:
        pairs = [one / two for one, two in zip(times["ours"], times[kind], strict=True)]
        row[f"ratio to {kind}"] = summary(pairs)
        places = range(0, len(pairs), rounds)
        row[f"ratios to {kind} by process"] = [median(pairs[k : k + rounds]) for k in places]
    return row


def kept_rows(names: list[str]) -> dict[str, dict[str, Any]]:
    """Rows of an earlier call for the networks that are not asked for now."""
    path = RESULTS / "families.json"
    rows = read_json(path)["rows"] if path.exists() else []
    return {row["network"]: row for row in rows if row["network"] not in names}


def main(rounds: int, names: list[str]) -> int:
    """Compare each network and write the result."""
    if not PEER_PYTHON.exists():
        raise SystemExit(f"There is no {PEER_PYTHON}; run: make env-peers")
    rows = kept_rows(names)
    for name in names:
        rows[name] = compare(name, rounds)
        ratios = {kind: rows[name][f"ratio to {kind}"]["median"] for kind in KINDS}
        print(name, *(f"{kind} {value:.3f}" for kind, value in ratios.items()), flush=True)
    listed = [rows[name] for name in NETWORKS if name in rows]
    holds = all(row["ratio to plain"]["median"] <= BOUND for row in listed)
    result = {"shape": SHAPE, "processes": PROCESSES, "bound": BOUND, "rows": listed}
    result["holds"] = holds
    print(f"holds: {holds}; {write('families', result)}")
    return 0 if holds else 1


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["--process"]:
        print(json.dumps(child(arguments[1], int(arguments[2]), int(arguments[3]))))
        sys.exit(0)
    sys.exit(main(int(arguments[0]) if arguments else 4, arguments[1:] or list(NETWORKS)))
