"""What a causal convolutional network remembers, beside recurrent ones of equal parameters.

    python experiments/sequence_memory.py --tasks adding_200 digits permuted_digits
    python experiments/sequence_memory.py --tasks adding_600 --networks tcn tcn_far --seeds 0
    python experiments/sequence_memory.py --figure

TCN, LSTM and GRU learn each task from the same batches with the same steps of Adam; "tcn_far" is
the TCN with weights that hear what is far back from the start. The width of the recurrent ones is
that whose parameters are nearest the TCN's, and the LSTM's forget gates start open. Width, depth,
rate and clip were settled on the TCN's seed 0. For each task, network and seed: the score on test
sequences now and then while it learns, the last of which counts (no step is chosen by it),
parameters, and the processor's seconds of training on one thread.
Finished runs are kept: called again with the same settings, it goes on with what is
missing. The tasks are described in `memory_tasks.py`; "adding" is scored by its squared error,
"copying" by the mean loss of a step, images by the share of wrong answers.

References:
    Bai, Kolter, Koltun 2018, arXiv:1803.01271, table 1 and appendix A.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import evidence
import figures
import learning
import memory_figure
from convarium import models
from convarium.files import read_json, write_json
from memory_tasks import TASKS, Task

NETWORKS = ("tcn", "tcn_far", "lstm", "gru")
RESULT = evidence.RESULTS / "sequence_memory.json"


@dataclass(frozen=True)
class Settings:
    """How a task is learnt.

    Args:
        channels: of each block of the TCN.
        kernel_size: its taps.
        steps: of Adam.
        batch: sequences of a step.
        rates: the first learning rate of each network.
        clip: the largest norm of a gradient.
        dropout: of the TCN.
        length: of the sequences; None is the task's own.
    """

    channels: tuple[int, ...]
    kernel_size: int
    steps: int
    batch: int = 32
    rates: Mapping[str, float] = dataclasses.field(
        default_factory=lambda: dict.fromkeys(NETWORKS, 4e-3)
    )
    clip: float = 1.0
    dropout: float = 0.0
    length: int | None = None


SETTINGS = {
    "adding_200": Settings((27,) * 7, 6, 4000),
    "adding_600": Settings((28,) * 6, 8, 5000, rates=dict.fromkeys(NETWORKS, 2e-3)),
    "copying_1000": Settings((10,) * 8, 8, 2000),
    "digits": Settings((25,) * 5, 5, 3000, dropout=0.05),
    "permuted_digits": Settings((25,) * 5, 5, 3000, dropout=0.05),
    "fashion_rows": Settings((25,) * 4, 5, 5000, batch=64, dropout=0.05),
    "fashion_pixels": Settings((25,) * 8, 7, 4000, batch=64, dropout=0.05),
}


class Recurrent(nn.Module):
    """An LSTM or a GRU, read out at the last step or at every one.

    Shape:
        (B, C, T) -> (B, K), or (B, K, T)
    """

    def __init__(self, kind: str, channels: int, width: int, classes: int, *, every: bool) -> None:
        super().__init__()
        make = {"lstm": nn.LSTM, "gru": nn.GRU}[kind]
        self.recurrent = make(channels, width, batch_first=True)
        self.head = nn.Linear(width, classes)
        self.every = every
        if kind == "lstm":
            with torch.no_grad():  # Jozefowicz et al. 2015: forget gates that start open
                self.recurrent.bias_ih_l0[width : 2 * width].fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        found, _ = self.recurrent(x.transpose(1, 2))
        return self.head(found).transpose(1, 2) if self.every else self.head(found[:, -1])


def parameters(model: nn.Module) -> int:
    """Numbers that are learnt."""
    return sum(p.numel() for p in model.parameters())


def build(network: str, task: Task, settings: Settings) -> nn.Module:
    """A network with about the TCN's parameters."""

    def tcn(starts: str) -> nn.Module:
        return models.create(
            "tcn",
            in_channels=task.channels,
            num_classes=task.classes,
            channels=list(settings.channels),
            kernel_size=settings.kernel_size,
            dropout=settings.dropout,
            readout="every" if task.every else "last",
            starts=starts,
        )

    if network.startswith("tcn"):
        return tcn("far" if network == "tcn_far" else "near")
    with torch.device("meta"):
        goal = parameters(tcn("near"))
        counts = {
            width: parameters(
                Recurrent(network, task.channels, width, task.classes, every=task.every)
            )
            for width in range(1, 400)
        }
    best = min(counts, key=lambda width: abs(counts[width] - goal))
    return Recurrent(network, task.channels, best, task.classes, every=task.every)


