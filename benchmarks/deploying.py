"""What tuning is worth: the chosen form against eager torch, and against every single form.

Run by `make bench`, or: python benchmarks/deploying.py [--networks resnet50 ...] [--goals latency]
Needs the extras openvino, quantise and onnx; n, machine and versions stand in the result.

Where speed is measured, the networks have their initial weights, and bf16 and int8 count whatever
they answer; float32 forms must equal the network as always. Accuracy is another goal: the same
networks, really trained on ten topics of clip art at 64 pixels (`--trained` keeps them, so that it
is done once), are tuned as users' are, where only what is shown to lose less than half a point of
accuracy counts, by every second picture that did not train; what the chosen form loses on the
others, which neither admitted nor chose it, is told with its interval, in a result of its own, as
is what each form lost where it was admitted. It needs no quiet machine.

All forms take turns, and a turn repeats the form's pass for a tenth of a second without its first:
single passes among twenty networks would find their weights out of the cache, and a core taken by
the threads that the runtime before them leaves spinning, which is nobody's use.
Bounds: geometric mean 5 times eager's at batch 1; not more than 1.03 of the best single form.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from clipart import table, trained
from convarium import data, deploy, models
from convarium.cli.labelled import Labelled, samples_of
from convarium.deploy.accuracy import drop, right_answers
from convarium.deploy.forms import FORMS, Form, Maker
from harness import alternate, cache, ratio, summary, write

NETWORKS = ("resnet50", "efficientnet_b0", "mobilenet_v1", "densenet121", "convnext_tiny")
GOALS = {"latency": 1, "throughput": 16}
ACCURACY = "accuracy"
TURN = 0.1  # seconds
POINTS = 1000.0  # nothing that a form answers is too wrong


def main() -> None:
    """Tune each network for every goal, time all forms in turns, and write the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    goals = [*GOALS, ACCURACY]
    parser.add_argument("--goals", nargs="+", choices=goals, default=goals)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--engines", nargs="+", default=list(FORMS))
    parser.add_argument("--trained", type=Path, default=cache() / "trained")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--trained-side", type=int, default=64)
    parser.add_argument("--pictures", type=int, help="to train with and to judge by, at most")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in arguments.networks:
        for goal in (goal for goal in arguments.goals if goal != ACCURACY):
            rows.append(measured(name, goal, arguments))
            keep("deploying", rows)
    for goal in dict.fromkeys(row["goal"] for row in rows):
        found = [row["times_faster"] for row in rows if row["goal"] == goal]
        print(f"{goal}: {statistics.geometric_mean(found):.2f} times as fast as eager torch")
    losses: list[dict[str, Any]] = []
    for name in arguments.networks if ACCURACY in arguments.goals else ():
        losses.append(judged(name, arguments))
        keep("deploying_accuracy", losses)


def keep(name: str, rows: list[dict[str, Any]]) -> None:
    """Write the rows so far."""
    versions = ("onnxruntime", "openvino", "nncf")
    print(write(name, {"rows": rows}, versions, by_processor=True))


def measured(name: str, goal: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One network for one goal: what tuning chose, and what all forms take side by side."""
    torch.manual_seed(0)
    network = models.create(name).eval()
    samples = torch.rand(16, 3, arguments.side, arguments.side)
    with torch.no_grad():
        labelled = [(samples, network(samples).argmax(1))]
    size = GOALS[goal]
    with tempfile.TemporaryDirectory() as folder:
        found = deploy.tune(
            network,
            folder,
            samples=samples[:4],
            calibration=samples,
            labelled=labelled,
            goal=goal,
            engines=arguments.engines,
            points=POINTS,
            seconds=1800.0,
        )
        written = {row.form.file for row in found.rows if row.form.file is not None}
        maker = Maker(
            network,
            Path(folder),
            samples=samples,
            calibration=samples,
            labelled=labelled,
            points=POINTS,
            finetune=0,
            card=None,
            until=0.0,
            written=written,
        )
        forms = {row.form.label: row.form for row in found.rows}
        calls = {label: call(maker, form, samples[:size]) for label, form in forms.items()}
        taken = alternate(calls, arguments.rounds, turn=TURN)
    return told(name, goal, found, taken)


def told(
    name: str, goal: str, found: deploy.Tuning, taken: dict[str, list[float]]
) -> dict[str, Any]:
    """The row of a network for a goal; prints its one line."""
    chosen = found.chosen.form.label
    eager = next(row.form.label for row in found.rows if row.form.engine == "eager")
    best = min(taken, key=lambda label: statistics.median(taken[label]))
    row = {
        "network": name,
        "goal": goal,
        "batch_size": GOALS[goal],
        "chosen": chosen,
        "times_faster": ratio(taken[eager], taken[chosen]),
        "best": best,
        "chosen_against_best": ratio(taken[chosen], taken[best]),
        "seconds": {label: summary(values) for label, values in taken.items()},
        "left_out": dict(found.skipped),
    }
    print(f"{name}, {goal}: {chosen}, {row['times_faster']:.2f} times as fast as eager")
    return row


def judged(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """A trained network, tuned as it is: what the chosen form loses, and what all others do."""
    sizes = {"side": arguments.trained_side, "epochs": arguments.epochs}
    run = trained(name, arguments.trained, **sizes, pictures=arguments.pictures)
    source = table(arguments.trained, arguments.pictures)
    calibration, labelled = samples_of(run, str(source))
    admitting, judging = halves(labelled)
    found = deploy.tune(
        run.model,
        run.tuned,
        samples=calibration[:32],
        calibration=calibration,
        labelled=admitting,
        engines=arguments.engines,
        seconds=1800.0,
        card=run.card,
        fresh=True,  # what is kept may have been admitted by other pictures
    )
    forward, chosen = deploy.in_use(run.model, run.tuned) or (run.model, "the network itself")
    before, after = (right_answers(each, judging) for each in (run.model, forward))
    lost = drop(before, after)
    print(f"{name}, trained: {chosen}; {lost.sentence()}")
    return {
        "network": name,
        **sizes,
        "chosen": chosen,
        "times_faster": found.speedup,
        "loss": lost.to_json(),
        "admitted": {row.form.label: row.drop.to_json() for row in found.rows if row.drop},
        "left_out": dict(found.skipped),
    }


def halves(labelled: Labelled) -> tuple[Labelled, Labelled]:
    """Every second sample, and the others: by one half forms are admitted, by the other judged."""
    part, steps = labelled.part, labelled.preprocessing
    first, second = (Labelled(data.Part(part.dataset, part.ids[k::2]), steps) for k in (0, 1))
    return first, second


def call(maker: Maker, form: Form, x: torch.Tensor) -> Any:
    """A pass of one form."""
    forward = maker.make(form, len(x))
    return lambda: forward(x)


if __name__ == "__main__":
    main()