def one_run(name: str, network: str, seed: int, settings: Settings) -> dict[str, Any]:
    """Learn a task once."""
    given = {} if settings.length is None else {"length": settings.length}
    task = TASKS[name](**given)
    learning.set_seed(seed)
    model = build(network, task, settings)
    rows: list[dict[str, float]] = []

    def watch(step: int) -> None:
        score = task.score(learning.outputs(model, task.test[0], 100))
        rows.append({"step": step, "score": score})

    seconds = learning.learn(
        model,
        task.batches(settings.batch, seed),
        task.loss,
        steps=settings.steps,
        rate=settings.rates[network],
        clip=settings.clip,
        watch=watch,
        every=max(1, settings.steps // 20),
    )
    return {
        "task": name,
        "network": network,
        "seed": seed,
        "length": task.length,
        "measure": task.measure,
        "chance": task.chance,
        "parameters": parameters(model),
        "score": rows[-1]["score"],
        "seconds": round(seconds, 1),
        "processor": evidence.provenance()["machine"]["processor"],
        "history": rows,
    }


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Score over the seeds by task and network, and how many times it is under chance."""
    found: dict[str, Any] = {}
    for name in TASKS:
        for network in NETWORKS:
            mine = [r for r in runs if (r["task"], r["network"]) == (name, network)]
            if mine:
                scores = evidence.over_seeds([run["score"] for run in mine])
                under = mine[0]["chance"] / max(scores["mean"], 1e-12)
                seconds = evidence.over_seeds([run["seconds"] for run in mine])["mean"]
                own = {**scores, "times_under_chance": under, "seconds": seconds}
                found.setdefault(name, {})[network] = own
    return found


def chosen(arguments: argparse.Namespace, name: str) -> Settings:
    """A task's settings, with what the command line says put over them."""
    given = {"steps": arguments.steps, "length": arguments.length, "batch": arguments.batch}
    return dataclasses.replace(SETTINGS[name], **{k: v for k, v in given.items() if v is not None})


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--length", type=int, help="of adding and copying")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--figure", action="store_true", help="draw what --out holds")
    return parser.parse_args()


def main() -> int:
    """Run what is missing, one after the other, and write after each."""
    arguments = parsed()
    if arguments.figure:
        evidence.say(" ".join(map(str, figures.write(arguments.out, memory_figure.draw))))
        return 0
    settings = {name: chosen(arguments, name) for name in arguments.tasks}
    before = read_json(arguments.out) if arguments.out.exists() else {"settings": {}, "runs": []}
    told = {name: _plain(each) for name, each in settings.items()}
    for name in told:
        if before["settings"].get(name, told[name]) != told[name]:
            raise SystemExit(f"{arguments.out} has {name} of other settings; give another --out.")
    runs, kept = list(before["runs"]), {**before["settings"], **told}
    done = {(run["task"], run["network"], run["seed"]) for run in runs}
    for seed in arguments.seeds:
        for name in arguments.tasks:
            for network in arguments.networks:
                if (name, network, seed) in done:
                    continue
                run = one_run(name, network, seed, settings[name])
                runs.append(run)
                write(arguments.out, kept, runs)
                evidence.say(
                    f"{name} {network} seed {seed}: {run['measure']} {run['score']:.3g} "
                    f"(chance {run['chance']:.3g}), {run['parameters']} parameters, "
                    f"{run['seconds']:.0f} s"
                )
    return 0


def write(path: Path, settings: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> None:
    """The whole result so far."""
    ordered = sorted(
        runs, key=lambda r: ([*TASKS].index(r["task"]), NETWORKS.index(r["network"]), r["seed"])
    )
    result = {
        "experiment": "sequence_memory",
        "claim": "A causal convolutional network remembers as far as it sees, where recurrent "
        "networks of equal parameters may forget (Bai et al. 2018, table 1).",
        "settings": settings,
        "summary": summary(ordered),
        "runs": ordered,
    }
    write_json(path, result | evidence.provenance())


def _plain(settings: Settings) -> dict[str, Any]:
    """As JSON gives it back."""
    own = dataclasses.asdict(settings)
    return {**own, "channels": list(own["channels"])}


if __name__ == "__main__":
    sys.exit(main())
